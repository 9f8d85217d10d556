"""The station's two workers: every shot is answered, whatever goes wrong."""

import pytest

from edge_agent.domain.faults import Transient
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.part import Shot
from edge_agent.domain.reason import Reason
from edge_agent.inspecting.answering import Answering
from edge_agent.inspecting.golden import Goldens
from edge_agent.inspecting.inspector import Inspector
from edge_agent.inspecting.station import InspectionWorker, TriggerWorker
from edge_agent.observability.health import Condition, Health
from edge_agent.runtime.channel import Channel
from tests.fakes.clock import FakeClock
from tests.fakes.station import FakeActuator, FakeCamera, FakeDetector, FakeRecorder, FakeTrigger, board, shot
from tests.unit.test_inspector import recipe


class Line:
    """A station on fakes."""

    def __init__(
        self, outcomes: list[object], *, capacity: int = 2, every_shot: bool = True, camera_is_away: bool = False
    ) -> None:
        self.clock = FakeClock()
        self.camera = FakeCamera(self.clock, outcomes)  # type: ignore[arg-type]
        self.camera.refuses_to_open = camera_is_away
        self.recorder = FakeRecorder()
        self.actuator = FakeActuator()
        self.health = Health()
        self.channel: Channel[Shot] = Channel(capacity, when_full="refuse" if every_shot else "drop")
        self.trigger = FakeTrigger()
        self.inspector = inspector = Inspector(
            camera=self.camera,
            recipes={"board-a": recipe()},
            detectors={"m": FakeDetector()},
            goldens=Goldens(lambda path: board()),
            clock=self.clock,
            cycle_ms=1_000,
            grab_timeout_s=1,
        )
        self.answering = answering = Answering(
            station_id="aoi-1",
            recorder=self.recorder,  # type: ignore[arg-type]
            actuators=[self.actuator],
            health=self.health,
            clock=self.clock,
            every_shot=every_shot,
        )
        self.waiting = TriggerWorker(
            source=self.trigger,
            channel=self.channel,
            inspector=inspector,
            answering=answering,
            health=self.health,
            clock=self.clock,
        )
        self.inspecting = InspectionWorker(
            station_id="aoi-1",
            camera=self.camera,
            channel=self.channel,
            inspector=inspector,
            answering=answering,
            health=self.health,
            clock=self.clock,
        )
        self.inspecting.setup()

    def trigger_parts(self, count: int) -> None:
        self.trigger.queue.extend(shot(self.clock, f"P-{number}") for number in range(count))
        for _ in range(count):
            self.waiting.step()

    @property
    def evaluations(self) -> list[str]:
        return [inspection.evaluation for inspection in self.recorder.kept.values()]


def test_a_part_is_inspected_and_the_line_is_told() -> None:
    line = Line([board()])
    line.trigger_parts(1)
    line.inspecting.step()
    assert line.actuator.told == [("busy", "P-0"), ("ACCEPT", "P-0")]
    assert line.actuator.is_ready


def test_a_full_queue_is_answered_with_hold() -> None:
    line = Line([board()], capacity=2)
    line.trigger_parts(3)
    assert line.actuator.told == [("HOLD", "P-2")]


def test_requests_that_can_wait_are_not_refused() -> None:
    """Files on a share wait for room; nothing that is already there is lost to a full queue."""
    line = Line([board()] * 3, capacity=2)
    line.trigger.patient = True
    line.trigger_parts(3)
    assert line.actuator.told == []
    for _ in range(3):
        assert line.channel.ledger.left <= 1
        line.inspecting.step()
        line.waiting.step()
    assert line.evaluations == [Evaluation.OK] * 3


def test_what_the_source_refuses_is_answered_with_its_reason() -> None:
    line = Line([board()])
    line.trigger.refused = [(shot(line.clock, "P-9"), Reason(code="trigger.stale", text="90 s old"))]
    line.waiting.step()
    line.waiting.step()
    assert line.actuator.told == [("HOLD", "P-9")]
    (inspection,) = line.recorder.kept.values()
    assert inspection.reasons[0].code == "trigger.stale"


