"""What a check found."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.domain.defect import BoxXyxy

MAX_EXAMPLES = 8


class Level(StrEnum):
    """How bad it is: an error makes figures or labels wrong, a warning may, a note is good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One case.

    Attributes:
        where: the image's origin, or file and line.
        image: path below the data set's folder, to look at; empty where there is none.
        other: the second image of a pair.
    """

    where: str
    what: str = ""
    image: str = ""
    other: str = ""
    xyxy_px: BoxXyxy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of trouble.

    Attributes:
        check: stable name, e.g. ``boxes.outside``.
        text: what it is and why it matters.
        count: all cases; ``examples`` are the first few.
    """

    level: Level
    check: str
    text: str
    count: int
    examples: tuple[Example, ...] = ()


def found(level: Level, check: str, text: str, cases: Sequence[Example]) -> list[Finding]:
    """A finding of these cases; none when there are none."""
    if not cases:
        return []
    return [Finding(level=level, check=check, text=text, count=len(cases), examples=tuple(cases[:MAX_EXAMPLES]))]
