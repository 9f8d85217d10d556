"""Recipes and configuration files are changed while the box works: all checked first, nothing changed by halves."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.store.database import Database, sqlite_url
from edge_agent.bootstrap.changes import Changeable, Changes, recall
from edge_agent.config import load
from edge_agent.contract.commands import SUCCESS, UNABLE, UNKNOWN_ID, CommandOutcome
from edge_agent.contract.inbound import CommandRequest
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.recipe import Recipe
from edge_agent.inspecting.in_use import RecipesInUse
from tests.fakes.clock import FakeClock

PLANT = Path(__file__).resolve().parents[2] / "plant_config"
PRODUCT = "PCB-A"


class Box:
    """A copy of an example, its one station, and the commands."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(PLANT, folder / "plant_config")
        self.folder = folder / "plant_config" / "examples" / "folder"
        self.recipe_file = self.folder / "recipes" / "pcb-a.yaml"
        self.store = Database(sqlite_url(folder), clock=FakeClock())
        self.store.migrate()
        self.told = 0
        self.start()

    def start(self) -> str:
        """As the agent does; what is wrong with the choices of earlier commands."""
        configuration = load(self.folder)
        (station,) = configuration.stations
        with self.store.reader() as unit:
            recipes, wrong = recall(unit, configuration, station)
        self.in_use = RecipesInUse(recipes)
        at = Changeable(station=station, in_use=self.in_use, fit=self.fit)
        self.verbs = Changes(configuration, {station.config.id: at}, changed=self._changed).verbs()
        return wrong

    def _changed(self) -> None:
        self.told += 1

    @staticmethod
    def fit(recipe: Recipe) -> Recipe:
        """Only the model that is loaded."""
        if recipe.model.startswith("other"):
            raise ConfigError("model 'other' is not loaded")
        return recipe

    def send(self, verb: str, **args: Any) -> CommandOutcome:
        request = CommandRequest(command_id="c", verb=verb, args=args, not_after=None, requested_by="hmi-3")
        prepare = self.verbs[verb].prepare
        assert prepare is not None
        deed = prepare(request)
        with self.store.unit() as unit:
            outcome = deed(unit, request)
            unit.commit()
        outcome.then()
        return outcome

    def write(self, name: str, **changes: Any) -> Path:
        """Another recipe file beside the station's own."""
        text = self.recipe_file.read_text()
        lines = [line for line in text.splitlines() if line.split(":")[0] not in changes]
        file = self.recipe_file.with_name(name)
        file.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in changes.items())]))
        return file

    @property
    def now(self) -> str:
        ref = self.in_use[PRODUCT].ref
        return f"{ref.recipe_id}/{ref.version}"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.store.close()


def test_a_recipe_is_changed_read_back_remembered_and_taken_back(box: Box) -> None:
    first = box.now
    box.write("tight.yaml", id="tight", version=4)
    box.write("tighter.yaml", id="tight", version=5)
    outcome = box.send("recipe", productId=PRODUCT, recipeId="tight")
    assert (outcome.status, outcome.return_status, box.now) == ("done", SUCCESS, "tight/5")
    assert outcome.result is not None
    (told,) = outcome.result["recipes"]
    assert f"{told['before']['id']}/{told['before']['version']}" == first
    assert told["after"]["sha256"] == box.in_use[PRODUCT].ref.sha256
    assert outcome.subjects == (f"recipe:aoi-1/{PRODUCT}",)
    assert (box.start(), box.now) == ("", "tight/5")
    assert box.send("recipe", productId=PRODUCT, recipeId="tight", version=4).status == "done"
    assert (box.start(), box.now) == ("", "tight/4")
    box.send("recipe", productId=PRODUCT)
    assert (box.now, box.start(), box.now) == (first, "", first)
    assert box.told == 3


def test_a_choice_that_is_gone_or_another_one_is_told_at_the_start(box: Box) -> None:
    first, file = box.now, box.write("tight.yaml", id="tight", version=4)
    box.send("recipe", productId=PRODUCT, recipeId="tight")
    file.write_text(file.read_text() + "\n# touched\n")
    assert "another one than hmi-3 chose" in box.start()
    assert box.now == first
    file.unlink()
    assert "cannot be had" in box.start()


