"""Promotions are followed between two parts, watched, and taken back once when the station does worse."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.bootstrap.model_keeper import ModelKeeper
from edge_agent.bootstrap.station_models import StationModels
from edge_agent.config.stations import ShadowSection
from edge_agent.domain.audit import AuditEntry
from edge_agent.domain.defect import ModelRef
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.inspection import Evaluation
from edge_agent.domain.part import Shot
from edge_agent.domain.promotion import Promotion, PromotionState, WatchRules
from edge_agent.domain.recipe import ClassLimit, Recipe
from edge_agent.inspecting.golden import Goldens
from edge_agent.inspecting.in_use import RecipesInUse
from edge_agent.inspecting.pause import Pause
from edge_agent.inspecting.promoting import choose_shadow, named, promote, promotions, take_back
from edge_agent.inspecting.shadowing import Shadow
from edge_agent.observability.health import Condition, Health
from edge_agent.ports import Detector
from edge_agent.runtime.channel import Channel
from tests.fakes.clock import FakeClock
from tests.fakes.plant_samples import SENDER
from tests.fakes.station import FakeDetector, board
from tests.unit.test_inspector import recipe
from tests.unit.test_model_catalogue import CARD
from tests.unit.test_promotion import part
from tests.unit.test_shadowing import FakeSecond

STATION = "aoi-1"
RULES = WatchRules(window_parts=40, min_parts=10, parts=60, confirm_parts=5)
DOUBT, FAILED, OK = Evaluation.NOT_DECIDABLE, Evaluation.NOT_INSPECTED, Evaluation.OK


class Box:
    """A station's models on disk, its store and its keeper."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.store = Database(sqlite_url(folder), clock=self.clock)
        self.store.migrate()
        self.folder = folder / "models"
        for version in ("1", "2", "3"):
            self.card(version)
        self.broken: set[str] = set()
        self.changed: dict[str, str] = {}
        self.recipes = RecipesInUse({"board-a": replace(recipe(), model="board/1")})
        self.pause, self.health = Pause(), Health()
        self.seconds: dict[str, FakeSecond] = {}
        self.models = StationModels(
            recipes=self.recipes,
            folders=(self.folder,),
            trusted=self.trusted,
            load=self.load,
            goldens=Goldens(lambda path: board()),
        )
        self.models.start({})
        line: Channel[Shot] = Channel(8)
        self.shadow = Shadow(
            station_id=STATION, queue=2, line=line, store=self.store, health=self.health, clock=self.clock
        )
        self.keeper = self.start()

    def card(self, version: str, **more: object) -> None:
        content = CARD | {"name": "board", "version": version, "sha256": version * 64} | more
        folder = self.folder / "board" / version
        folder.mkdir(parents=True)
        (folder / "card.json").write_text(json.dumps(content))

    def trusted(self, folder: Path) -> None:
        if (folder / "unsigned").exists():
            raise ConfigError(f"model {folder} is not signed")

    def load(self, folder: Path) -> Detector:
        name = f"board/{folder.name}"
        if name in self.broken:
            raise ConfigError(f"model {name}: parity test failed")
        made = FakeDetector()
        made.ref = replace(self.models.ref(name), **self.changed)
        return made

    def start(self, options: ShadowSection | None = None) -> ModelKeeper:
        return ModelKeeper(
            station_id=STATION,
            cycle_ms=100,
            models=self.models,
            shadow=self.shadow,
            options=options or ShadowSection(),
            second=self.second,
            pause=self.pause,
            store=self.store,
            clock=self.clock,
            health=self.health,
            sender=SENDER,
            rules=RULES,
        )

    def second(self, name: str) -> FakeSecond:
        self.seconds[name] = FakeSecond(self.clock, 0.0)
        return self.seconds[name]

    def promote(self, version: str, *, sha256: str = "", word: str = "board/1") -> None:
        model = ModelRef(name="board", version=version, sha256=sha256 or version * 64)
        with self.store.unit() as unit:
            made = Promotion(
                word=word,
                model=model,
                earlier=self.models.ref(self.models.stand_ins.get(word, word)),
                by="terminal:anna",
                why="sees more",
                at=self.clock.now(),
            )
            promote(unit, STATION, made, figures="gates passed")
            unit.commit()

    def inspect(self, count: int, evaluation: Evaluation = OK, code: str = "") -> None:
        with self.store.unit() as unit:
            for _ in range(count):
                self.clock.advance(1)
                now = self.clock.now()
                unit.inspections.add(replace(part(evaluation, code), started_at=now, ended_at=now))
            unit.commit()

    def watched(self, count: int, evaluation: Evaluation = OK, code: str = "") -> None:
        """Part by part, the keeper looks after each."""
        for _ in range(count):
            self.inspect(1, evaluation, code)
            self.keeper.step()

    @property
    def live(self) -> str:
        return named(self.models.live("board/1"))

    @property
    def promotions(self) -> list[Promotion]:
        with self.store.reader() as unit:
            return promotions(unit, STATION)

    @property
    def audit(self) -> list[AuditEntry]:
        with self.store.reader() as unit:
            return unit.audit.latest(50, subject=f"station:{STATION}")[::-1]

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in self.audit]

    @property
    def said(self) -> tuple[Condition, str]:
        entry = next(one for one in self.health.board() if one.component == f"model:{STATION}")
        return entry.condition, entry.detail


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.store.close()


