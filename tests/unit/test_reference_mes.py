"""The reference MES without a broker: what it remembers, receipts, says again, and lets a person do."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from edge_agent.contract.inbound import job_response
from edge_agent.domain.message import InboundMessage
from edge_agent.mes.book import AGAIN_AFTER_S, TRIES, Book, NotPossible
from edge_agent.mes.office import Office
from edge_agent.mes.wire import Letter, Wire
from edge_agent.web.mes_app import build_mes_app
from tests.fakes.clock import FakeClock

ROOT = "acme/north/smt/l1/c1/_inspect/v1/box-1"
PAYLOADS = Path(__file__).parents[1] / "golden" / "payloads"


class Sent:
    def __init__(self) -> None:
        self.taken = True

    def is_published(self) -> bool:
        return self.taken


class FakeWire:
    """Letters are put in; what is sent is kept."""

    def __init__(self) -> None:
        self.coming: list[Letter] = []
        self.acknowledged: list[Letter] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.up = threading.Event()
        self.up.set()

    def letters(self, wait_s: float) -> list[Letter]:
        found, self.coming = self.coming, []
        return found

    def acknowledge(self, letters: list[Letter]) -> None:
        self.acknowledged += letters

    def send(self, topic: str, body: bytes) -> Sent:
        self.sent.append((topic, json.loads(body)))
        return Sent()


class Plant:
    """An office with its book and a fake wire."""

    def __init__(self, folder: Path, *, accepts: bool = False) -> None:
        self.file = folder / "mes.sqlite"
        self.book = Book(self.file)
        self.wire = FakeWire()
        self.said: list[str] = []
        self.office = Office(
            wire=self.wire,  # type: ignore[arg-type]  # the same three methods
            book=self.book,
            tell=lambda what, **_: self.said.append(what),
            accepts=accepts,
        )
        self.event: dict[str, Any] = json.loads((PAYLOADS / "workorder.json").read_text())

    def receive(self, rest: str, event: dict[str, Any] | bytes) -> None:
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.wire.coming.append(Letter(1, 1, f"{ROOT}/out/{rest}", body))
        self.office.step(0)

    def order(self, *, event_id: str = "e-1", **changes: Any) -> None:
        data = {**self.event["data"], **changes}
        self.receive(f"wo/{data['jobOrderId']}/order", {**self.event, "id": event_id, "data": data})

    @property
    def receipts(self) -> list[dict[str, Any]]:
        return [event["data"] for topic, event in self.wire.sent if topic == f"{ROOT}/in/receipt"]

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [event["data"] for topic, event in self.wire.sent if topic.endswith("/response")]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def test_an_order_is_kept_before_it_is_acknowledged_and_receipted_once_as_new(plant: Plant) -> None:
    plant.order()
    plant.order()
    assert [each["status"] for each in plant.receipts] == ["received", "duplicate"]
    assert len(plant.wire.acknowledged) == 2
    assert [order.mes_id for order in Book(plant.file).orders()] == ["PM-1001"]


def test_newer_revisions_replace_and_older_ones_do_not(plant: Plant) -> None:
    plant.order(rev=2, description="two")
    plant.order(event_id="e-2", rev=1, description="one")
    plant.order(event_id="e-3", rev=3, description="three")
    (order,) = plant.book.orders()
    assert (order.rev, order.document["description"]) == (3, "three")


def test_a_cancelled_order_cannot_be_answered(plant: Plant) -> None:
    plant.order()
    plant.order(event_id="e-2", rev=99, verb="cancel")
    with pytest.raises(NotPossible, match="cancelled: it can be nothing more"):
        plant.book.answer("PM-1001", "accepted")


@pytest.mark.parametrize("lost", ["jobOrderId", "number", "rev"])
def test_an_incomplete_order_is_refused_by_receipt(plant: Plant, lost: str) -> None:
    data = {name: value for name, value in plant.event["data"].items() if name != lost}
    plant.receive("wo/x/order", {**plant.event, "data": data})
    assert [each["status"] for each in plant.receipts] == ["rejected"]
    assert plant.book.orders() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"id": 1}', b"\xff\xfe", b"[" * 5_000])
def test_what_is_no_event_is_acknowledged_and_ignored(plant: Plant, body: bytes) -> None:
    plant.receive("wo/x/order", body)
    assert plant.receipts == []
    assert len(plant.wire.acknowledged) == 1


def test_an_answer_is_what_the_box_reads(plant: Plant) -> None:
    plant.order()
    expected = plant.event["data"]["expectedCause"]
    plant.book.answer("PM-1001", "closed", actual={"causeCode": expected, "minutes": 12.5, "actions": ["a"]})
    plant.office.step(0)
    ((topic, event),) = [sent for sent in plant.wire.sent if sent[0].endswith("/response")]
    message = InboundMessage(
        source=event["source"],
        message_id=event["id"],
        topic=topic,
        body=json.dumps(event).encode(),
        received_at=FakeClock().now(),
    )
    read = job_response(message)
    assert (read.event.value, read.mes_order_id) == ("closed", "PM-1001")
    assert read.actual is not None
    assert (read.actual.cause_id, read.actual.confirms, read.actual.minutes) == (expected, "yes", 12.5)


def test_an_answer_is_said_again_until_the_box_has_heard_it(plant: Plant) -> None:
    plant.order()
    answer = plant.book.answer("PM-1001", "accepted")
    now = answer.made_at
    assert [one.answer_id for one in plant.book.due(now)] == [answer.answer_id]
    plant.book.said(answer, now)
    assert plant.book.due(now + AGAIN_AFTER_S - 1) == []
    assert len(plant.book.due(now + AGAIN_AFTER_S)) == 1
    acknowledgement = {"responseId": answer.answer_id, "status": "applied", "jobOrderId": answer.order_id}
    plant.receive(f"wo/{answer.order_id}/response-ack", {**plant.event, "id": "ack", "data": acknowledgement})
    assert plant.book.due(now + 10 * AGAIN_AFTER_S) == []
    assert plant.book.unheard() == 0


def test_an_answer_that_nobody_hears_ends_with_a_person(plant: Plant) -> None:
    plant.order()
    plant.book.answer("PM-1001", "accepted")
    for _ in range(TRIES):
        (again,) = plant.book.due(1e12)
        plant.book.said(again, 0)
    assert plant.book.due(1e12) == []
    assert plant.book.unheard() == 1


def test_a_later_answer_waits_until_the_earlier_one_was_said(plant: Plant) -> None:
    plant.order()
    plant.book.answer("PM-1001", "accepted")
    plant.book.answer("PM-1001", "started")
    (first,) = plant.book.due(1e12)
    plant.book.said(first, 0)
    assert [one.event for one in plant.book.due(1e12)] == ["accepted", "started"]


def test_without_a_connection_nothing_is_sent_and_all_of_it_later(plant: Plant) -> None:
    plant.order()
    plant.wire.up.clear()
    plant.book.answer("PM-1001", "accepted")
    plant.office.step(0)
    assert plant.answers == []
    plant.wire.up.set()
    plant.office.step(0)
    assert [each["event"] for each in plant.answers] == ["accepted"]


@pytest.mark.parametrize(
    ("event", "what", "why"),
    [
        ("started", {}, "it can be accepted"),
        ("closed", {}, "needs the cause"),
        ("rejected", {}, "needs a reason"),
        ("eaten", {}, "not eaten"),
    ],
)
def test_impossible_answers_say_what_is_possible(plant: Plant, event: str, what: dict[str, Any], why: str) -> None:
    plant.order()
    with pytest.raises(NotPossible, match=why):
        plant.book.answer("PM-1001", event, **what)
    assert plant.book.answers(plant.event["data"]["jobOrderId"]) == []


def test_orders_can_be_accepted_by_itself(tmp_path: Path) -> None:
    plant = Plant(tmp_path, accepts=True)
    plant.order()
    plant.office.step(0)
    assert [each["event"] for each in plant.answers] == ["accepted"]


def test_the_index_shows_orders_that_never_came(plant: Plant) -> None:
    plant.receive("state", {**plant.event, "data": {"online": True, "mode": "running"}})
    plant.receive("wo-index", {**plant.event, "data": {"seq": 1, "orders": [{"jobOrderId": "lost"}]}})
    (box,) = plant.book.boxes()
    assert (box.online, box.unknown) == (True, ("lost",))


def test_the_site_is_announced_only_when_it_is_known() -> None:
    def topic(root: str) -> str | None:
        return Wire(client_id="x", root_filter=root, username=None, password=None).state_topic

    assert topic("acme/north/+/+/+/_inspect/v1/+") == "acme/north/_mes/v1/state"
    assert topic("+/+/+/+/+/_inspect/v1/+") is None
    assert topic("acme/+/+/+/+/_inspect/v1/+") is None


class TestPages:
    @pytest.fixture
    def client(self, plant: Plant) -> TestClient:
        plant.order()
        return TestClient(build_mes_app(plant.file, lambda: True, "broker:1883"))

    def test_the_list_and_the_order_are_shown(self, client: TestClient, plant: Plant) -> None:
        assert "PM-1001" in client.get("/").text
        shown = client.get("/orders/PM-1001").text
        assert plant.event["data"]["suspects"][0]["name"] in shown
        assert client.get("/orders/PM-9").status_code == 404

    def test_an_order_is_closed_by_the_form(self, client: TestClient, plant: Plant) -> None:
        suspect = plant.event["data"]["suspects"][0]
        form = {"event": "closed", "cause": suspect["causeCode"], "minutes": "7,5", "by": "night shift", "rev": "1"}
        answer = client.post("/orders/PM-1001/answer", data=form, follow_redirects=False)
        assert answer.status_code == 303
        plant.office.step(0)
        (said,) = plant.answers
        assert (said["event"], said["rev"], said["actual"]["minutes"]) == ("closed", 1, 7.5)
        assert plant.book.order("PM-1001").state == "closed"

    @pytest.mark.parametrize(
        ("form", "why"),
        [
            ({"event": "closed"}, "needs the cause"),
            ({"event": "rejected"}, "needs a reason"),
            ({"event": "closed", "cause": "A01", "minutes": "long"}, "no number"),
            ({}, "can be accepted"),
        ],
    )
    def test_what_is_wrong_with_an_answer_is_said(self, client: TestClient, form: dict[str, str], why: str) -> None:
        answer = client.post("/orders/PM-1001/answer", data=form)
        assert answer.status_code == 409
        assert why in answer.text

    def test_a_form_of_another_site_is_refused(self, client: TestClient, plant: Plant) -> None:
        answer = client.post("/orders/PM-1001/answer", data={"event": "accepted"}, headers={"Origin": "http://evil"})
        assert answer.status_code == 403
        assert plant.book.order("PM-1001").state == "new"

    def test_names_and_links_from_outside_do_no_harm(self, plant: Plant, client: TestClient) -> None:
        image = [{"role": "x", "uri": "javascript:alert(1)", "sha256": "", "mediaType": ""}]
        plant.order(event_id="e-9", rev=98, description="<script>alert(1)</script>", imageRefs=image)
        shown = client.get("/orders/PM-1001").text
        assert "<script>alert" not in shown
        assert "javascript:" not in shown
