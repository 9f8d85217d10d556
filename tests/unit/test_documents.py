"""What documents say: golden pages, hostile text, missing facts. `EDGE_AGENT_GOLDEN=write` renews the files."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from edge_agent.adapters.documents.pages import Pages
from edge_agent.adapters.documents.weasy import default_templates
from edge_agent.adapters.images.folder import FolderImages
from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.config.plant import RetentionSection
from edge_agent.contract.envelope import Sender
from edge_agent.domain.evidence import Evidence, Polarity
from edge_agent.domain.faults import ConfigError, Transient
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.shift import shift_of
from edge_agent.domain.verdict import ActualCause, JobResponse, ResponseEvent
from edge_agent.domain.work_order import OrderState, WorkOrder
from edge_agent.ports import PrintJob
from edge_agent.responding.documents.course import course, course_chart
from edge_agent.responding.documents.house import note_house, noted_house
from edge_agent.responding.documents.letterhead import Letterhead
from edge_agent.responding.documents.printing import REQUESTS, DocumentMaker, request_shift_report
from edge_agent.responding.documents.sheet import runs, work_order_sheet
from edge_agent.responding.documents.shift import last_shift, shift_report
from edge_agent.responding.documents.unknowns import unknowns
from tests.fakes.clock import FakeClock
from tests.fakes.line_history import LineHistory, write_history

GOLDEN = Path(__file__).parents[1] / "golden" / "documents"
NOW = datetime(2026, 11, 20, 10, 59, 20, tzinfo=UTC)
LETTERHEAD = Letterhead(
    plant="acme / nord / pcb / L2",
    agent="box-1",
    software="edge-agent 0.1.0",
    timezone=timezone(timedelta(hours=1)),
    labels={"open": "open circuit"},
)
SENDER = Sender(agent="box-1", topic_root="acme/nord", uri_base="http://box-1:8080", software_version="0.1.0")


class Line:
    """A store with a morning's history, and what a document needs."""

    history: LineHistory

    def __init__(self, state: Path, *, empty: bool = False) -> None:
        self.state = state
        self.clock = FakeClock(NOW)
        self.store = Database(sqlite_url(state), clock=self.clock)
        self.store.migrate()
        self.images = FolderImages(state / "images", RetentionSection(), clock=self.clock)
        self.history = write_history(self.store, self.images, self.clock, photos=0 if empty else 6, write=not empty)

    def sheet(self, order: WorkOrder | None = None) -> PrintJob:
        with self.store.reader() as uow:
            return work_order_sheet(uow, self.images, order or self.history.order, self.history.catalogue, LETTERHEAD)

    def shift(self) -> PrintJob:
        with self.store.reader() as uow:
            return shift_report(uow, self.images, self.history.start, self.history.end, LETTERHEAD)

    def maker(self, printer: "PaperTray") -> DocumentMaker:
        return DocumentMaker(
            store=self.store,
            clock=self.clock,
            printer=printer,
            images=self.images,
            folder=self.state / "documents",
            sender=SENDER,
            catalogue=self.history.catalogue,
            letterhead=LETTERHEAD,
            idle_s=0,
        )


class PaperTray:
    """Implements ``ports.DocumentPrinter``: prints the names of its jobs; out of paper when told."""

    def __init__(self) -> None:
        self.jobs: list[PrintJob] = []
        self.jammed = False
        self.closed = False

    def print(self, job: PrintJob, target: Path, timeout_s: float) -> None:
        if self.jammed:
            raise Transient("paper jam")
        self.jobs.append(job)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(job.template.encode())

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """Read only: tests that write make their own."""
    made = Line(tmp_path_factory.mktemp("state"))
    yield made
    made.store.close()


@pytest.fixture
def own_line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    made.store.close()


def html(job: PrintJob) -> str:
    return Pages(default_templates()).html(job.template, job.data)


