"""How far a run is, in things that no kill can take back. Stdlib only."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from codctl.files import reader
from codctl.files.seal import COMPLETE
from codctl.quantities import counted
from codctl.runs.layout import Layout

_JOURNALS = ("stages/evaluation/*/journal.jsonl", "suites/*/journal.jsonl")


def mark(run: Path) -> str:
    """Sealed stages, the newest checkpoint, and how much of suites was played, as one line.

    Two equal marks mean that nothing was won in between. Contents are not verified.
    """
    sealed = sorted(_name(path, run) for path in run.glob(f"stages/**/{COMPLETE}") if not _is_hidden(path, run))
    stages = [name for name in sealed if not name.startswith("cod_train/checkpoints/")]
    checkpoints = [path.parent.name for path in Layout(run).checkpoints.glob(f"step-*/{COMPLETE}")]
    played = sum(_played(path) for pattern in _JOURNALS for path in run.glob(pattern))
    parts = [*stages]
    if checkpoints:
        parts.append(f"checkpoint {max(checkpoints)}")
    if played:
        parts.append(f"{counted(played, 'trajectory')} of evaluations")
    return ", ".join(parts) or "the start"


def _played(journal: Path) -> int:
    """How many trajectories a journal holds; one that was played twice counts once."""
    units = set()
    for line in reader.lines(journal):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            units.add(json.dumps(reader.parse(line)["unit"]))
    return len(units)


def _name(path: Path, run: Path) -> str:
    return path.parent.relative_to(run / "stages").as_posix()


def _is_hidden(path: Path, run: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(run).parts)
