"""The request to stop a run, left beside it as a file: it reaches a worker on any machine. Stdlib only.

`cancel` comes from a person and holds until the run is resumed; `pause` comes from a scheduler that will start it
again. A worker looks between two steps and saves a checkpoint first.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codctl.errors import UsageError
from codctl.files import atomic, reader
from codctl.runs import manifest
from codctl.runs.signals import named

Kind = Literal["cancel", "pause"]

PAUSED = 75  # exit status of a worker: "try again later" in sysexits.h
CANCELLED = 130
_FILE = "stop.json"


class Stopped(SystemExit):
    """A request to stop was found. A SystemExit, so that nothing on the way mistakes it for a failure.

    Attributes:
        outcome: How an attempt that it ends is recorded.
        message: The same in words.
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__(CANCELLED if kind == "cancel" else PAUSED)
        self.outcome = self.message = "cancelled" if kind == "cancel" else "paused"


class Signalled(Stopped):
    """A signal has ended the attempt after what was learned had been saved."""

    def __init__(self, number: int) -> None:
        SystemExit.__init__(self, 128 + number)
        self.outcome, self.message = "interrupted", f"interrupted by {named(number)}, after saving"


@dataclass(frozen=True)
class Request:
    """What stop.json says.

    Attributes:
        kind: cancel or pause.
        after_attempt: Attempts that there were when it was written.
        by: Who asked.
        at: When.
    """

    kind: Kind
    after_attempt: int = 0
    by: str = ""
    at: str = ""


def write(folder: Path, kind: Kind, *, after_attempt: int = 0, by: str = "") -> None:
    """Ask a run or sweep to stop. A person's request is never weakened by a scheduler's."""
    found = read(folder)
    if kind == "pause" and found is not None and found.kind == "cancel":
        return
    by = by or f"process {os.getpid()} on {socket.gethostname()}"
    atomic.write_json(folder / _FILE, {"kind": kind, "at": manifest.now(), "by": by, "after_attempt": after_attempt})


def read(folder: Path) -> Request | None:
    """The request, if there is one. A file that says nothing readable counts as a person's."""
    from codctl.files import records as files

    try:
        found = reader.read(folder / _FILE, files.Stop)
    except UsageError as error:
        # A network file system that has to think is asked again in a moment.
        return None if isinstance(error.__cause__, OSError) else Request("cancel")
    return Request(found["kind"], found["after_attempt"], found["by"], found["at"]) if found else None


def clear(folder: Path) -> None:
    """Forget the request: the run goes on."""
    with atomic.storage_errors(folder / _FILE):
        (folder / _FILE).unlink(missing_ok=True)
