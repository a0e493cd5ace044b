"""Folders of a session of an agent program: fresh, and outside all that a person keeps.

Agent programs read notes and settings of every folder above the one that they work in, so a session does not work below
the folder of an evaluation, which may lie in somebody's repository.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from codctl.agents.program import Places
from codctl.files import atomic

_PREFIX = "codctl"
_LONGEST = 60  # characters
_ROOT = re.compile(rf"{_PREFIX}-(\d+)-\w+")


@contextlib.contextmanager
def fresh_places(kept: Path | None = None) -> Iterator[Places]:
    """Folders of one session, which are gone afterwards.

    Args:
        kept: Where home and work are moved to at the end, if they are to be kept.

    Raises:
        StageError: They cannot be made.
    """
    temporary = _temporary()
    with atomic.storage_errors(temporary):
        root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-", dir=temporary))
        places = places_in(root)
    try:
        yield places
        if kept:
            for place in (places.home, places.work):
                shutil.move(place, kept / place.name)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def places_in(root: Path) -> Places:
    """New folders of a session in a folder that is there."""
    places = Places(root / "home", root / "work", root / "temp")
    for place in (places.home, places.work, places.temp):
        place.mkdir(mode=0o700)
    return places


def _temporary() -> Path:
    """The temporary folder, unless the path of a socket in it would be too long (107 bytes on Linux)."""
    usual, short = Path(tempfile.gettempdir()), Path("/tmp")  # noqa: S108  what lies there has a name of its own
    return short if len(str(usual)) > _LONGEST and os.access(short, os.W_OK) else usual


def remove_left_behind() -> None:
    """Remove what processes that were killed could not."""
    for root in _temporary().glob(f"{_PREFIX}-*"):
        found = _ROOT.fullmatch(root.name)
        with contextlib.suppress(OSError):
            if found and not psutil.pid_exists(int(found[1])) and root.lstat().st_uid == os.getuid():
                shutil.rmtree(root, ignore_errors=True)


def renew(folder: Path) -> None:
    """Make a folder anew: what lies there is of an attempt that was broken off.

    Raises:
        StageError: It cannot be made.
    """
    with atomic.storage_errors(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