def test_a_lost_camera_holds_parts_until_it_returns() -> None:
    line = Line([Transient("unplugged"), board()], capacity=4)
    line.trigger_parts(1)
    line.inspecting.step()
    assert (line.evaluations, line.actuator.is_ready) == ([Evaluation.NOT_INSPECTED], False)
    line.camera.refuses_to_open = True
    line.clock.advance(2)
    line.trigger_parts(1)
    line.inspecting.step()
    assert line.evaluations[-1] == Evaluation.NOT_INSPECTED
    line.camera.refuses_to_open = False
    line.clock.advance(2)
    line.trigger_parts(1)
    line.inspecting.step()
    assert line.evaluations[-1] == Evaluation.OK
    assert line.actuator.is_ready


def test_a_camera_that_is_away_at_the_start_is_a_fault_for_the_line() -> None:
    line = Line([board()], camera_is_away=True)
    assert (line.actuator.is_ready, line.actuator.is_fault) == (False, True)
    assert [entry.component for entry in line.health.blocking()] == ["camera:aoi-1"]
    line.camera.refuses_to_open = False
    line.clock.advance(2)
    line.inspecting.step()
    assert (line.actuator.is_ready, line.actuator.is_fault) == (True, False)
    assert line.health.blocking() == []


def test_no_part_is_asked_for_while_results_cannot_be_recorded() -> None:
    line = Line([board(), board()])
    line.trigger_parts(1)
    line.recorder.fails = True
    line.inspecting.step()
    assert (line.actuator.is_ready, line.actuator.is_fault) == (False, True)
    assert [entry.component for entry in line.health.blocking()] == ["recording:aoi-1"]
    line.recorder.fails = False
    line.inspecting.step()
    assert (line.actuator.is_ready, line.actuator.is_fault) == (True, False)
    assert line.health.blocking() == []


def test_what_cannot_be_recorded_is_held_and_recorded_later() -> None:
    line = Line([board()])
    line.trigger_parts(1)
    line.recorder.fails = True
    line.inspecting.step()
    assert line.actuator.told[-1] == ("HOLD", "P-0")
    assert line.health.worst() is Condition.DOWN
    line.recorder.fails = False
    line.inspecting.step()
    assert line.evaluations == [Evaluation.NOT_INSPECTED]


def test_parts_left_at_stop_are_answered() -> None:
    line = Line([board()])
    line.trigger_parts(2)
    line.inspecting.teardown()
    assert line.evaluations == [Evaluation.NOT_INSPECTED] * 2
    assert not line.camera.is_open


def test_a_lost_trigger_source_is_reopened() -> None:
    line = Line([board()])
    line.trigger.queue.append(Transient("PLC away"))  # type: ignore[arg-type]
    with pytest.raises(Transient):
        line.waiting.step()
    assert not line.trigger.is_open
    line.trigger_parts(1)
    assert line.trigger.is_open


def test_the_heartbeat_goes_on_without_parts() -> None:
    line = Line([board()])
    for _ in range(4):
        line.waiting.step()
        line.clock.advance(0.6)
    assert line.actuator.beats == 4


def test_a_trigger_that_cannot_be_recorded_is_held_at_once() -> None:
    line = Line([board()])
    line.recorder.fails = True
    line.trigger_parts(1)
    assert line.actuator.told == [("HOLD", "P-0")]
    assert line.channel.ledger.offered == 0
    line.recorder.fails = False
    line.inspecting.step()
    (inspection,) = line.recorder.kept.values()
    assert [reason.code for reason in inspection.reasons] == ["store.failed"]


def test_where_the_newest_shot_wins_the_dropped_ones_owe_nothing() -> None:
    line = Line([board()], capacity=1, every_shot=False)
    assert line.answering.remember(shot(line.clock, "P-sent"))
    line.trigger_parts(5)
    assert line.channel.ledger.dropped == 4
    assert line.recorder.expected == {}
    line.inspecting.step()
    assert [told for told in line.actuator.told if told[0] != "busy"] == [("ACCEPT", "P-4")]


