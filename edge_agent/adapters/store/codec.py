"""Domain objects to JSON text and back, instants to integers and back."""

import json
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_CONFIG = ConfigDict(ser_json_inf_nan="strings", cache_strings="keys")
"""Values are ids and times, new with each part: pydantic's cache of 16,384 strings would fill with them for nothing."""


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return _made_adapter(kind)


@cache
def _made_adapter(kind: Hashable) -> TypeAdapter[Any]:
    # The union is only there because pydantic takes no configuration for a bare dataclass.
    return TypeAdapter(cast(Any, kind) | None, config=_CONFIG)


def _scalar(value: Any) -> Any:
    """A numpy scalar that slipped into a domain object must not cost the row."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"cannot store a {type(value).__name__}")
    return item()


def encode(value: object) -> str:
    """The JSON document of a domain object; NaN and infinities as strings, so that it stays valid JSON."""
    return _adapter(type(value)).serializer.to_json(value, fallback=_scalar, warnings=False).decode()


def decode(kind: type[T], document: str) -> T:
    """The domain object of a JSON document.

    Raises:
        pydantic.ValidationError: the document is not one of this kind.
    """
    value: T = _adapter(kind).validator.validate_json(document)
    return value


def encode_strings(values: Mapping[str, str]) -> str:
    """A flat mapping as JSON text."""
    return json.dumps(dict(values), ensure_ascii=False) if values else "{}"


def decode_strings(document: str) -> dict[str, str]:
    """The reverse of `encode_strings`."""
    return {} if document == "{}" else json.loads(document)


def to_us(at: datetime) -> int:
    """Microseconds since 1970 UTC.

    Raises:
        ValueError: ``at`` is naive: it would mean another instant on another box.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone; an aware UTC instant is needed")
    return (at - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The aware UTC instant."""
    return _EPOCH + us * _MICROSECOND


def label(text: str) -> str:
    """Text as a column holds it: PostgreSQL takes no NUL; the document keeps the original."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def finite(value: float) -> float | None:
    """A float for a column; NaN, which SQLite does not know, as NULL."""
    number = float(value)
    return None if number != number else number
