"""Returns the memory of a large request to the system when the request has ended."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as <malloc.h> has them
LARGE_BYTES = 2**20
SPARE_BYTES = 2**24  # kept for reuse at the heap's end; the default, 128 KiB, would be given back and fetched again


def give_back_large_blocks() -> None:
    """Have glibc map each large block separately, and unmap it once it is free. By default it learns from the first
    blocks of up to 32 MiB to cut them from its heap, which shrinks only to the last small block in use: then some large
    bodies cost hundreds of MiB for good. Other C libraries have neither this setting nor this habit."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, SPARE_BYTES)
