"""Memory that is free is given back to the system."""

import ctypes
from typing import Final

M_MMAP_THRESHOLD: Final = -3  # of glibc's malloc.h
LARGE: Final = 1 << 20  # bytes: at least so large a block is a mapping of its own


def give_back_large_blocks() -> None:
    """Have each block of a megabyte or more go back to the system when it is freed.

    Else glibc takes the largest block that was ever freed for the measure (mallopt(3)), up to
    32 MB, and keeps what is smaller: after a round with a model of 16 MB that is 100 MB. Other C
    libraries do without, and have no mallopt().
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
