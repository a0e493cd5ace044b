"""Something that is ended at each of its writes in turn, and begun again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

_WRITES = ("open", "write", "fsync", "rename", "unlink", "mkdir", "rmdir")
_MOST = 200


class Killed(BaseException):
    """What ends a process at a call of the system."""


def crashes(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> Iterator[int]:
    """Run something again and again, each time ended one call of the system later, until it gets through."""
    for last in range(_MOST):
        left = [last]

        def ending(name: str, left: list[int] = left) -> Callable[..., object]:
            real = getattr(os, name)

            def call(*args: object, **kwargs: object) -> object:
                if not left[0]:
                    raise Killed
                left[0] -= 1
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in _WRITES:
                patch.setattr(os, name, ending(name))
            try:
                act()
                return
            except Killed:
                pass
        yield last
    raise AssertionError("it never gets through")