@pytest.mark.parametrize("name", ["work-order", "shift"])
def test_page_matches_its_golden_file(name: str, line: Line) -> None:
    job = line.sheet() if name == "work-order" else line.shift()
    page = html(job).replace(line.state.resolve().as_uri(), "state:")
    file = GOLDEN / f"{name}.html"
    if os.environ.get("EDGE_AGENT_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")
    assert page == file.read_text(encoding="utf-8")


def test_sheet_has_every_block_a_technician_needs(line: Line) -> None:
    page = html(line.sheet())
    order = line.history.order
    for block in (
        order.number,
        order.equipment,
        order.problem,
        "due 2026-11-20 13:59",
        "What was seen",
        "It could also be something that is not listed",
        "Check first",
        "LOCK OUT / TAG OUT",
        "NOZ-8004",
        "Set aside",
        "Nozzle 2-4 clogged",
        "Was the first suspect right?",
        "inner-layer-a v3",
        "board 1.0.0",
        "Note by a language model that is not qualified",
        str(order.order_id),
    ):
        assert block in page, block
    assert page.count("<image") == 2 * 3 + 1, "three photos, their good parts, and the map"
    assert f"Hold <b>{len(order.containment.part_ids)} parts</b>" in page
    listed = line.sheet().data["containment"]
    shown = sum(count for text, count in runs(order.containment.part_ids) if text in listed["parts"])
    assert shown + listed["more"] == len(order.containment.part_ids)


def test_sheet_cites_only_evidence_that_exists_or_says_so(line: Line) -> None:
    suspect = replace(line.history.order.suspects[0], speaks_for=("E1", "E99"))
    shown = line.sheet(replace(line.history.order, suspects=(suspect,))).data["suspects"][0]["speaks_for"]
    assert shown[0]["text"].startswith("19 of 22")
    assert shown[1] == {"id": "E99", "text": ""}


def test_the_record_is_attached(line: Line) -> None:
    ((name, body),) = line.sheet().attachments.items()
    record = json.loads(body)
    assert name == "WO-0007-r2.json"
    assert record["order"]["order_id"] == str(line.history.order.order_id)
    assert [fact["evidence_id"] for fact in record["analysis"]["evidence"]] == ["E1", "E2", "E3", "E4", "E5", "E6"]


def test_a_sheet_without_incident_analysis_and_photos_is_still_a_sheet(line: Line) -> None:
    strange = line.clock.new_id()
    bare = replace(
        line.history.order,
        incident_id=strange,
        analysis_id=strange,
        inspection_ids=(),
        images=(),
        suspects=(),
        checks=(),
        note="",
        text="",
    )
    page = html(line.sheet(bare))
    assert "No photo is kept" in page
    assert "points to no cause of the catalogue" in page


def test_hostile_text_stays_text(line: Line) -> None:
    nasty = "<script>alert(1)</script><img src='file:///etc/passwd'>{{ 7 * 7 }}"
    order = replace(line.history.order, problem=nasty, note=nasty, text=nasty, equipment=nasty, number=nasty)
    page = html(line.sheet(order))
    assert "<script" not in page
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page


def test_coded_causes_lead_with_the_ranked_and_repeat(line: Line) -> None:
    first, again = line.sheet().data["causes"], line.sheet().data["causes"]
    assert first == again
    assert [cause["id"] for cause in first[:3]] == ["B05", "A07", "B02"]
    assert len({cause["id"] for cause in first}) == 8


def test_photos_that_are_gone_are_left_out(own_line: Line) -> None:
    for file in (own_line.state / "images").rglob("*.jpg"):
        file.unlink()
    job = own_line.sheet()
    assert job.data["photos"] == []
    assert job.data["files"] == []
    assert "No photo is kept" in html(job)


