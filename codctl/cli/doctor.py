"""codctl doctor: whether this machine can run codctl."""

from __future__ import annotations

import typer

from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, RunsDir


def doctor(runs_dir: RunsDir = RUNS_DIR, as_json: Json = False) -> None:
    """Look at Python, torch, versions, disk and MLflow; say what to type when something is wrong."""
    from codctl.errors import PreflightError
    from codctl.stages.doctor import examine

    found = examine(runs_dir)
    lines = [_output.table(["", "what", "finding"], [[f.status, f.name, f.message] for f in found])]
    lines += [f"{f.name}: {f.command}" for f in found if f.command]
    value = {"ok": all(f.status != "failed" for f in found), "findings": [f.as_dict() for f in found]}
    _output.result("doctor", value, "\n".join(lines), as_json=as_json)
    if not value["ok"]:
        raise typer.Exit(PreflightError.exit_code)
