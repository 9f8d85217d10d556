"""What a station starts with: its promoted model, or its own and a pause that says why."""

import pytest

from edge_agent.bootstrap.parts import _start_models
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.promotion import PromotionState
from edge_agent.inspecting.promoting import amend
from edge_agent.observability.health import Condition
from tests.unit.test_model_keeper import STATION, Box, box  # noqa: F401  a fixture


def taken(box: Box, version: str) -> None:  # noqa: F811  the fixture
    box.promote(version)
    with box.store.unit() as unit:
        amend(unit, STATION, box.promotions[-1], state=PromotionState.WATCHED, since=box.clock.now())
        unit.commit()


def start(box: Box) -> str:  # noqa: F811  the fixture
    _start_models(box.models, STATION, box.store, box.pause)
    return box.live


def test_a_promoted_model_stands_there_again(box: Box) -> None:  # noqa: F811
    taken(box, "2")
    assert (start(box), box.pause.reason) == ("board/2", None)


def test_one_that_never_was_in_use_is_left_to_the_keeper(box: Box) -> None:  # noqa: F811
    box.promote("2")
    assert start(box) == "board/1"
    box.keeper.step()
    assert box.live == "board/2"


@pytest.mark.parametrize("how", ["gone", "broken"])
def test_without_it_the_station_is_paused_with_the_reason(box: Box, how: str) -> None:  # noqa: F811
    taken(box, "2")
    if how == "gone":
        (box.folder / "board" / "2" / "card.json").unlink()
    box.broken.add("board/2")
    assert start(box) == "board/1"
    assert box.pause.reason is not None
    assert "the model that was promoted cannot be had" in box.pause.reason.text
    box.keeper.step()
    assert box.promotions != [], "a person decides: it is not taken back by itself"


def test_when_it_is_there_again_it_is_taken_within_a_minute(box: Box) -> None:  # noqa: F811
    taken(box, "2")
    box.broken.add("board/2")
    start(box)
    box.keeper.step()
    box.broken.clear()
    box.keeper.step()
    assert box.live == "board/1"
    box.clock.advance(61)
    box.keeper.step()
    assert (box.live, box.said) == ("board/2", (Condition.OK, "board/1: board/2"))


def test_without_the_recipes_own_model_there_is_no_start(box: Box) -> None:  # noqa: F811
    (box.folder / "board" / "1" / "card.json").unlink()
    with pytest.raises(ConfigError, match="board/1"):
        start(box)
