"""What codctl remembers of a run or sweep and one tracker: `trackers/NAME.json` in its folder.

The key is written before anything is begun under it, so that what was begun is found again. The folder is written down
too: a copy of it gets a key of its own. What was sent is remembered so that no server is asked when all was;
losing that costs questions, never a number.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codctl.errors import UsageError
from codctl.files import atomic, lock, reader
from codctl.log import log
from codctl.runs import place

_FOLDER = "trackers"


@dataclass
class State:
    """Of one folder and one tracker.

    Attributes:
        folder: Of a run or a sweep.
        runs_dir: The runs folder.
        tracker: Its name in recipes.
        key: Unique, given to the tracker.
        memory: What the tracker wants to find again. With a `uri`, it can be reached from other machines.
        steps: Of each key the last step that was sent.
        evaluations: Of each place the stamp of the result that was sent.
        files: Of each file what it was like when it was sent.
        status: The last one that was sent.
        is_new: Nothing was ever sent under this key.
        was_moved: The folder had another name, or lay elsewhere, when this was written.
    """

    folder: Path
    runs_dir: Path
    tracker: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    memory: dict[str, str | None] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    evaluations: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    status: str = ""
    is_new: bool = True
    was_moved: bool = False

    def save(self) -> None:
        names = ("key", "memory", "steps", "evaluations", "files", "status")
        content = {"schema": 1, **{name: getattr(self, name) for name in names}}
        path = _path(self.folder, self.tracker)
        atomic.write_json(path, {**content, "place": place_of(self.folder, self.runs_dir)})
        self.was_moved = False

    def reload(self) -> None:
        """Take over what another process has written."""
        if found := load(self.folder, self.runs_dir, self.tracker):
            self.__dict__.update(found.__dict__)

    def renew(self) -> None:
        """Another key, under which nothing was sent."""
        self.key, self.is_new = uuid.uuid4().hex, True
        self.memory.clear()
        self.forget()
        self.save()

    def forget(self) -> None:
        """Nothing of what was sent is there."""
        for known in (self.steps, self.evaluations, self.files):
            known.clear()
        self.status = ""


def load(folder: Path, runs_dir: Path, tracker: str) -> State | None:
    """What is remembered; None when there is nothing, nothing that can be used, or what was copied here."""
    from codctl.files import records

    try:
        content = reader.read(folder / _FOLDER / f"{tracker}.json", records.TrackerState, within=folder)
    except UsageError as error:
        log.warning("%s (%s): all is sent to %s anew", error.message, error.where, tracker)
        content = None
    if content is None:
        return None
    written, is_local = content.get("place"), not content["memory"].get("uri")
    if place.is_copied(folder, _as_here(written, runs_dir, is_local=is_local), everywhere=not is_local):
        return None
    was_moved = written is None or written.get("inside") != _inside(folder, runs_dir)
    known = {name: value for name, value in content.items() if name not in ("schema", "place")}
    found = State(folder, runs_dir, tracker, is_new=False, was_moved=was_moved)
    found.__dict__.update(known)
    return found


def load_or_begin(folder: Path, runs_dir: Path, tracker: str) -> State:
    """What is remembered, or a new key, which is written down."""
    found = load(folder, runs_dir, tracker)
    if found is None:
        found = State(folder, runs_dir, tracker)
        found.save()
    return found


@contextlib.contextmanager
def sending(folder: Path, tracker: str, patience_s: float = 0.0) -> Iterator[bool]:
    """Be the only one who sends a folder to a tracker; yields False when another process does."""
    with lock.holding(_path(folder, tracker, ".lock"), patience_s) as is_alone:
        yield is_alone


def place_of(folder: Path, runs_dir: Path) -> dict[str, Any]:
    """Where a folder is, for a file in it or for a tracker to keep."""
    return {**place.of(folder), "inside": _inside(folder, runs_dir)}


def is_elsewhere(folder: Path, tag: str, runs_dir: Path, *, is_local: bool) -> bool:
    """Whether what a tracker keeps under this `place_of` was sent from another folder, of which this one may be a copy.

    Args:
        folder: Of a run or a sweep.
        tag: The tracker's, as JSON.
        runs_dir: The runs folder.
        is_local: The tracker lies in the runs folder, and is moved with it.
    """
    try:
        written = _as_here(json.loads(tag), runs_dir, is_local=is_local)
        path, inode = Path(written["path"]), written["inode"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return True
    if place.is_copied(folder, written, everywhere=not is_local):
        return True
    is_foreign = not is_local and written.get("host") != socket.gethostname()
    if is_foreign and not place.is_at_home(folder, written):  # the same path on another machine
        return True
    with contextlib.suppress(OSError):
        return bool(path != folder.resolve() and path.stat().st_ino == inode)
    return False


def _as_here(written: Any, runs_dir: Path, *, is_local: bool) -> Any:
    """Where it was written. What lies in the runs folder moves with it, and so do the paths below."""
    if is_local and isinstance(written, Mapping) and "inside" in written:
        return {**written, "path": str(runs_dir.resolve() / written["inside"])}
    return written


def _inside(folder: Path, runs_dir: Path) -> str:
    return os.path.relpath(folder.resolve(), runs_dir.resolve())


def _path(folder: Path, tracker: str, suffix: str = ".json") -> Path:
    path = folder / _FOLDER / f"{tracker}{suffix}"
    if path.parent.is_symlink():
        raise UsageError("it is a link, and links in a run are not followed", where=str(path.parent), hint="remove it")
    atomic.make_folder(path.parent)
    return path
