"""Sealed folders: a folder counts only when its COMPLETE.json, written last, matches what lies beside it.

Everything is written into a hidden sibling, fsynced, listed with sizes and hashes in COMPLETE.json, and renamed. A
process killed anywhere leaves either nothing or a hidden leftover, and a file damaged later is noticed. Stdlib only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from codctl.errors import StageError
from codctl.files import atomic, reader

if TYPE_CHECKING:
    from codctl.files.records import Complete, SealedFile

COMPLETE = "COMPLETE.json"
_NO_INFO: Mapping[str, Any] = MappingProxyType({})


@contextlib.contextmanager
def sealing(
    final: Path,
    info: Mapping[str, Any] = _NO_INFO,
    hashes: Mapping[str, str] = MappingProxyType({}),
    *,
    durable: bool = True,
) -> Iterator[Path]:
    """Yield an empty temp folder; on a normal exit it becomes `final`, sealed. On an exception it is removed.

    An older `final` is replaced. One writer at a time, as with every file of a run.

    Args:
        final: Where the sealed folder will be.
        info: What COMPLETE.json should say beside the file list (`read_info` gives it back).
        hashes: Of files that were hashed already, by their paths in the folder; to be filled within the block. Where
            several processes write large files, each can hash its own.
        durable: Survive a power cut now.

    Raises:
        StageError: Disk full, no permission and the like, also when raised by a library inside the block.
    """
    with atomic.storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        atomic.remove_leftovers_of(final)
        temp = atomic.temp_sibling(final)
        temp.mkdir()
        try:
            yield temp
            if durable:
                atomic.fsync_tree(temp)
            atomic.follow_umask(temp)
            names = [path.relative_to(temp).as_posix() for path in sorted(temp.rglob("*")) if path.is_file()]
            _write_complete(temp, info, hashes, names, durable=durable)
            _move_into_place(temp, final)
            if durable:
                atomic.fsync_folder(final.parent)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise


def seal_in_place(folder: Path, names: Sequence[str], info: Mapping[str, Any] = _NO_INFO) -> None:
    """Seal files of a folder where they are; what else lies there (a lock, a log) is not covered.

    Raises:
        StageError: COMPLETE.json cannot be written.
    """
    with atomic.storage_errors(folder):
        _write_complete(folder, info, {}, names, durable=True)


def is_sealed(path: Path, *, verify: bool = False) -> bool:
    """Whether the folder is complete by names and sizes; with `verify` also by content."""
    return why_not_sealed(path, verify=verify) == ""


def is_whole(path: Path, say: Callable[[str], None]) -> bool:
    """Whether the folder is sealed, also by content. One that is there and damaged is said: it will be made again."""
    problem = why_not_sealed(path) if path.exists() else "no such folder"
    if problem and path.exists():
        say(f"{path.name} is damaged and will be made again: {problem}")
    return not problem


def why_not_sealed(path: Path, *, verify: bool = True) -> str:
    """Say what is wrong with a folder that should be sealed; empty when nothing is."""
    if not path.is_dir():
        return "no such folder"
    try:
        complete = _read_complete(path)
        for entry in complete["files"]:
            if problem := _file_problem(path, entry, verify=verify):
                return problem
    except FileNotFoundError:
        return f"missing {COMPLETE}"
    except (OSError, ValueError) as error:
        return f"{COMPLETE} cannot be read: {error}"
    return ""


def read_info(path: Path) -> dict[str, Any]:
    """The `info` a folder was sealed with.

    Raises:
        StageError: The folder is not sealed.
    """
    if problem := why_not_sealed(path, verify=False):
        raise StageError(f"not a complete folder: {problem}", where=str(path))
    return {**_read_complete(path)["info"]}


def read_hashes(path: Path) -> dict[str, str]:
    """SHA-256 of each file of a sealed folder, as it was sealed.

    Raises:
        StageError: The folder is not sealed.
    """
    if problem := why_not_sealed(path, verify=False):
        raise StageError(f"not a complete folder: {problem}", where=str(path))
    return {entry["path"]: entry["sha256"] for entry in _read_complete(path)["files"]}


def newest_sealed(parent: Path, pattern: str = "step-*") -> tuple[Path | None, list[str]]:
    """The last folder by name whose content verifies, and why newer ones were passed over.

    Names must sort by age (`step-000010`), which the fixed number of digits gives.
    """
    skipped: list[str] = []
    for candidate in sorted(parent.glob(pattern), reverse=True):
        problem = why_not_sealed(candidate)
        if not problem:
            return candidate, skipped
        skipped.append(f"{candidate.name}: {problem}")
    return None, skipped


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_complete(
    folder: Path, info: Mapping[str, Any], hashes: Mapping[str, str], names: Sequence[str], *, durable: bool
) -> None:
    files = []
    for name in names:
        path = folder / name
        files.append({"path": name, "size": path.stat().st_size, "sha256": hashes.get(name) or sha256_of(path)})
    body = {"schema": 1, "info": atomic.without_nan(dict(info)), "files": files}
    atomic.write_json(folder / COMPLETE, {**body, "sha256": _digest(body)}, durable=durable)


def _move_into_place(temp: Path, final: Path) -> None:
    if final.exists():
        # A folder cannot replace a full one in one step. Killed between the renames, readers find nothing here and
        # fall back, as they do for any incomplete folder.
        outgoing = atomic.temp_sibling(final)
        final.rename(outgoing)
        temp.rename(final)
        shutil.rmtree(outgoing, ignore_errors=True)
    else:
        temp.rename(final)


def _read_complete(folder: Path) -> Complete:
    from codctl.files import records as files

    content = reader.parse(reader.read_bytes(folder / COMPLETE, most_bytes=reader.LARGE))
    complete = reader.check(content, files.Complete)
    if complete["sha256"] != _digest({key: value for key, value in content.items() if key != "sha256"}):
        raise reader.UnfitError("its own hash does not match")
    return complete


def _file_problem(folder: Path, entry: SealedFile, *, verify: bool) -> str:
    path = folder / entry["path"]
    try:
        reader.refuse_links(path, folder)
    except reader.UnfitError as error:
        return f"{entry['path']}: {error}"
    if not path.is_file():
        return f"{entry['path']}: missing"
    size = path.stat().st_size
    if size != entry["size"]:
        return f"{entry['path']}: {size} bytes, expected {entry['size']}"
    if verify and sha256_of(path) != entry["sha256"]:
        return f"{entry['path']}: content differs from what was sealed"
    return ""


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
