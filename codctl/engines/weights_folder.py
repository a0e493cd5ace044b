"""The folder through which weights reach the engines of a node: in memory, closed to other users."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

from codctl.config.schema import EngineConfig
from codctl.errors import PreflightError
from codctl.files import lock
from codctl.seeds import text_digest

_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of one's own below it, closed to others
OWNER = "owner"  # file beside the weights: host and run


def place_of(engine: EngineConfig, run: Path, node: int = 0) -> Path:
    """Where a run hands weights over: in memory, where there is such a folder. The same for each attempt at the run."""
    chosen = Path(engine.weights_dir).expanduser() if engine.weights_dir else _MEMORY
    root = chosen if engine.weights_dir or os.access(chosen, os.W_OK) else run
    return root / f"codctl-{os.getuid()}-{text_digest(str(run.resolve()))}{f'-{node}' if node else ''}"


def make(root: Path, run: Path) -> None:
    """Make the folder, closed to other users, with the name of the run that it belongs to.

    Raises:
        PreflightError: There is one that belongs to somebody else.
    """
    _make_private(root)
    owner = f"{socket.gethostname()}\n{run.resolve()}"
    (root / OWNER).write_text(owner, encoding="utf-8", errors="surrogateescape")


def remove_abandoned(memory: Path = _MEMORY) -> None:
    """Delete the weights that runs of this user have left in memory: killed, and not continued since."""
    for root in memory.glob(f"codctl-{os.getuid()}-*"):
        with contextlib.suppress(OSError):  # another user's, or of no run that is known
            host, _, run = (root / OWNER).read_text(encoding="utf-8", errors="surrogateescape").partition("\n")
            # Containers may share this memory, and not the disk that the run is on.
            is_here = host == socket.gethostname() and root.stat().st_uid == os.getuid()
            # The run's lock is held on its first node; on others, a process that has weights here shares this file.
            is_used = lock.is_locked(Path(run) / "lock") or lock.is_locked(root / OWNER, shared=True)
            if is_here and not is_used:
                shutil.rmtree(root, ignore_errors=True)


def _make_private(folder: Path) -> None:
    """Make a folder that no other user may read or write.

    Raises:
        PreflightError: There is one that belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PreflightError(
            "the folder for weights belongs to another user", where=str(folder), hint="engine.weights_dir=FOLDER"
        )