def test_parts_that_could_not_be_judged_are_shown_whole(own_line: Line) -> None:
    """An incident of the inspection itself has no defect to zoom in on."""
    pictured = next(seen for seen in own_line.history.inspections if seen.images)
    blurred = next(seen for seen in own_line.history.inspections if seen.evaluation is Evaluation.NOT_DECIDABLE)
    shown = replace(blurred, inspection_id=own_line.clock.new_id(), images=pictured.images)
    incident = replace(own_line.history.incident, code="not_decidable", inspection_ids=())
    with own_line.store.unit() as uow:
        uow.inspections.add(shown)
        uow.incidents.save(incident)
        uow.commit()
    job = own_line.sheet(replace(own_line.history.order, inspection_ids=(shown.inspection_id,)))
    pair = next(pair for pair in job.data["photos"] if pair["part_id"] == shown.shot.part_id)
    assert pair["label"] == "focus ratio 0.41, expected 0.80 to 1.25"
    assert 'viewBox="0 0 640 640"' in pair["defect_svg"]
    assert "parts with not decidable" in job.data["rate_svg"]


def test_shift_report_counts_what_the_store_has(line: Line) -> None:
    job = line.shift()
    record = json.loads(job.attachments["shift.json"])
    assert record["parts"] == len(line.history.inspections) == 360
    figures = {figure["label"]: figure["value"] for figure in job.data["figures"]}
    assert figures["First pass yield"] == f"{record['first_pass_yield'] * 100:.1f}"
    assert int(figures["Held for a person"]) == len(job.data["held"]) == 9


def test_shift_report_of_nothing(line: Line) -> None:
    with line.store.reader() as uow:
        page = html(shift_report(uow, line.images, NOW + timedelta(days=9), NOW + timedelta(days=10), LETTERHEAD))
    assert "Every part was judged" in page
    assert "No incident in this period" in page


SHIFTS = ["06:00", "14:00", "22:00"]
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-11-20T10:00+01:00", "2026-11-20T06:00+01:00", "2026-11-20T14:00+01:00"),
        ("2026-11-20T06:00+01:00", "2026-11-20T06:00+01:00", "2026-11-20T14:00+01:00"),
        ("2026-11-20T05:59+01:00", "2026-11-19T22:00+01:00", "2026-11-20T06:00+01:00"),
        ("2026-10-25T01:00+02:00", "2026-10-24T22:00+02:00", "2026-10-25T06:00+01:00"),  # nine hours long
    ],
)
def test_shift_of(at: str, start: str, end: str) -> None:
    found = shift_of(datetime.fromisoformat(at), SHIFTS, BERLIN)
    assert found == (datetime.fromisoformat(start), datetime.fromisoformat(end))


def test_one_shift_a_day() -> None:
    start, end = shift_of(NOW, ["12:00"], UTC)
    assert (start, end) == (NOW.replace(hour=12, minute=0, second=0) - timedelta(days=1), start + timedelta(days=1))


@pytest.mark.parametrize(
    ("hours_later", "ends", "period"),
    [
        (0, SHIFTS, "in progress"),
        (4, SHIFTS, "2026-11-20 07:00 to 15:00"),  # has just ended
        (300, SHIFTS, "2026-11-20 07:00 to 15:00"),  # the line has been standing since
        (0, [], "the last eight hours"),
    ],
)
def test_what_the_last_shift_is(line: Line, hours_later: int, ends: list[str], period: str) -> None:
    with line.store.reader() as uow:
        found = last_shift(uow, NOW + timedelta(hours=hours_later), ends, UTC)
        assert found is not None
        start, end, why = found
        assert sum(uow.inspections.count(start, end).values()) == 360
    assert period in why + LETTERHEAD.span(start, end)


def test_no_parts_no_shift(tmp_path: Path) -> None:
    empty = Line(tmp_path, empty=True)
    with empty.store.reader() as uow:
        assert last_shift(uow, NOW, SHIFTS, UTC) is None
    empty.store.close()


def test_the_shift_report_tells_what_was_found(own_line: Line) -> None:
    assert [row["found"] for row in own_line.shift().data["orders"]] == ["–"]
    closed(own_line, cause_id="A07")
    assert [row["found"] for row in own_line.shift().data["orders"]] == ["Exposure energy too low"]


