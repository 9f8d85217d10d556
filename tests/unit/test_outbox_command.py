"""``edge-agent outbox`` and ``edge-agent audit`` on a real store."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from edge_agent.adapters.clock import SystemClock
from edge_agent.adapters.link.quota import ROW_BYTES
from edge_agent.adapters.store.database import FILE_NAME, Database, sqlite_url
from edge_agent.commands import audit, outbox
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.message import Ack, Lane, OutboxState
from tests.fakes.made import a_message

RUN = CliRunner()


class Box:
    """Five rows: 1 waits, 2 was sent, 3 and 4 were put aside, 5 (an order) was put aside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clock = SystemClock()
        self.store = Database(sqlite_url(folder), clock=clock)
        self.store.migrate()
        with self.store.unit() as unit:
            unit.outbox.add(a_message(clock, topic="out/result", body=b'{"data": {"n": 1}}'))
            unit.outbox.add(a_message(clock, topic="out/defect", ack=Ack.RECEIPT, lane=Lane.FINDINGS))
            unit.outbox.add(a_message(clock, topic="out/result", body=b"\xff"))
            unit.outbox.add(a_message(clock, topic="out/result"))
            unit.outbox.add(a_message(clock, topic="out/wo/7/order", lane=Lane.ORDERS, order_key="7"))
            unit.outbox.mark_sent([2], at=clock.now(), retry_at={})
            for sequence in (3, 4, 5):
                unit.outbox.quarantine(sequence, detail="0x87 the broker refused this message")
            unit.commit()

    def states(self) -> dict[int, OutboxState]:
        with self.store.reader() as unit:
            return {row.sequence: row.state for row in unit.outbox.rows()}

    def audited(self) -> list[tuple[str, str]]:
        with self.store.reader() as unit:
            assert not unit.audit.verify().fault
            return [(entry.action, entry.detail.partition(",")[0]) for entry in unit.audit.rows()]

    def outbox(self, *words: str) -> Result:
        return RUN.invoke(outbox.app, [*words, "--state", str(self.folder)])

    def audit(self, *words: str) -> Result:
        return RUN.invoke(audit.app, [*words, "--state", str(self.folder)])


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.store.close()


def test_what_is_unfinished_is_listed_with_its_reason(box: Box) -> None:
    lines = box.outbox("list").output.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["5", "quarantined"],
        ["4", "quarantined"],
        ["3", "quarantined"],
        ["2", "sent"],
        ["1", "pending"],
    ]
    assert lines[0].endswith("out/wo/7/order  1 attempt: 0x87 the broker refused this message")
    assert "and 2 more quarantined" in box.outbox("list", "--only", "quarantined", "--limit", "1").output
    assert box.outbox("list", "--only", "expired").output == "nothing is expired\n"
    listed = json.loads(box.outbox("list", "--format", "json").output)
    assert (listed[0]["sequence"], listed[0]["lane"]) == (5, "orders")


def test_one_message_is_shown_with_its_body(box: Box) -> None:
    assert json.loads(box.outbox("show", "1").output)["body"] == {"data": {"n": 1}}
    assert json.loads(box.outbox("show", "3").output)["body"] == "\ufffd"
    missing = box.outbox("show", "99")
    assert missing.exit_code == 1
    assert "no message 99" in missing.output


def test_counts_by_lane_and_state(box: Box) -> None:
    made = json.loads(box.outbox("stats", "--format", "json").output)
    assert made["lanes"]["orders"]["quarantined"] == 1
    assert made["lanes"]["results"] == {"pending": 1, "sent": 0, "confirmed": 0, "quarantined": 2, "expired": 0}
    assert made["oldest_unsent_s"] >= 0
    assert "the oldest unsent message is" in box.outbox("stats").output


def test_what_waits_has_a_size_and_an_age_and_the_quota_is_told(box: Box) -> None:
    made = json.loads(box.outbox("stats", "--format", "json").output)
    assert {lane: (each["rows"], each["bytes"]) for lane, each in made["waiting"].items()} == {
        "orders": (1, 21),
        "findings": (1, 21),
        "results": (3, 40),
    }
    quota = made["quota"]
    assert quota["used_bytes"] == 21 + 21 + 40 + 5 * ROW_BYTES
    assert 0 < quota["limit_bytes"] <= 2_048 * 2**20
    assert "0.0% of the quota of" in box.outbox("stats").output


def test_what_has_no_receipt_can_be_sent_again_at_once(box: Box) -> None:
    clock = SystemClock()

    def due() -> list[int]:
        with box.store.reader() as unit:
            return [row.sequence for row in unit.outbox.due(clock.now(), 9)]

    assert due() == [1]
    assert box.outbox("resend").output == "1 to be sent again\n"
    assert due() == [2, 1]
    assert box.audited() == [("outbox.resent", "1 without receipt")]


