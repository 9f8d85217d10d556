"""Numbers, times and names as people read them. Everything quoted in an order is rounded here, once."""

from datetime import UTC, datetime


def number(value: float) -> str:
    """Three significant digits, without an exponent where it can be avoided: ``45.2``, ``0.031``, ``1240``."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def share(value: float) -> str:
    """A share as a percentage: ``12 %``, ``0.5 %``."""
    percent = 100 * value
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def clock_time(at: datetime) -> str:
    """``10:42:07 UTC``: as in the records. It names its zone, because a sheet's own times are the plant's."""
    return at.astimezone(UTC).strftime("%H:%M:%S UTC")


def defect_name(code: str) -> str:
    """A defect class as a word."""
    return {"not_decidable": "undecidable images"}.get(code, code.replace("_", " "))


def clean(text: str, limit: int = 60) -> str:
    """Text from outside, made harmless to show: no control characters, bounded."""
    kept = "".join(character if character.isprintable() else " " for character in text)
    return kept[: limit - 1] + "…" if len(kept) > limit else kept