def test_a_broken_template_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text("{{ missing }}")
    with pytest.raises(ConfigError, match="missing"):
        Pages(tmp_path).html("x.html", {})
    with pytest.raises(ConfigError, match=r"y\.html"):
        Pages(tmp_path).html("y.html", {})


def test_the_house_is_read_back_as_it_was_noted(own_line: Line) -> None:
    with own_line.store.unit() as uow:
        assert noted_house(uow)[1].causes == ()
        note_house(uow, replace(LETTERHEAD, timezone=UTC), own_line.history.catalogue)
        letterhead, catalogue = noted_house(uow)
    assert letterhead == replace(LETTERHEAD, timezone=letterhead.timezone)
    assert [cause.name for cause in catalogue.causes] == [cause.name for cause in own_line.history.catalogue.causes]


@pytest.mark.parametrize(
    ("part_ids", "lines"),
    [
        ((), []),
        (("P-1", "P-2"), ["P-1", "P-2"]),
        (("P-08", "P-09", "P-10", "P-12"), ["P-08 to P-10", "P-12"]),
        (("P-8", "P-9", "P-10"), ["P-8", "P-9", "P-10"]),
        (("A1", "A2", "B3", "B4"), ["A1", "A2", "B3", "B4"]),
        (("x", "x", "", "\n7", "\n8", "\n9"), ["x", "x", "", "\n7 to \n9"]),
        (("P-3", "P-2", "P-1"), ["P-3", "P-2", "P-1"]),
    ],
)
def test_serials_in_sequence_are_one_line(part_ids: tuple[str, ...], lines: list[str]) -> None:
    assert [text for text, _ in runs(part_ids)] == lines
    assert sum(count for _, count in runs(part_ids)) == len(part_ids)


def test_endless_names_do_not_fill_the_paper(line: Line) -> None:
    endless = "P" * 300 + "-7"
    hold = replace(line.history.order.containment, part_ids=(endless,), lot_ids=tuple(f"L{n}" for n in range(60)))
    data = line.sheet(replace(line.history.order, equipment=endless, containment=hold)).data
    for shown in (data["order"]["equipment"], data["containment"]["parts"][0]):
        assert len(shown) < 60
        assert shown.endswith("-7"), "the end tells parts apart"
    assert len(data["containment"]["lots"]) + data["containment"]["more_lots"] == 60


def _unknown(token: str | None, statement: str = "a sensor is missing.") -> Evidence:
    return Evidence(
        evidence_id="E1", tool="t@1", token=token, statement=statement, polarity=Polarity.UNKNOWN, strength=0, n=0
    )


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ([], []),
        (["tel:etch_temp_c+", "tel:etch_temp_c-"], ["no trustworthy or not enough readings yet: etch temp c"]),
        ([f"tel:s{n}+" for n in range(19)], ["no trustworthy or not enough readings yet: 19 signals"]),
        (["sp:repeat", "sp:edge"], ["too few defects to tell a pattern on the part"]),
        (["strat:camera", "strat:shift"], ["the parts do not tell enough about: camera, shift"]),
        ([None] * 5, ["a sensor is missing", "a sensor is missing", "3 more in the record"]),
    ],
)
def test_what_is_not_known_is_told_in_groups(tokens: list[str | None], told: list[str]) -> None:
    assert unknowns([_unknown(token) for token in tokens]) == told


def test_only_what_is_unknown_is_told_as_unknown() -> None:
    assert unknowns([replace(_unknown("sp:repeat"), polarity=Polarity.ABSENT)]) == []
    assert len(unknowns([_unknown(None, "x" * 500)])[0]) <= 90