def test_a_promotion_takes_effect_is_remembered_and_taken_back_by_hand(box: Box) -> None:
    box.keeper.step()
    assert (box.live, box.actions) == ("board/1", [])
    box.promote("2")
    box.keeper.step()
    assert box.live == "board/2"
    assert box.recipes["board-a"].looks_with == "board/2"
    assert box.actions == ["model.promoted", "model.taken"]
    (entry, taken) = box.audit
    assert (entry.actor, entry.before, entry.after) == ("terminal:anna", "1" * 64, "2" * 64)
    assert entry.detail == "board/1: board/1 -> board/2: sees more; gates passed"
    assert (taken.actor, taken.detail) == (SENDER.agent, "board/1: board/2")

    box.recipes.change({"board-a": replace(recipe(), model="board/1")})  # as after a restart
    box.models.start({"board/1": "board/2"})
    box.keeper = box.start()
    box.keeper.step()
    assert (box.live, box.actions) == ("board/2", ["model.promoted", "model.taken"])

    with box.store.unit() as unit:
        assert take_back(unit, STATION, by="terminal:anna", action="model.rolled-back", why="scratches") is not None
        assert take_back(unit, STATION, by="terminal:anna", action="model.rolled-back", why="again") is None
        unit.commit()
    box.keeper.step()
    assert (box.live, box.recipes["board-a"].stand_in) == ("board/1", "")
    assert box.actions[-2:] == ["model.rolled-back", "model.taken"]


def test_promotions_are_taken_back_one_by_one(box: Box) -> None:
    for version in ("2", "3"):
        box.promote(version)
        box.keeper.step()
    assert [named(one.earlier) for one in box.promotions] == ["board/1", "board/2"]
    for left in ("board/2", "board/1"):
        with box.store.unit() as unit:
            take_back(unit, STATION, by="anna", action="model.rolled-back", why="-")
            unit.commit()
        box.keeper.step()
        assert box.live == left


@pytest.mark.parametrize("how", ["broken", "another file", "gone", "unsigned", "changed"])
def test_a_model_that_cannot_be_had_is_refused_and_the_line_goes_on(box: Box, how: str) -> None:
    if how == "broken":
        box.broken.add("board/2")
    if how == "gone":
        (box.folder / "board" / "2" / "card.json").unlink()
    if how == "unsigned":
        (box.folder / "board" / "2" / "unsigned").touch()
    if how == "changed":
        box.changed = {"sha256": "e" * 64}
    box.promote("2", sha256="f" * 64 if how == "another file" else "2" * 64)
    box.keeper.step()
    box.keeper.step()
    assert (box.live, box.promotions) == ("board/1", [])
    assert box.actions == ["model.promoted", "model.refused"]
    assert box.said[0] is Condition.DEGRADED
    assert "cannot be had" in box.said[1]
    assert box.pause.reason is None


def test_a_recipe_that_is_changed_meanwhile_looks_with_what_stands_for_its_model(box: Box) -> None:
    box.promote("2")
    box.keeper.step()
    changed = replace(recipe(), model="board/1", ref=replace(recipe().ref, version=2))
    assert box.models.fit(changed).looks_with == "board/2"
    box.recipes.change({"board-a": changed})  # it was fitted before the promotion and comes after it
    box.keeper.step()
    assert box.recipes["board-a"].looks_with == "board/2"
    with pytest.raises(ConfigError, match="'board/3' is not loaded"):
        box.models.fit(replace(changed, model="board/3"))


def test_limits_that_a_model_brings_come_and_go_with_it(box: Box) -> None:
    teaching = {
        "images": 1,
        "good_sha256": "0" * 64,
        "size_wh": [8, 8],
        "working_wh": [8, 8],
        "accept_distance": 1,
        "reject_distance": 2,
        "wanted_rate": 0.1,
        "promised_rate": 0.1,
        "threshold_from": "",
        "parity_distance": 1,
        "backbone": "",
    }
    taught = {"decode": "taught", "teaching": teaching, "needs_golden": False, "classes": ["anomaly"], "min_score": 0.4}
    inputs = [{"name": "image", "shape": [1, 3, 8, 8], "dtype": "uint8"}]
    box.card("4", **taught, inputs=inputs)
    box.promote("4")
    box.keeper.step()
    own = ClassLimit(code="anomaly", reject_score=0.5, doubt_score=0.4)
    assert box.recipes["board-a"].limits_for("anomaly") == (own,)
    with box.store.unit() as unit:
        take_back(unit, STATION, by="anna", action="model.rolled-back", why="-")
        unit.commit()
    box.keeper.step()
    assert box.recipes["board-a"].limits_for("anomaly") == (box.recipes["board-a"].default_limit,)


def test_memory_for_models_is_bounded(box: Box) -> None:
    for version in ("4", "5", "6", "7"):
        box.card(version)
    for version in ("2", "3", "4", "5", "6", "7"):
        box.promote(version)
        box.keeper.step()
    assert len(box.models.detectors) == 3
    assert "board/7" in box.models.detectors


