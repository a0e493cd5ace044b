"""codctl doctor: whether this machine, and the cluster behind it, can run codctl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, Overrides, RunsDir

if TYPE_CHECKING:
    from codctl.doctor.findings import Finding


def doctor(
    overrides: Overrides = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Look at SLURM too, also from a compute node.")] = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Check that this machine can run codctl.

    Looks at Python, torch, versions, disk and MLflow, and says what to type when something is wrong.

    With --slurm, `cluster=NAME` and `cluster.partition=NAME` choose where to look.
    """
    from codctl.doctor.machine import examine
    from codctl.errors import PreflightError

    found = [*examine(runs_dir), *(_slurm(runs_dir, overrides or []) if slurm else [])]
    lines = [_output.table(["", "what", "finding"], [[f.status, f.name, f.message] for f in found])]
    lines += [f"→ {f.name}: {f.command}" for f in found if f.command]
    value = {"ok": all(f.status != "failed" for f in found), "findings": [f.as_dict() for f in found]}
    _output.result("doctor", value, "\n".join(lines), as_json=as_json)
    if not value["ok"]:
        raise typer.Exit(PreflightError.exit_code)


def _slurm(runs_dir: Path, overrides: list[str]) -> list[Finding]:
    from codctl.config.compose import load_config
    from codctl.doctor.slurm import examine

    return examine(runs_dir, load_config("tiny", overrides).cluster)