def test_retried_messages_wait_again_and_the_audit_log_says_who(box: Box) -> None:
    done = box.outbox("retry", "3", "5")
    assert (done.exit_code, done.output) == (0, "2 to be sent again\n")
    assert [box.states()[n] for n in (3, 4, 5)] == ["pending", "quarantined", "pending"]
    assert box.audited() == [("outbox.retried", "sequence 3"), ("outbox.retried", "sequence 5")]
    assert box.outbox("retry", "--all").output == "1 to be sent again\n"


def test_dropping_asks_for_yes_and_spares_work_orders(box: Box) -> None:
    assert box.outbox("drop", "3").exit_code == 1
    spared = box.outbox("drop", "--all", "--yes")
    assert spared.exit_code == 1
    assert "give it up with --force" in spared.output
    assert box.audited() == []
    assert [box.states()[n] for n in (3, 4, 5)] == ["quarantined"] * 3
    assert box.outbox("drop", "3", "--yes").output == "1 given up\n"
    assert box.outbox("drop", "--all", "--yes", "--force").output == "2 given up\n"
    assert [box.states()[n] for n in (3, 4, 5)] == ["expired"] * 3
    assert "given up by terminal:" in json.loads(box.outbox("show", "5").output)["detail"]
    assert [action for action, _ in box.audited()] == ["outbox.dropped"] * 3


def test_a_dropped_order_no_longer_holds_back_its_next_revision(box: Box) -> None:
    clock = SystemClock()
    with box.store.unit() as unit:
        later = unit.outbox.add(a_message(clock, topic="out/wo/7/order", lane=Lane.ORDERS, order_key="7"))
        assert later not in [row.sequence for row in unit.outbox.due(clock.now(), 9)]
        unit.commit()
    box.outbox("drop", "5", "--yes", "--force")
    with box.store.reader() as unit:
        assert later in [row.sequence for row in unit.outbox.due(clock.now(), 9)]


@pytest.mark.parametrize("word", ["retry", "drop"])
def test_only_what_was_put_aside_can_be_taken_in_hand(box: Box, word: str) -> None:
    yes = ["--yes"] if word == "drop" else []
    done = box.outbox(word, "3", "1", "99", *yes)
    assert done.exit_code == 1
    assert "1 is pending, 99 is not there" in done.output
    assert box.states()[3] == "quarantined"
    assert box.outbox(word, *yes).exit_code == 2


def test_no_store_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    done = RUN.invoke(outbox.app, ["list", "--state", str(tmp_path / "elsewhere")])
    assert isinstance(done.exception, ConfigError)
    assert not (tmp_path / "elsewhere").exists()


# --- audit ------------------------------------------------------------------------------------------------------------


def test_the_log_is_verified_listed_and_exported(box: Box, tmp_path: Path) -> None:
    assert box.audit("verify").output.startswith("unbroken: 0 entries")
    box.outbox("retry", "3")
    box.outbox("retry", "4")
    listed = json.loads(box.audit("list", "--format", "json").output)
    assert [entry["seq"] for entry in listed] == [2, 1]
    assert "outbox.retried" in box.audit("list").output
    head = listed[0]["hash"]
    assert box.audit("verify").output == f"unbroken: 2 entries, head {head}\n"
    export = tmp_path / "audit.jsonl"
    export.write_text(box.audit("export").output)
    verified = RUN.invoke(audit.app, ["verify", "--file", str(export), "--head", head])
    assert (verified.exit_code, verified.output) == (0, f"unbroken: 2 entries, head {head}\n")
    export.write_text(export.read_text().replace("sequence 3", "sequence 8"))
    broken = RUN.invoke(audit.app, ["verify", "--file", str(export)])
    assert broken.exit_code == 1
    assert "entry 1 was changed" in broken.output
    export.write_text("{}\n")
    assert isinstance(RUN.invoke(audit.app, ["verify", "--file", str(export)]).exception, ConfigError)


def test_a_changed_log_and_one_made_anew_fail(box: Box) -> None:
    box.outbox("retry", "3")
    head = json.loads(box.audit("list", "--format", "json").output)[0]["hash"]
    assert box.audit("verify", "--head", head).exit_code == 0
    anew = box.audit("verify", "--head", "0" * 64)
    assert anew.exit_code == 1
    assert "cut off, or made anew" in anew.output
    connection = sqlite3.connect(box.folder / FILE_NAME)
    connection.execute("DROP TRIGGER audit_refuses_update")
    connection.execute("UPDATE audit SET actor = 'terminal:nobody'")
    connection.commit()
    connection.close()
    broken = box.audit("verify")
    assert broken.exit_code == 1
    assert "entry 1 was changed" in broken.output
