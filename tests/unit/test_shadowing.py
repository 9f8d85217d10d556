"""A shadow model sees what was answered, after it was answered, and the line never waits for it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.domain.defect import ModelRef, Sighting
from edge_agent.domain.faults import ConfigError, PartFault, Transient
from edge_agent.domain.frame import Frame, Pixels
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.recipe import Recipe
from edge_agent.domain.shadow import ShadowLook
from edge_agent.inspecting import shadowing
from edge_agent.inspecting.shadowing import Candidate, Shadow, dropped
from edge_agent.inspecting.station import InspectionWorker
from edge_agent.observability.health import Condition
from edge_agent.ports import Clock, SecondSight
from edge_agent.runtime.channel import Channel
from tests.fakes.clock import FakeClock
from tests.fakes.station import board, defect, shot
from tests.unit.test_station import Line

SHADOW = ModelRef(name="m", version="2", sha256="2" * 64)


class FakeSecond:
    """Sees the given scores, one after the other (the last for ever), or raises the given error."""

    def __init__(self, clock: Clock, *outcomes: float | Exception) -> None:
        self._clock = clock
        self._outcomes = list(outcomes)
        self.seen: list[Frame] = []
        self.closed = False
        self.before: Callable[[], object] = lambda: None

    def look(self, frame: Frame, golden: Pixels | None, shift_xy_px: tuple[float, float] | None) -> SecondSight:
        self.seen.append(frame)
        self.before()
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        defects = (defect(self._clock, score=outcome),) if outcome else ()
        return SecondSight(sighting=Sighting(defects=defects, model=SHADOW, inference_ms=70.0), processor_ms=30.0)

    def close(self) -> None:
        self.closed = True


class Beside:
    """A line on fakes with a shadow over a real store."""

    def __init__(self, folder: Path, *outcomes: float | Exception, queue: int = 2) -> None:
        self.line = Line([board()], capacity=8)
        self.clock: FakeClock = self.line.clock
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.shadow = self._shadow(queue)
        self.second = self.choose(*outcomes)
        self.inspecting = InspectionWorker(
            station_id="aoi-1",
            camera=self.line.camera,
            channel=self.line.channel,
            inspector=self.line.inspector,
            answering=self.line.answering,
            health=self.line.health,
            clock=self.clock,
            afterwards=self.shadow.offer,
        )
        self.inspecting.setup()

    def _shadow(self, queue: int) -> Shadow:
        line: Channel = self.line.channel  # type: ignore[type-arg]
        return Shadow(
            station_id="aoi-1",
            queue=queue,
            line=line,
            store=self.store,
            health=self.line.health,
            clock=self.clock,
        )

    def choose(self, *outcomes: float | Exception, word: str = "m") -> FakeSecond:
        second = FakeSecond(self.clock, *outcomes)
        self.shadow.choose(Candidate(ref=SHADOW, word=word, detector=second, recipe=lambda recipe: recipe))
        return second

    def inspect(self, count: int) -> None:
        self.line.trigger_parts(count)
        for _ in range(count):
            self.inspecting.step()

    @property
    def looks(self) -> list[ShadowLook]:
        with self.store.reader() as unit:
            return unit.shadow_looks.list("aoi-1", shadow=SHADOW)[::-1]


Make = Callable[..., Beside]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(shadowing, "_WAIT_S", 0.001)
    made: list[Beside] = []

    def beside(*outcomes: float | Exception, **more: int) -> Beside:
        made.append(Beside(tmp_path, *outcomes, **more))
        return made[-1]

    yield beside
    for one in made:
        one.store.close()


def test_both_answers_are_kept_side_by_side(make: Make) -> None:
    beside = make(0.0, 0.9, 0.4, queue=4)
    beside.inspect(3)
    while beside.shadow.step():
        pass
    looks = beside.looks
    assert [look.live_evaluation for look in looks] == [Evaluation.OK] * 3
    assert [look.evaluation for look in looks] == [Evaluation.OK, Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE]
    assert [look.inspection_id for look in looks] == list(beside.line.recorder.kept)
    assert (looks[0].inference_ms, looks[0].processor_ms, looks[0].live.name) == (70.0, 30.0, "fake")


def test_the_line_never_waits_for_a_shadow_that_hangs(make: Make) -> None:
    """By the order of events: every part is answered while the shadow still looks at the first one."""
    beside = make(0.0, queue=2)
    begun, go_on, events = threading.Event(), threading.Event(), beside.line.actuator.told

    def hang() -> None:
        events.append(("shadow begins", beside.second.seen[-1].source))
        begun.set()
        go_on.wait(30)
        events.append(("shadow ends", beside.second.seen[-1].source))

    beside.second.before = hang
    beside.inspect(1)
    thread = threading.Thread(target=beside.shadow.step)
    thread.start()
    assert begun.wait(30)
    beside.line.trigger.queue.extend(shot(beside.clock, f"N-{number}") for number in range(5))
    for _ in range(5):
        beside.line.waiting.step()
        beside.inspecting.step()
    answered = [event for event in events if event[0] == "ACCEPT"]
    assert [event[1] for event in answered] == ["P-0", *(f"N-{number}" for number in range(5))]
    assert [word for word, _ in events if word.startswith("shadow")] == ["shadow begins"]
    go_on.set()
    thread.join(30)
    assert events[-1][0] == "shadow ends"
    assert beside.shadow.dropped == 3
    beside.second.before = lambda: None
    while beside.shadow.step():
        pass
    assert [frame.source for frame in beside.second.seen] == ["memory:P-0", "memory:N-3", "memory:N-4"]


def test_while_a_part_waits_the_shadow_begins_nothing(make: Make) -> None:
    beside = make(0.0)
    beside.inspect(1)
    beside.line.trigger_parts(1)
    assert not beside.shadow.step()
    assert beside.second.seen == []
    beside.inspecting.step()
    assert beside.shadow.step()


def test_a_failure_is_a_look_that_did_not_inspect(make: Make) -> None:
    beside = make(PartFault("image.size", "another size"))
    beside.inspect(1)
    assert beside.shadow.step()
    (look,) = beside.looks
    assert look.evaluation is Evaluation.NOT_INSPECTED
    assert "another size" in look.reasons[0].text


def test_want_of_time_is_no_failure_of_the_model(make: Make) -> None:
    beside = make(Transient("no answer before its deadline, killed"), 0.0)
    beside.inspect(2)
    assert not beside.shadow.step()
    assert [one.component for one in beside.line.health.alarms()] == ["shadow:aoi-1"]
    assert beside.shadow.step()
    assert (len(beside.looks), beside.shadow.dropped, beside.line.health.alarms()) == (1, 1, [])


def test_a_model_that_cannot_be_used_is_told_and_let_go(make: Make) -> None:
    beside = make(ConfigError("sha256 is another"))
    beside.inspect(1)
    assert not beside.shadow.step()
    assert (beside.shadow.candidate, beside.shadow.unusable, beside.second.closed) == (None, True, True)
    (alarm,) = beside.line.health.alarms()
    assert (alarm.component, alarm.condition) == ("shadow:aoi-1", Condition.DEGRADED)
    beside.inspect(1)
    assert beside.line.evaluations == [Evaluation.OK] * 2


def test_what_the_live_model_did_not_judge_is_not_shown(make: Make) -> None:
    beside = make(0.0, queue=8)
    beside.choose(0.0, word="another model")
    beside.inspect(2)
    beside.choose(0.0)
    beside.line.camera._outcomes.clear()
    beside.line.camera._outcomes.append(PartFault("camera.timeout", "no frame"))
    beside.inspect(2)
    assert not beside.shadow.step()
    assert beside.looks == []


def test_drops_are_remembered_for_the_model_they_are_of(make: Make) -> None:
    beside = make(0.0, queue=1)
    beside.inspect(4)
    assert beside.shadow.step()
    assert beside.shadow.dropped == 3
    beside.choose(0.0)
    assert beside.shadow.dropped == 3
    beside.inspect(3)
    assert beside.shadow.step()
    assert beside.shadow.dropped == 5
    with beside.store.reader() as unit:
        assert dropped(unit, "aoi-1", SHADOW) == 5
        assert dropped(unit, "aoi-1", replace(SHADOW, version="3")) == 0
    beside.shadow.choose(None)
    assert beside.shadow.dropped == 0


def test_another_candidate_ends_the_one_before_and_forgets_its_parts(make: Make) -> None:
    beside = make(0.0, queue=4)
    first = beside.second
    beside.inspect(2)
    beside.choose(0.9)
    assert first.closed
    assert not beside.shadow.step()
    assert first.seen == []


def test_the_shadow_judges_with_the_recipe_as_it_would_be(make: Make) -> None:
    beside = make(0.0)

    def strict(recipe: Recipe) -> Recipe:
        return replace(recipe, default_limit=replace(recipe.default_limit, reject_score=0.2, doubt_score=0.1))

    second = FakeSecond(beside.clock, 0.25)
    beside.shadow.choose(Candidate(ref=SHADOW, word="m", detector=second, recipe=strict))
    beside.inspect(1)
    assert beside.shadow.step()
    assert beside.looks[0].evaluation is Evaluation.NOT_OK
