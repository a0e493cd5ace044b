"""The code that a run was submitted with: a sealed copy of the package, so that a job that starts tomorrow runs it.

Copies lie under `<runs>/.code/<digest>` and are shared: a thousand trials of one sweep have one. Stdlib only.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import codctl
from codctl.runs import seal

_PACKAGE = Path(codctl.__file__).parent
_FOLDER = ".code"


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
    found = hashlib.sha256()
    for path in _files():
        found.update(f"{path.relative_to(_PACKAGE).as_posix()} {seal.sha256_of(path)}\n".encode())
    return found.hexdigest()[:16]


def snapshot(runs_dir: Path) -> Snapshot:
    """Copy the package as it is now, unless the same copy is there.

    Raises:
        StageError: It cannot be written.
    """
    found = find(runs_dir, digest())
    if not seal.is_sealed(found.path):
        with seal.sealing(found.path, {"version": codctl.__version__}) as temp:
            for path in _files():
                target = temp / _PACKAGE.name / path.relative_to(_PACKAGE)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    return found


def find(runs_dir: Path, wanted: str) -> Snapshot:
    """Where the copy with this digest lies, or would."""
    return Snapshot(wanted, (runs_dir / _FOLDER / wanted).absolute())


def _files() -> list[Path]:
    found = (path for path in _PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(found)
