"""What a runs folder holds and no run needs, and its removal. Stdlib only.

Nothing of a run that is in use is touched, nothing outside the runs folder, and no final model but that of a run which
`--fresh` moved aside: names that end in `.old-N` are reserved for those. While a run cannot be read, its code stays.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codctl.errors import RefusedError, UsageError
from codctl.files import atomic, lock
from codctl.files.seal import is_sealed
from codctl.processes import is_alive
from codctl.runs import code
from codctl.runs.directory import RunDirectory, list_runs, list_sweeps, trials_of

Kind = Literal["leftover", "code", "stage", "checkpoints", "old", "evaluation"]

_LEFTOVER = re.compile(r"\..+\.tmp-(?P<pid>\d+)-[0-9a-f]{8}")
_OLD = re.compile(r".+\.old-\d+")
_OF_A_RUN = ("manifest.json", "sweep.json", "journal.jsonl")  # one of them lies in whatever was moved aside
_FOREIGN = ("mlflow-artifacts", "wandb")  # of trackers


@dataclass(frozen=True)
class Piece:
    """Something that can go.

    Attributes:
        path: File or folder.
        kind: leftover of a killed writer, code snapshot that no run names, shared stage that no run has any more,
            checkpoints of a finished run, a run that was moved aside, or an evaluation.
        bytes: What it takes on disk.
        run: The run that must not be in use meanwhile.
    """

    path: Path
    kind: Kind
    bytes: int
    run: Path | None = None


@dataclass(frozen=True)
class Found:
    """What can go, and what was passed over and why."""

    pieces: tuple[Piece, ...]
    kept: tuple[str, ...]


def find(runs_dir: Path, *, checkpoints: bool = False, old: bool = False) -> Found:
    """Look for leftovers and unused code, and on request for more. Nothing is changed.

    Args:
        runs_dir: The runs folder.
        checkpoints: Also the checkpoints of finished runs whose final model is complete.
        old: Also what `--fresh` moved aside.
    """
    kept: list[str] = []
    candidates = [*_leftovers(runs_dir), *_unused_code(runs_dir), *_unused_stages(runs_dir)]
    if checkpoints:
        candidates += _checkpoints(runs_dir)
    if old:
        candidates += _moved_aside(runs_dir)
    outermost = {piece.path for piece in candidates}
    pieces = []
    for piece in candidates:
        if outermost & set(piece.path.parents):
            continue  # goes with the folder that it lies in
        if reason := _why_kept(piece, runs_dir):
            kept.append(f"{piece.path}: {reason}")
        else:
            pieces.append(piece)
    return Found(tuple(pieces), tuple(kept))


def remove(pieces: Iterable[Piece], runs_dir: Path) -> Iterator[tuple[Piece, str]]:
    """Delete one after the other. Yields each with why it was left alone, empty when it is gone.

    Raises:
        RefusedError: A path leads out of the runs folder.
    """
    for piece in pieces:
        if _leads_out(piece.path, runs_dir):
            raise RefusedError("outside the runs folder", where=str(piece.path), hint="delete it yourself if you want")
        try:
            with contextlib.ExitStack() as held:
                for path in _locks(piece):
                    held.enter_context(lock.RunLock(path))
                reason = _why_kept(piece, runs_dir, locked=True)
                if not reason:
                    _delete(piece.path)
        except RefusedError as error:
            reason = error.message
        yield piece, reason


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size if os.path.lexists(path) else 0
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).lstat().st_size
    return total


def _delete(path: Path) -> None:
    """Under a hidden name first: killed meanwhile, a leftover stays behind and no half of anything."""
    with atomic.storage_errors(path):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        hidden = path if _LEFTOVER.fullmatch(path.name) else atomic.temp_sibling(path)
        if hidden != path:
            path.rename(hidden)
        shutil.rmtree(hidden)


def _runs(runs_dir: Path) -> list[RunDirectory]:
    trials = (trial for sweep in list_sweeps(runs_dir) for trial in trials_of(sweep))
    return [*list_runs(runs_dir), *trials]


def _leftovers(runs_dir: Path) -> Iterator[Piece]:
    for folder, names, files in os.walk(runs_dir):
        here = Path(folder)
        found = [name for name in (*names, *files) if _LEFTOVER.fullmatch(name)]
        names[:] = [name for name in names if name not in found and not (here == runs_dir and name in _FOREIGN)]
        for name in sorted(found):
            yield Piece(here / name, "leftover", size_of(here / name), _owner(here, runs_dir))


def _owner(folder: Path, runs_dir: Path) -> Path | None:
    """The run, sweep or evaluation that a folder lies in."""
    for path in (folder, *folder.parents):
        if path == runs_dir:
            return None
        if (path / "lock").is_file():
            return path
    return None


def _unused_code(runs_dir: Path) -> Iterator[Piece]:
    runs = _runs(runs_dir)
    try:
        named = {attempt.get("code") for run in runs for attempt in run.attempts()}
        sent = [run.dispatch() for run in [*runs, *map(RunDirectory, list_sweeps(runs_dir))]]
    except UsageError:
        return  # which code it ran cannot be known
    named |= {one.get("code") for one in sent if one}
    home = runs_dir / code.find(runs_dir, "x").path.relative_to(runs_dir.absolute()).parent
    for path in sorted(home.glob("[!.]*")):
        if path.is_dir() and path.name not in named:
            yield Piece(path, "code", size_of(path), home)


def _unused_stages(runs_dir: Path) -> Iterator[Piece]:
    """Shared results whose files have no second link; on a disk without hard links that is all of them."""
    for path in sorted(runs_dir.glob(".stages/[!.]*")):
        if path.is_dir() and all(file.stat().st_nlink == 1 for file in path.rglob("*") if file.is_file()):
            yield Piece(path, "stage", size_of(path))


def _checkpoints(runs_dir: Path) -> Iterator[Piece]:
    for run in _runs(runs_dir):
        folder = run.checkpoints
        if folder.is_dir() and not _OLD.fullmatch(run.name) and _is_finished(run):
            yield Piece(folder, "checkpoints", size_of(folder), run.path)


def _is_finished(run: RunDirectory) -> bool:
    with contextlib.suppress(UsageError):
        return run.status() == "finished"
    return False


def _moved_aside(runs_dir: Path) -> Iterator[Piece]:
    for pattern in ("*", "sweeps/*", "sweeps/*/trials/*", "evaluations/*"):
        for path in sorted(runs_dir.glob(pattern)):
            if _OLD.fullmatch(path.name) and any((path / name).is_file() for name in _OF_A_RUN):
                yield Piece(path, "old", size_of(path), path)


def _why_kept(piece: Piece, runs_dir: Path, *, locked: bool = False) -> str:
    if _leads_out(piece.path, runs_dir):
        return "a link leads out of the runs folder"
    if not locked and any(lock.is_locked(path) for path in _locks(piece)):
        return "in use"
    if piece.kind == "leftover" and piece.run is None and _is_written(piece.path.name):
        return "another process is writing it"
    if piece.kind == "code" and code.is_used(piece.path):
        return "in use"
    if piece.kind == "checkpoints":
        return _why_needed(piece, verify=locked)
    return ""


def _why_needed(piece: Piece, *, verify: bool) -> str:
    run = RunDirectory(piece.run) if piece.run else None
    if run is None or not _is_finished(run):
        return "the run is not finished"
    if not is_sealed(run.final_model, verify=verify):
        return "the run has no complete final model"
    return ""


def _locks(piece: Piece) -> list[Path]:
    """The locks of a run, or of a sweep with all its trials."""
    if piece.run is None:
        return []
    found = [piece.run / "lock", *sorted(piece.run.glob("trials/*/lock"))]
    return [path for path in found if path.is_file()]


def _leads_out(path: Path, runs_dir: Path) -> bool:
    root = runs_dir.resolve()
    try:
        inside = path.absolute().relative_to(runs_dir.absolute())
    except ValueError:
        return True
    # Its own name may be a link (that alone is removed); the way to it may not.
    return inside.parts == () or ".." in inside.parts or path.parent.resolve() != (root / inside).parent


def _is_written(name: str) -> bool:
    match = _LEFTOVER.fullmatch(name)
    return match is not None and is_alive(int(match["pid"]))