@pytest.mark.parametrize("part_s", [0.2, 2.0, 60.0, 900.0])
def test_the_rate_is_drawn_before_and_since_the_onset_at_any_pace(own_line: Line, part_s: float) -> None:
    """70 good parts, then 40 of which every second is open: half a minute, or a day."""
    history, pace = own_line.history, timedelta(seconds=part_s)
    bad = next(seen for seen in history.inspections if any(defect.code == "open" for defect in seen.defects))
    good = next(seen for seen in history.inspections if seen.evaluation is Evaluation.OK)
    start, onset = NOW + timedelta(days=2), NOW + timedelta(days=2) + 70 * pace
    with own_line.store.unit() as uow:
        for number in range(110):
            like = bad if number >= 70 and number % 2 else good
            at = start + number * pace
            uow.inspections.add(replace(like, inspection_id=own_line.clock.new_id(), ended_at=at))
        incident = replace(history.incident, onset_from=onset, onset_to=onset + 2 * pace, updated_at=start + 109 * pace)
        groups = course(uow, incident)
    before, since = [g for g in groups if g.end < onset], [g for g in groups if g.start >= onset]
    assert len(before) >= 3
    assert len(since) >= 3
    assert len(before) + len(since) == len(groups), "no window lies on both sides"
    assert sum(group.defective for group in before) == 0
    assert sum(group.defective for group in since) == 20


def test_the_rate_of_an_incident_without_parts_is_an_empty_chart(own_line: Line) -> None:
    later = NOW + timedelta(days=30)
    incident = replace(own_line.history.incident, onset_from=later, onset_to=later, updated_at=later)
    with own_line.store.reader() as uow:
        groups = course(uow, incident)
    assert groups == []
    assert "No parts" in course_chart(groups, incident, LETTERHEAD)


def closed(line: Line, **actual: Any) -> WorkOrder:
    """The order after the plant has closed it, with its answer."""
    order = replace(line.history.order, state=OrderState.CLOSED)
    answer = JobResponse(
        response_id="r-9",
        source="mes",
        order_id=order.order_id,
        revision=order.revision,
        event=ResponseEvent.CLOSED,
        received_at=NOW,
        actual=ActualCause(**actual),
    )
    with line.store.unit() as uow:
        uow.answers.add_response(answer)
        uow.orders.save(order)
        uow.commit()
    return order


@pytest.mark.parametrize(
    ("actual", "told"),
    [
        (
            {"cause_id": "B05", "confirms": "yes", "minutes": 31, "parts": {"NOZ-8004": 1}, "by": "technician-1"},
            ["Clogged or turned etch nozzle", "was the first suspect", "<b>yes</b>", "31", "1 × NOZ-8004"],
        ),
        ({"cause_id": "A07", "action_ids": ("energy-up", "odd")}, ["was the second suspect", "energy back.; odd"]),
        ({"cause_id": None, "cause_text": "<b>mouse</b>"}, ["&lt;b&gt;mouse", "was not among the suspects"]),
        ({"cause_id": "NEW"}, ["NEW", "was not among the suspects", "not told"]),
    ],
)
def test_the_filed_sheet_says_what_it_was(own_line: Line, actual: dict[str, Any], told: list[str]) -> None:
    page = html(own_line.sheet(closed(own_line, **actual)))
    for text in (*told, "as the plant answered it"):
        assert text in page, text
    assert "What was it?" not in page


# --- the worker -----------------------------------------------------------------------------------------------------


def drain(maker: DocumentMaker) -> int:
    """Steps until there is nothing to do; how many did something."""
    done = 0
    while maker.step():
        done += 1
        assert done < 20
    return done


def test_prints_the_newest_revision_once_with_its_message(own_line: Line) -> None:
    printer = PaperTray()
    maker = own_line.maker(printer)
    maker.setup()
    assert drain(maker) == 1
    with own_line.store.reader() as uow:
        (document,) = uow.documents.list()
        (row,) = uow.outbox.rows()
    assert (document.kind, document.revision) == ("work-order", 2)
    assert document.path == "work-order/WO-0007-r2.pdf"
    assert document.subject_id == own_line.history.order.order_id
    assert document.sha256.encode() in row.message.body
    assert b"http://box-1:8080/documents/work-order/WO-0007-r2.pdf" in row.message.body
    maker.teardown()
    assert printer.closed


