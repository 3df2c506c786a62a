"""What the C library does with the memory of freed tensors on a CPU."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

M_MMAP_THRESHOLD = -3  # glibc's malloc.h
LARGE = 2 << 20


def give_back_large_tensors() -> None:
    """From now on, tensors of 2 MiB and more go back to the system as soon as they are freed, where that is glibc.

    Otherwise it keeps those of up to 32 MiB in its heap, whose holes rarely fit what comes next: a fifth of the peak of
    a training with checkpointing. The price is that the system clears each anew.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