def test_a_restarted_worker_does_not_answer_for_what_this_process_has_in_hand() -> None:
    line = Line([board()])
    asked = shot(line.clock, "P-1")
    assert line.answering.remember(asked)
    line.inspecting.setup()
    assert line.actuator.told == []
    assert not line.answering.remember(shot(line.clock, "P-1")), "the same trigger, delivered again"
    line.trigger.queue.append(asked)
    line.waiting.step()
    line.inspecting.step()
    assert [told for told in line.actuator.told if told[0] != "busy"] == [("ACCEPT", "P-1")]


def test_a_part_whose_inspection_hit_a_bug_is_answered() -> None:
    line = Line([RuntimeError("bug"), board()])
    line.trigger_parts(1)
    with pytest.raises(RuntimeError):
        line.inspecting.step()
    line.inspecting.teardown()
    assert ("HOLD", "P-0") in line.actuator.told
    (inspection,) = line.recorder.kept.values()
    assert inspection.reasons[0].code == "agent.failed"


def test_a_trigger_that_cannot_be_noted_stays_with_its_source() -> None:
    line = Line([board()])
    line.recorder.fails = True
    with pytest.raises(Transient):
        line.answering.remember(shot(line.clock, "P-1"))
    line.recorder.fails = False
    assert line.answering.remember(shot(line.clock, "P-1"))


def test_what_an_earlier_process_left_is_answered_at_start() -> None:
    line = Line([board()])
    line.recorder.expect(shot(line.clock, "P-before"))
    line.inspecting.setup()
    assert line.actuator.told == [("HOLD", "P-before")]
    (inspection,) = line.recorder.kept.values()
    assert inspection.reasons[0].code == "agent.restarted"


# --- paused -----------------------------------------------------------------------------------------------------------

PAUSED = Reason(code="station.paused", text="paused by hmi-3")


def test_a_paused_station_holds_every_part_and_withdraws_ready_without_a_fault() -> None:
    line = Line([board()])
    line.answering.pause.set(PAUSED)
    line.trigger_parts(1)
    assert line.actuator.told == [("HOLD", "P-0")]
    assert (line.actuator.is_ready, line.actuator.is_fault) == (False, False)
    (inspection,) = line.recorder.kept.values()
    assert (inspection.evaluation, inspection.reasons) == (Evaluation.NOT_INSPECTED, (PAUSED,))


def test_parts_taken_before_the_pause_are_inspected() -> None:
    line = Line([board()])
    line.trigger_parts(1)
    line.answering.pause.set(PAUSED)
    line.inspecting.step()
    assert line.evaluations == [Evaluation.OK]


def test_a_resumed_station_is_ready_again_unless_its_camera_is_away() -> None:
    line = Line([board(), Transient("unplugged"), board()])
    line.answering.pause.set(PAUSED)
    line.waiting.step()
    line.answering.pause.set(None)
    line.waiting.step()
    assert line.actuator.is_ready
    line.trigger_parts(2)
    line.inspecting.step()
    line.inspecting.step()  # loses the camera
    line.answering.pause.set(PAUSED)
    line.waiting.step()
    line.answering.pause.set(None)
    line.waiting.step()
    assert (line.actuator.is_ready, line.actuator.is_fault) == (False, True)


def test_a_camera_that_returns_does_not_end_a_pause() -> None:
    line = Line([board()])
    line.answering.pause.set(PAUSED)
    line.answering.ready(True)
    assert not line.actuator.is_ready


def test_what_can_wait_is_left_where_it_is() -> None:
    line = Line([board()])
    line.trigger.patient = True
    line.answering.pause.set(PAUSED)
    line.trigger_parts(1)
    assert line.actuator.told == []
    line.answering.pause.set(None)
    line.waiting.step()
    line.inspecting.step()
    assert line.evaluations == [Evaluation.OK]
