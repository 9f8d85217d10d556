"""Which model stands where, and which one looks beside it: small facts in the store, each change in the audit log.

The terminal writes them, the station at work follows within a second; a restart does not end them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edge_agent.domain.defect import ModelRef
from edge_agent.domain.faults import ConfigError
from edge_agent.domain.promotion import Promotion
from edge_agent.ports import UnitOfWork

MOST_KEPT = 10
"""Promotions of a station that can be taken back one after the other."""

_PROMOTIONS = TypeAdapter(list[Promotion])


def promotions(unit: UnitOfWork, station_id: str) -> list[Promotion]:
    """Those in force at a station, oldest first; of each word the last one counts.

    Raises:
        ConfigError: what is stored cannot be understood.
    """
    stored = unit.facts.get(_promotions(station_id)) or []
    try:
        return _PROMOTIONS.validate_python(stored)
    except ValidationError as error:
        raise ConfigError(f"the promotions of station {station_id} cannot be read from the store: {error}") from error


def in_force(found: Sequence[Promotion]) -> dict[str, Promotion]:
    """By the word that recipes use."""
    return {one.word: one for one in found}


def promote(unit: UnitOfWork, station_id: str, promotion: Promotion, *, figures: str) -> None:
    """Write a promotion down; it takes effect when the station next looks.

    Args:
        figures: what the gates said, for the audit log.
    """
    found = [*promotions(unit, station_id), promotion]
    _store(unit, station_id, found[-MOST_KEPT:])
    unit.audit.append(
        actor=promotion.by,
        action="model.promoted-by-force" if promotion.forced else "model.promoted",
        subject=f"station:{station_id}",
        before=promotion.earlier.sha256,
        after=promotion.model.sha256,
        detail=f"{change_of(promotion)}: {promotion.why}; {figures}",
    )


def take_back(unit: UnitOfWork, station_id: str, *, by: str, action: str, why: str) -> Promotion | None:
    """Undo the newest promotion; None when there is none."""
    found = promotions(unit, station_id)
    if not found:
        return None
    last = found.pop()
    _store(unit, station_id, found)
    unit.audit.append(
        actor=by,
        action=action,
        subject=f"station:{station_id}",
        before=last.model.sha256,
        after=last.earlier.sha256,
        detail=f"{last.word}: {named(last.model)} -> {named(last.earlier)}: {why}",
    )
    return last


def amend(unit: UnitOfWork, station_id: str, old: Promotion, **changes: Any) -> Promotion | None:
    """Note how far the newest promotion has come; None when it is not the newest any more."""
    found = promotions(unit, station_id)
    if not found or found[-1] != old:
        return None
    found[-1] = replace(old, **changes)
    _store(unit, station_id, found)
    return found[-1]


def choose_shadow(
    unit: UnitOfWork, station_id: str, *, model: ModelRef | None, word: str, by: str, why: str, live: ModelRef
) -> None:
    """Another model looks beside the live one from now on; None: none does."""
    chosen = {"model": None if model is None else named(model), "word": word}
    unit.facts.set(_shadow(station_id), chosen)
    told = f"{named(model)} looks beside {named(live)}" if model else "none looks any more"
    unit.audit.append(
        actor=by,
        action="model.shadowed",
        subject=f"station:{station_id}",
        after=model.sha256 if model else "",
        detail=f"{told}: {why}" if why else told,
    )


def end_shadow(unit: UnitOfWork, station_id: str) -> None:
    """None looks any more: the one that did is live now."""
    unit.facts.set(_shadow(station_id), {"model": None, "word": ""})


def shadow_choice(unit: UnitOfWork, station_id: str) -> Mapping[str, Any] | None:
    """What was chosen at the terminal (``model`` may be None); None: what is configured holds."""
    chosen: Mapping[str, Any] | None = unit.facts.get(_shadow(station_id))
    return chosen


def named(ref: ModelRef) -> str:
    """``name/version``."""
    return f"{ref.name}/{ref.version}"


def change_of(promotion: Promotion) -> str:
    """Which model stands where now, and which before."""
    return f"{promotion.word}: {named(promotion.earlier)} -> {named(promotion.model)}"


def _store(unit: UnitOfWork, station_id: str, found: list[Promotion]) -> None:
    unit.facts.set(_promotions(station_id), _PROMOTIONS.dump_python(found, mode="json"))


def _promotions(station_id: str) -> str:
    return f"promotions:{station_id}"


def _shadow(station_id: str) -> str:
    return f"shadow:{station_id}"
