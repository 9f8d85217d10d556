"""How this process takes memory from the system, and when it looks for garbage. Both are set once, at the start."""

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3)."""
ARENAS = 2
TRIM_BYTES = 4 << 20


def calm_allocator() -> bool:
    """Keep glibc's heaps few, before threads make their own; False where the C library has no such thing.

    By default each of the agent's threads gets an arena, sixteen on two cores. An arena that a report or a burst of
    messages has stretched keeps its holes, and every thread's arena is stretched at some time: resident memory then
    creeps up for tens of thousands of parts although nothing is lost. Python's own objects do not come from there,
    and the image buffers of two threads do not queue up for two arenas. A fixed trim threshold keeps glibc from
    raising it to twice the largest buffer it ever freed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_ARENA_MAX, ARENAS)) and bool(mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES))


def settle_garbage_collector() -> None:
    """Take what has been loaded out of garbage collection: it stays until the end.

    A full collection stops all threads; over some 300,000 objects of imported libraries it takes 0.1 s and more, which
    a part on the line would wait for.
    """
    gc.collect()
    gc.freeze()


def give_back() -> bool:
    """Return the heaps' free pages to the system; False where the C library cannot.

    A few milliseconds, without the interpreter's lock. What a burst has stretched does not stay resident.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):
        return False
