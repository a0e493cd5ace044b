"""The code that a run was submitted with: a sealed copy of the package, so that a job that starts tomorrow runs it.

Copies lie under `<runs>/.code/<digest>` and are shared: a thousand trials of one sweep have one. A runs folder may come
from anybody, so a copy is run only when its files hash to its name and nothing else lies beside them. Stdlib only.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import codctl
from codctl.errors import RefusedError
from codctl.files import atomic, lock, reader, seal

_PACKAGE = Path(codctl.__file__).parent
_FOLDER = ".code"
_COPY_S = 60.0


@dataclass(frozen=True)
class Snapshot:
    """A copy of the package.

    Attributes:
        digest: Of every file's name and content, 16 hex digits.
        path: What belongs on PYTHONPATH.
    """

    digest: str
    path: Path


@cache
def digest() -> str:
    """The digest of the package that runs now."""
    return _digest(_PACKAGE)


def snapshot(runs_dir: Path, *, durable: bool = True) -> Snapshot:
    """Copy the package as it is now, unless the same copy is there.

    Args:
        runs_dir: Where runs live.
        durable: Survive a power cut now; what needs the copy only while it runs itself may do without.

    Raises:
        StageError: It cannot be written.
        RefusedError: The package was edited meanwhile, or another launcher never ends its copy.
    """
    found = find(runs_dir, digest())
    if not why_not_usable(found):
        return found
    with atomic.storage_errors(found.path):
        found.path.parent.mkdir(parents=True, exist_ok=True)
    with lock.RunLock(found.path.parent / "lock", _COPY_S):
        if why_not_usable(found):
            about: dict[str, Any] = {"version": codctl.__version__}
            with seal.sealing(found.path, about, durable=durable) as temp:
                about["inode"] = temp.stat().st_ino
                _copy(temp / _PACKAGE.name)
    return found


def why_not_usable(snapshot: Snapshot) -> str:
    """What speaks against running a copy of the package; empty when nothing does.

    Bytecode in a copy that was not made here is removed: Python would run it without a look at the source.
    """
    from codctl.files.records import DIGEST

    if not re.fullmatch(DIGEST, snapshot.digest, re.ASCII):
        return "its name is not a digest of 16 hex digits"
    if problem := seal.why_not_sealed(snapshot.path, verify=False):
        return problem
    if link := reader.first_link(snapshot.path):
        return f"{link.relative_to(snapshot.path)} is a link"
    if beside := sorted({path.name for path in snapshot.path.iterdir()} - {_PACKAGE.name, seal.COMPLETE}):
        return f"it holds more than the package: {beside[0]}"
    if _digest(snapshot.path / _PACKAGE.name) != snapshot.digest:
        return "its files are not those that its name stands for"
    if seal.read_info(snapshot.path).get("inode") != snapshot.path.stat().st_ino:
        for folder in snapshot.path.rglob("__pycache__"):
            shutil.rmtree(folder, ignore_errors=True)
    return ""


def fix(runs_dir: Path) -> None:
    """From now on, import from a snapshot and start other processes with it: the checkout may be edited.

    A module that is imported only at the end of a long run is then of the same code as those from its start. Call
    `digest` when the process begins, so that edits since then are noticed here.

    Raises:
        StageError: The snapshot cannot be written.
        RefusedError: The package was edited since `digest` was called.
    """
    found = snapshot(runs_dir, durable=False)
    lock.share(found.path / seal.COMPLETE)
    package = found.path / _PACKAGE.name
    if _digest(_PACKAGE) != digest():
        raise _edited()
    for name, module in sys.modules.items():
        if _is_own_package(name, module):
            module.__path__ = [str(package.joinpath(*name.split(".")[1:]))]
    codctl.__file__ = str(package / "__init__.py")


def is_used(snapshot: Path) -> bool:
    """Whether a process imports from a copy."""
    return lock.is_locked(snapshot / seal.COMPLETE, shared=True)


def _is_own_package(name: str, module: object) -> bool:
    return name.partition(".")[0] == _PACKAGE.name and hasattr(module, "__path__")


def _edited() -> RefusedError:
    return RefusedError("codctl's own files were edited since it started", where=str(_PACKAGE), hint="try again")


def _copy(target: Path) -> None:
    for path in _files(_PACKAGE):
        place = target / path.relative_to(_PACKAGE)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    if _digest(target) != digest():
        raise _edited()


def find(runs_dir: Path, wanted: str) -> Snapshot:
    """Where the copy with this digest lies, or would."""
    return Snapshot(wanted, (runs_dir / _FOLDER / wanted).absolute())


def _digest(package: Path) -> str:
    found = hashlib.sha256()
    for path in _files(package):
        found.update(f"{path.relative_to(package).as_posix()} {seal.sha256_of(path)}\n".encode())
    return found.hexdigest()[:16]


def _files(package: Path) -> list[Path]:
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(found)
