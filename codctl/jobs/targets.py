"""What a user means by the names on a command line: runs, trials and sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codctl.config.names import nearest
from codctl.errors import UsageError
from codctl.runs.directory import RunDirectory, find_run, list_runs, list_sweeps


@dataclass(frozen=True)
class Targets:
    """Runs (trials among them) and the folders of sweeps."""

    runs: tuple[RunDirectory, ...]
    sweeps: tuple[Path, ...]


def find_targets(runs_dir: Path, names: Sequence[str]) -> Targets:
    """Look up every name.

    Raises:
        UsageError: There is no such run or sweep, or the name means both.
    """
    runs, sweeps = dict[Path, RunDirectory](), dict[Path, None]()
    for name in names:
        sweep = _sweep(runs_dir, name)
        if sweep is not None and (runs_dir / name / "manifest.json").is_file():
            raise UsageError(
                f"{name!r} names both a run and a sweep",
                where=str(runs_dir),
                hint=f"give the folder: {runs_dir / name} or {sweep}",
            )
        if sweep is not None:
            sweeps[sweep] = None
        else:
            run = _run(runs_dir, name)
            runs[run.path] = run
    return Targets(tuple(runs.values()), tuple(sweeps))


def _sweep(runs_dir: Path, name: str) -> Path | None:
    for path in (runs_dir / "sweeps" / name, runs_dir / name, Path(name)):
        if path.name and (path / "sweep.json").is_file():
            return path
    return None


def _run(runs_dir: Path, name: str) -> RunDirectory:
    try:
        return find_run(runs_dir, name)
    except UsageError as error:
        if (runs_dir / name / "manifest.json").exists() or "/" in name:
            raise
        near = nearest(
            name, [*(run.name for run in list_runs(runs_dir)), *(path.name for path in list_sweeps(runs_dir))]
        )
        hint = f"did you mean {near}?" if near else "`codctl status` lists runs and sweeps"
        raise UsageError(f"no run or sweep named {name!r}", where=str(runs_dir), hint=hint) from error
