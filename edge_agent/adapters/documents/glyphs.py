"""Which characters no installed font can draw: on paper they would be empty boxes, and nobody would be told."""

import subprocess
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache

_ASK = ("fc-list", ":", "charset")
_TIMEOUT_S = 5.0
_PLAIN = 0x17F
"""Up to Latin Extended-A: in every text font, and most texts hold nothing else, so that nothing is asked."""
_NOT_DRAWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})

Ranges = tuple[tuple[int, int], ...]


def undrawable(text: str, ranges: Callable[[], Ranges | None] | None = None) -> str:
    """The characters of a text that no installed font has, each once, in order; empty where fonts cannot be asked."""
    unusual = {one for one in text if ord(one) > _PLAIN and unicodedata.category(one) not in _NOT_DRAWN}
    if not unusual:
        return ""
    known = (ranges or installed)()
    if not known:
        return ""
    starts = [low for low, _ in known]
    return "".join(sorted(one for one in unusual if not _covered(ord(one), known, starts)))


def _covered(point: int, known: Ranges, starts: list[int]) -> bool:
    place = bisect_right(starts, point) - 1
    return place >= 0 and point <= known[place][1]


@lru_cache(maxsize=1)
def installed() -> Ranges | None:
    """The code points that the machine's fonts cover together; None where fontconfig does not answer."""
    try:
        done = subprocess.run(_ASK, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(done.stdout) if done.returncode == 0 else None


def parse(listed: str) -> Ranges:
    """Lines of ``:charset=20-7e a0`` (hexadecimal) to sorted ranges that do not overlap."""
    found = sorted(
        (int(low, 16), int(high or low, 16))
        for line in listed.splitlines()
        for low, _, high in (item.partition("-") for item in line.partition("charset=")[2].split())
    )
    merged: list[tuple[int, int]] = []
    for low, high in found:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)
