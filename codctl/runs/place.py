"""Tells a run's folder from a copy of it. Stdlib only.

Some files name things that exist once: an MLflow run, jobs in a queue. They say in which folder they were written, so
that the copies in `cp -r runs/a runs/b` are not taken for b's own. A folder that was renamed or moved keeps them.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codctl.errors import CodctlError
from codctl.files import reader

_RUN, _SWEEP = "manifest.json", "sweep.json"


def of(folder: Path) -> dict[str, Any]:
    """What such a file says about the folder that it lies in."""
    return {"path": str(folder.resolve()), "inode": folder.stat().st_ino, "host": socket.gethostname()}


def is_copied(folder: Path, written: Any, *, everywhere: bool = True) -> bool:
    """Whether a file that says it was written at `written` came into `folder` by copying.

    Renaming keeps the inode. Another inode is a copy when the original can be seen, at its path or renamed beside this
    folder. When it cannot be seen it has probably been moved here from another disk, unless it may still lie on another
    machine.

    Args:
        folder: Of a run or a sweep.
        written: The value of `of` at the time; files of an older codctl have none.
        everywhere: What the file names can be reached from other machines too.
    """
    if not isinstance(written, Mapping):
        return _has_other_name(folder)
    path, here = Path(str(written.get("path"))), folder.resolve()
    with contextlib.suppress(OSError):
        if here.stat().st_ino == written.get("inode"):
            return False
    if path != here and _are_same(path, here):
        return True
    if _was_renamed(here, written.get("inode")):
        return True
    return everywhere and path != here and written.get("host") != socket.gethostname()


def is_at_home(folder: Path, written: Any) -> bool:
    """Whether a file was written in this very folder, perhaps before it was renamed.

    No sender of a folder knows the inode that it will have here, so this is false for whatever came from
    elsewhere; for a run that was moved here from another disk too.
    """
    return isinstance(written, Mapping) and folder.stat().st_ino == written.get("inode")


def made_as(folder: Path) -> str:
    """The name under which a run was made; empty when that cannot be read."""
    from codctl.files import records as files

    try:
        found = reader.read(folder / _RUN, files.Manifest)
    except CodctlError:
        return ""
    return found["name"] if found else ""


def _has_other_name(folder: Path) -> bool:
    name = made_as(folder)
    return bool(name) and name != folder.name and _are_same(folder.with_name(name), folder)


def _was_renamed(here: Path, inode: Any) -> bool:
    """Whether the original lies beside this folder under another name."""
    with contextlib.suppress(OSError):
        with os.scandir(here.parent) as entries:
            beside = [Path(entry.path) for entry in entries if entry.inode() == inode]
        return any(_are_same(path, here) for path in beside)
    return False


def _are_same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same run or sweep: what was written when it was made is the same."""
    return _birth(one) is not None and _birth(one) == _birth(other)


def _birth(folder: Path) -> tuple[str, ...] | None:
    """What was written when a run or sweep was made and never changes; None when that cannot be read."""
    from codctl.files import records as files

    with contextlib.suppress(CodctlError):
        for name in (_RUN, _SWEEP):
            if found := reader.read(folder / name, files.Birth, most_bytes=reader.LARGE):
                return found["created"], found.get("name", ""), found.get("digest", "")
    return None