@pytest.mark.parametrize(
    ("args", "bit", "why"),
    [
        ({"productId": "PCB-Z"}, UNKNOWN_ID, "it has PCB-A"),
        ({"productId": PRODUCT, "stationId": "aoi-9"}, UNKNOWN_ID, "there are: aoi-1"),
        ({"productId": PRODUCT, "recipeId": "nothing"}, UNKNOWN_ID, "tight/4"),
        ({"productId": PRODUCT, "recipeId": "tight", "version": 3}, UNKNOWN_ID, "tight/4"),
        ({"productId": PRODUCT, "recipeId": "tight", "sha256": "0" * 64}, UNABLE, "another content"),
        ({"productId": PRODUCT, "recipeId": "other"}, UNABLE, "model 'other' is not loaded"),
        ({"productId": PRODUCT, "recipeId": "twice"}, UNABLE, "a.yaml, b.yaml"),
        ({}, 1 << 32, "productId"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused(box: Box, args: dict[str, Any], bit: int, why: str) -> None:
    first = box.now
    box.write("tight.yaml", id="tight", version=4)
    box.write("other.yaml", id="other", model="other")
    for name in ("a.yaml", "b.yaml"):
        box.write(name, id="twice")
    (box.folder / "recipes" / "broken.yaml").write_text("id: [")
    outcome = box.send("recipe", **args)
    assert (outcome.status, outcome.return_status) == ("rejected", bit)
    assert why in outcome.detail
    assert (box.now, box.told) == (first, 0)


def test_a_changed_recipe_file_is_used_after_a_reload(box: Box) -> None:
    assert box.send("config-reload").detail == "no recipe has changed"
    box.recipe_file.write_text(box.write("new.yaml", version=99).read_text())
    checked = box.send("config-reload", apply=False)
    assert checked.result is not None
    assert checked.result["checkedOnly"] is True
    assert not box.now.endswith("/99")
    outcome = box.send("config-reload")
    assert outcome.status == "done"
    assert box.now.endswith("/99")
    assert box.send("config-reload").detail == "no recipe has changed"


def test_what_needs_a_restart_is_said_until_it_comes(box: Box) -> None:
    plant = box.folder / "plant.yaml"
    plant.write_text(plant.read_text() + "\nlog_level: debug\n")
    for _ in range(2):
        outcome = box.send("config-reload")
        assert outcome.status == "done"
        assert outcome.result is not None
        assert outcome.result["needsRestart"] == ["plant.yaml"]
    assert box.told == 0


def test_every_mistake_is_listed_and_nothing_is_changed(box: Box) -> None:
    first = box.now
    (box.folder / "plant.yaml").write_text((box.folder / "plant.yaml").read_text() + "\nlog_level: loud\nspeed: 3\n")
    box.recipe_file.write_text(box.write("new.yaml", version=0).read_text())
    outcome = box.send("config-reload")
    assert (outcome.status, outcome.return_status) == ("rejected", UNABLE)
    assert outcome.result is not None
    assert {(one["file"], one["key"]) for one in outcome.result["problems"]} == {
        ("plant.yaml", "log_level"),
        ("plant.yaml", "speed"),
        ("recipes/pcb-a.yaml", "version"),
    }
    assert all(one["line"] > 0 for one in outcome.result["problems"])
    assert (box.now, box.told, outcome.subjects) == (first, 0, ())


def test_a_command_s_choice_is_not_undone_by_a_reload(box: Box) -> None:
    box.write("tight.yaml", id="tight", version=4)
    box.send("recipe", productId=PRODUCT, recipeId="tight")
    box.recipe_file.write_text(box.recipe_file.read_text() + "\n# touched\n")
    outcome = box.send("config-reload")
    assert outcome.result is not None
    assert outcome.result["keptByCommand"] == [f"aoi-1/{PRODUCT}"]
    assert box.now == "tight/4"


def test_a_part_sees_the_old_recipe_or_the_new_one(box: Box) -> None:
    held = box.in_use[PRODUCT]
    newer = replace(held, ref=replace(held.ref, version=held.ref.version + 1))
    box.in_use.change({PRODUCT: newer})
    assert (box.in_use[PRODUCT], len(box.in_use), list(box.in_use)) == (newer, 1, [PRODUCT])