# --- the watch ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("evaluation", "code", "word"), [(DOUBT, "", "held"), (FAILED, "detector.failed", "failed")])
def test_a_model_that_does_worse_is_taken_back_once_with_an_alarm(
    box: Box, evaluation: Evaluation, code: str, word: str
) -> None:
    box.inspect(40)
    box.promote("2")
    box.keeper.step()
    box.watched(20, evaluation, code)
    assert box.live == "board/1"
    assert box.promotions == []
    assert box.actions == ["model.promoted", "model.taken", "model.rolled-back"]
    entry = box.audit[-1]
    assert (entry.actor, entry.before, entry.after) == (SENDER.agent, "2" * 64, "1" * 64)
    assert word in entry.detail
    assert box.said[0] is Condition.DEGRADED
    assert "board/2 was taken back at aoi-1" in box.said[1]
    with box.store.reader() as unit:
        (row,) = unit.outbox.rows()
    told = json.loads(row.message.body)["data"]
    assert (told["class"], told["reasonCode"]) == ("model", "model.rolled-back")
    box.watched(20, evaluation, code)
    assert len(box.audit) == 3
    box.promote("3")
    box.keeper.step()
    assert box.said == (Condition.OK, "board/1: board/3")


def test_a_short_dip_is_not_taken_for_a_fall(box: Box) -> None:
    box.inspect(40)
    box.promote("2")
    box.keeper.step()
    box.watched(10)
    box.watched(2, DOUBT)
    box.watched(28)
    assert box.live == "board/2"


def test_what_was_as_bad_before_is_no_fall(box: Box) -> None:
    box.inspect(40, DOUBT)
    box.promote("2")
    box.keeper.step()
    box.watched(30, DOUBT)
    assert box.live == "board/2"


def test_after_its_parts_it_has_settled_and_is_not_watched_any_more(box: Box) -> None:
    box.inspect(40)
    box.promote("2")
    box.keeper.step()
    box.watched(60)
    assert [one.state for one in box.promotions] == [PromotionState.SETTLED]
    assert box.actions[-1] == "model.settled"
    box.watched(40, DOUBT)
    assert box.live == "board/2"


def test_the_watch_goes_on_after_a_restart(box: Box) -> None:
    box.inspect(40)
    box.promote("2")
    box.keeper.step()
    box.watched(8, DOUBT)
    box.keeper = box.start()
    box.watched(12, DOUBT)
    assert box.live == "board/1"


def test_when_the_one_before_is_gone_too_the_station_pauses(box: Box) -> None:
    box.inspect(40)
    box.promote("2")
    box.keeper.step()
    box.promote("3")
    box.keeper.step()
    box.models.detectors.keep(["board/3"], most_others=0)
    box.broken |= {"board/1", "board/2"}
    box.watched(20, DOUBT)
    assert box.pause.reason is not None
    assert "the one before cannot be had" in box.pause.reason.text


# --- the shadow -----------------------------------------------------------------------------------------------------


def choose(box: Box, version: str | None, word: str = "") -> None:
    ref = None if version is None else box.models.ref(f"board/{version}")
    with box.store.unit() as unit:
        live = box.models.live("board/1")
        choose_shadow(unit, STATION, model=ref, word=word, by="terminal:anna", why="to see", live=live)
        unit.commit()


def shadowing(box: Box) -> str:
    box.keeper.step()
    candidate = box.shadow.candidate
    return named(candidate.ref) if candidate else ""


def test_the_configured_shadow_looks_until_another_is_chosen(box: Box) -> None:
    box.keeper = box.start(ShadowSection(model="board/2"))
    assert shadowing(box) == "board/2"
    choose(box, "3")
    assert shadowing(box) == "board/3"
    assert box.seconds["board/2"].closed
    choose(box, None)
    assert shadowing(box) == ""
    assert box.seconds["board/3"].closed
    assert [entry.detail for entry in box.audit][:1] == ["board/3 looks beside board/1: to see"]


def test_a_shadow_whose_thread_was_restarted_is_chosen_again(box: Box) -> None:
    choose(box, "2")
    assert shadowing(box) == "board/2"
    box.shadow.close()
    assert shadowing(box) == "board/2"


def test_a_shadow_that_is_not_there_is_told(box: Box) -> None:
    choose(box, "2")
    (box.folder / "board" / "2" / "card.json").unlink()
    assert shadowing(box) == ""
    assert shadowing(box) == ""
    assert [one.component for one in box.health.alarms()] == ["shadow:aoi-1"]


def test_where_recipes_name_several_models_it_must_be_said_which(box: Box) -> None:
    other: Recipe = replace(recipe(), model="board/2", product_id="board-b")
    box.recipes.change({"board-b": other})
    box.models.start({})
    choose(box, "3")
    assert shadowing(box) == ""
    (alarm,) = box.health.alarms()
    assert "board/1, board/2; say which one is meant" in alarm.detail
    choose(box, "3", word="board/2")
    assert shadowing(box) == "board/3"
