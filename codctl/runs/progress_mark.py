"""How far a run is, in things that no kill can take back. Stdlib only."""

from __future__ import annotations

from pathlib import Path

from codctl.runs.seal import COMPLETE

_CHECKPOINTS = "stages/cod_train/checkpoints"


def mark(run: Path) -> str:
    """Sealed stages, the newest checkpoint, and how much of suites was played, as one line.

    Two equal marks mean that nothing was won in between. Contents are not verified.
    """
    sealed = sorted(_name(path, run) for path in run.glob(f"stages/**/{COMPLETE}") if not _is_hidden(path, run))
    stages = [name for name in sealed if not name.startswith("cod_train/checkpoints/")]
    checkpoints = [path.parent.name for path in run.glob(f"{_CHECKPOINTS}/step-*/{COMPLETE}")]
    journals = [path.stat().st_size for path in run.glob("suites/*/journal.jsonl")]
    parts = [*stages]
    if checkpoints:
        parts.append(f"checkpoint {max(checkpoints)}")
    if journals:
        parts.append(f"{len(journals)} suites begun, {sum(journals)} bytes played")
    return ", ".join(parts) or "nothing yet"


def _name(path: Path, run: Path) -> str:
    return path.parent.relative_to(run / "stages").as_posix()


def _is_hidden(path: Path, run: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(run).parts)
