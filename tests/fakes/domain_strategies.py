"""Hypothesis strategies for every domain type, made from the types themselves: a new field is drawn at once."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from edge_agent.domain.inspection import Disposition, Evaluation, Inspection
from edge_agent.domain.reason import Reason

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
instants = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)
)  # naive bounds are what st.datetimes takes

_SIMPLE: Mapping[Any, st.SearchStrategy[Any]] = {
    str: texts,
    int: st.integers(0, 2**31 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=32),
    UUID: st.uuids(),
    datetime: instants,
    type(None): st.none(),
    Any: st.none(),
}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of this type; NaN apart, which is not equal to itself."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if dataclasses.is_dataclass(kind):
        return st.deferred(lambda: _instances(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    return _generic(typing.get_origin(kind), typing.get_args(kind))


def _generic(origin: Any, arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin in (types.UnionType, typing.Union):
        return st.one_of([of(argument) for argument in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*[of(argument) for argument in arguments])
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(of(arguments[0]), of(arguments[1]), max_size=2)
    raise TypeError(f"no strategy for {origin}[{arguments}]")


def _instances(kind: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind)
    fields: dict[str, st.SearchStrategy[Any]] = {
        field.name: of(hints[field.name]) for field in dataclasses.fields(kind)
    }
    if kind is Inspection:
        return _inspections(fields)
    return st.builds(kind, **fields)


def _inspections(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Inspection]:
    """Only the combinations that the constructor accepts."""
    reasons = st.lists(of(Reason), min_size=1, max_size=2).map(tuple)
    other = st.sampled_from([evaluation for evaluation in Evaluation if evaluation is not Evaluation.OK])
    bad = {"evaluation": other, "disposition": st.sampled_from([Disposition.REJECT, Disposition.HOLD])}
    good = {"evaluation": st.just(Evaluation.OK), "disposition": st.just(Disposition.ACCEPT)}
    return st.one_of(
        st.builds(Inspection, **fields | good), st.builds(Inspection, **fields | bad | {"reasons": reasons})
    )