def test_a_restart_prints_nothing_twice_and_a_revision_again(own_line: Line) -> None:
    drain(own_line.maker(PaperTray()))
    printer = PaperTray()
    maker = own_line.maker(printer)
    assert drain(maker) == 0
    with own_line.store.unit() as uow:
        for revision in (3, 4, 5):
            uow.orders.save(replace(own_line.history.order, revision=revision, state=OrderState.ISSUED))
        uow.commit()
    assert drain(maker) == 1
    with own_line.store.reader() as uow:
        assert [document.revision for document in uow.documents.list()] == [5, 2]


def test_a_change_of_state_alone_prints_nothing(own_line: Line) -> None:
    maker = own_line.maker(PaperTray())
    drain(maker)
    with own_line.store.unit() as uow:
        uow.orders.save(own_line.history.order.moved(OrderState.STARTED, at=own_line.clock.now()))
        uow.commit()
    assert drain(maker) == 0


def test_a_closed_order_is_printed_once_more_to_be_filed(own_line: Line) -> None:
    """Also when its newest revision had not been printed: it is on this sheet."""
    maker = own_line.maker(PaperTray())
    drain(maker)
    with own_line.store.unit() as uow:
        uow.orders.save(replace(own_line.history.order, revision=3))
        uow.commit()
    closed(own_line, cause_id="B05")  # an answer to revision 2 that came too late to change anything
    with own_line.store.unit() as uow:
        uow.orders.save(replace(own_line.history.order, revision=3, state=OrderState.CLOSED))
        uow.commit()
    assert drain(maker) == 1
    assert drain(own_line.maker(PaperTray())) == 0, "a restart prints nothing twice"
    with own_line.store.reader() as uow:
        newest, _ = uow.documents.list(kind="work-order")
    assert (newest.path, newest.revision) == ("work-order/WO-0007-r3-closed.pdf", 3)
    assert newest.title.startswith("WO-0007 (closed): ")


def test_a_failing_printer_leaves_no_row_and_is_asked_again(own_line: Line) -> None:
    printer = PaperTray()
    printer.jammed = True
    maker = own_line.maker(printer)
    with pytest.raises(Transient, match="jam"):
        maker.step()
    with own_line.store.reader() as uow:
        assert uow.documents.list() == []
        assert uow.outbox.rows() == []
    printer.jammed = False
    assert drain(maker) == 1


def test_an_order_that_cannot_be_printed_does_not_block_reports(own_line: Line) -> None:
    printer = PaperTray()
    printer.jammed = True
    maker = own_line.maker(printer)
    for _ in range(3):
        with pytest.raises(Transient):
            maker.step()
    assert not maker.step(), "it rests now"
    printer.jammed = False
    with own_line.store.unit() as uow:
        request_shift_report(uow, own_line.history.start, own_line.history.end)
        uow.commit()
    assert drain(maker) == 1
    assert [job.template for job in printer.jobs] == ["shift.html"]
    own_line.clock.advance(minutes=11)
    assert drain(maker) == 1


def test_a_requested_report_is_printed_once_and_settled(own_line: Line) -> None:
    maker = own_line.maker(PaperTray())
    drain(maker)
    with own_line.store.unit() as uow:
        for _ in range(2):
            request_shift_report(uow, own_line.history.start, own_line.history.end)
        uow.commit()
    assert drain(maker) == 1
    with own_line.store.reader() as uow:
        assert uow.facts.get(REQUESTS) == []
        (document,) = uow.documents.list(kind="shift")
    assert document.period_from == own_line.history.start
    assert (own_line.state / "documents" / document.path).is_file()


def test_requests_are_bounded(own_line: Line) -> None:
    with own_line.store.unit() as uow:
        for hours in range(150):
            request_shift_report(uow, NOW + timedelta(hours=hours), NOW + timedelta(hours=hours + 1))
        asked = uow.facts.get(REQUESTS)
    assert len(asked) == 100
    assert asked[-1][0] == (NOW + timedelta(hours=149)).isoformat()
