"""Which shift an instant lies in."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo


def shift_of(at: datetime, shift_ends: Sequence[str], zone: tzinfo) -> tuple[datetime, datetime]:
    """The shift that an instant lies in, from its begin to its end (not included).

    Args:
        at: aware.
        shift_ends: local times, ``HH:MM``; at least one.
        zone: the plant's.
    """
    day = at.astimezone(zone).date()
    ends = sorted(
        datetime.combine(day + timedelta(days=shift), time.fromisoformat(end), tzinfo=zone).astimezone(UTC)
        for shift in (-1, 0, 1)
        for end in shift_ends
    )
    return max(end for end in ends if end <= at), min(end for end in ends if end > at)
