"""Memory that tensors have left behind is given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any


def give_back_freed() -> None:
    """Let the C library return what it keeps of freed memory.

    Tensors of ever other sizes leave holes, and without this a process on a CPU grows to several times what it needs.
    Elsewhere than with glibc nothing happens.
    """
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], Any] | None:
    """Loaded once: each `CDLL` is a class and objects that refer to each other."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
