"""Memory that tensors have left behind is given back to the system."""

from __future__ import annotations

import ctypes


def give_back_freed() -> None:
    """Let the C library return what it keeps of freed memory.

    Tensors of ever other sizes leave holes, and without this a process on a CPU grows to several times what it needs.
    Elsewhere than with glibc nothing happens.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
