"""Write a file whole or not at all: temp file in the same folder, fsync, rename, fsync the folder.

A reader therefore sees the old content or the new, also after a power cut. The price is a second copy on disk while
writing and two fsyncs, so this is for state, not for logs. Stdlib only.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from codctl.errors import CodctlError, PreflightError, StageError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is too big",
}
_FORBIDDEN = {
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
    errno.EROFS: "the disk is read-only",
}
_guards: dict[Path, Callable[[], None]] = {}  # lock file → raises when its folder is another one now
_MISPLACED = {
    errno.ENOTDIR: "part of the path is a file",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "it is a link",
}


def temp_sibling(path: Path) -> Path:
    """A fresh hidden name in the same folder; `remove_leftovers` recognises it."""
    return path.parent / f".{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"


def remove_leftovers(folder: Path) -> None:
    """Delete the temp files and folders that killed processes left anywhere below `folder`."""
    _remove(folder.rglob(".*.tmp-*"))


def remove_leftovers_of(path: Path) -> None:
    """Delete what killed processes left of writing this one file or folder."""
    _remove(path.parent.glob(f".{path.name}.tmp-*"))


def _remove(found: Iterator[Path]) -> None:
    for path in list(found):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o666) -> None:
    """Replace `path` by `data`, whole or not at all.

    Args:
        path: The file.
        data: Its new content.
        durable: Survive a power cut, not only a kill.
        mode: Of the new file, less the umask.

    Raises:
        StageError: Disk full, no permission and the like. No temp file stays behind and the old content is untouched.
    """
    temp = temp_sibling(path)
    with storage_errors(path):
        try:
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            try:
                _write_all(descriptor, data)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temp.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temp.unlink()
            raise
        if durable:
            fsync_folder(path.parent)


def write_text(path: Path, text: str, *, durable: bool = True, mode: int = 0o666) -> None:
    # A lone surrogate (possible in model output) becomes "?" rather than ending a run.
    write_bytes(path, text.encode("utf-8", "replace"), durable=durable, mode=mode)


def write_json(path: Path, value: Any, *, durable: bool = True, mode: int = 0o666) -> None:
    """Write indented, strict JSON; NaN and infinities become null."""
    text = json.dumps(without_nan(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, durable=durable, mode=mode)


def without_nan(value: Any) -> Any:
    """The same JSON value with null for every float that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return value


def follow_umask(folder: Path) -> None:
    """Give every file below a folder the mode of a new file there.

    safetensors writes for this user alone; on a shared disk others could then list a run and not load its model.
    """
    probe = temp_sibling(folder / "mode")
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        probe.unlink()
    for path in folder.rglob("*"):
        about = path.lstat()
        if stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and stat.S_IMODE(about.st_mode) != mode:
            path.chmod(mode)


def fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


fsync_folder = fsync_file  # a folder is fsynced the same way: its entries become durable


def fsync_tree(folder: Path) -> None:
    """Make everything below a folder durable, and the folder itself."""
    for path in folder.rglob("*"):
        fsync_file(path)
    fsync_folder(folder)


def guard(lock: Path, check: Callable[[], None]) -> None:
    """Call `check` before every write into the folder of a lock file, so that nothing is written into another one.

    Args:
        lock: The lock file.
        check: Raises when the folder is no longer the one that was locked.
    """
    _guards[lock] = check


def unguard(lock: Path) -> None:
    _guards.pop(lock, None)


@contextlib.contextmanager
def storage_errors(path: Path, kind: type[CodctlError] = StageError) -> Iterator[None]:
    """Turn the operating system's refusals to write into one message with a place and a way out."""
    for lock, check in list(_guards.items()):
        if path.is_relative_to(lock.parent):
            check()
    try:
        yield
    except Exception as error:
        explained = explain(error, path, kind)
        if explained is None:
            raise
        raise explained from error


def explain(error: Exception, path: Path, kind: type[CodctlError] = StageError) -> CodctlError | None:
    """The user's version of a failed write, or None when it is not about storage, or explained already."""
    if isinstance(error, CodctlError):
        return None
    code = _errno(error)
    if what := _FULL.get(code) or _full_below(error):
        return kind(f"cannot write: {what}", where=str(path), hint="free some space and run the same command again")
    if code in _FORBIDDEN:
        return kind(
            f"cannot write: {_FORBIDDEN[code]}",
            where=str(path),
            hint="choose a folder that you own with --runs-dir DIR, or change its permissions",
        )
    if code in _MISPLACED or isinstance(error, FileExistsError):
        what = _MISPLACED.get(code, "a file stands where a folder is needed")
        return kind(f"cannot write: {what}", where=str(path), hint="choose another folder with --runs-dir DIR")
    return None


def _errno(error: BaseException) -> int:
    """The system's number of a failure, 0 when there is none; safetensors has it in the text of a class of its own."""
    if isinstance(error, OSError):
        return error.errno or 0
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else 0


def _full_below(error: BaseException) -> str:
    """What of this kind an error came from: torch reports a full disk as an unexpected position in the file."""
    while (below := error.__cause__ or error.__context__) is not None:
        if what := _FULL.get(_errno(below)):
            return what
        error = below
    return ""


def make_folder(path: Path) -> Path:
    """Create a folder that a run needs, with parents.

    Raises:
        PreflightError: It cannot be created.
    """
    with storage_errors(path, PreflightError):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
