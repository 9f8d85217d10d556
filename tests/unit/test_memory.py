"""The settings of the allocator and the garbage collector, each in a process of its own: they cannot be undone."""

import subprocess
import sys
import textwrap


def said(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_threads_share_two_heaps() -> None:
    """Each thread holds memory of its own while the heaps are counted in glibc's own report."""
    arenas = said(
        """
        import ctypes, sys, threading
        from edge_agent.runtime.memory import calm_allocator
        libc = ctypes.CDLL(None)
        if not calm_allocator():
            print("no mallopt"); sys.exit()
        libc.malloc.restype = libc.open_memstream.restype = ctypes.c_void_p
        together = threading.Barrier(8)
        def hold():
            together.wait()
            libc.malloc(20_000)
            together.wait()
        threads = [threading.Thread(target=hold) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        text, size = ctypes.c_char_p(), ctypes.c_size_t()
        stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
        libc.malloc_info(0, stream)
        libc.fflush(stream)
        print(text.value.count(b"<heap nr"))
        """
    )
    assert arenas == "no mallopt" or int(arenas) <= 2


def test_what_is_loaded_is_left_out_of_collections() -> None:
    frozen = said(
        """
        import gc
        from edge_agent.runtime.memory import settle_garbage_collector
        settle_garbage_collector()
        print(gc.get_freeze_count(), len(gc.get_objects()))
        """
    )
    frozen_count, watched = map(int, frozen.split())
    assert frozen_count > 1_000 > watched
