"""codctl credit: who got credit for what, and which hint was in force."""

from __future__ import annotations

from typing import Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, RunName, RunsDir


def credit(
    run: RunName,
    step: Annotated[
        int | None,
        typer.Option(
            "--step", metavar="N", autocompletion=complete.stored_steps, help="A stored step; the last by default."
        ),
    ] = None,
    pack: Annotated[str | None, typer.Option("--pack", metavar="PACK", help="One pack: its id or its number.")] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Show who got credit for what: a line for each pack, and the hints with the most and the least credit.

    With --pack every episode of it, by position and rollout. From the trajectories that the run stored.
    """
    from codctl.cli import _credit_text
    from codctl.runs.directory import find_run
    from codctl.train.rollout_store import read_credit

    found = find_run(runs_dir, run)
    table = read_credit(found.path, step=step, pack=pack)
    text = _credit_text.summary(table, run) if pack is None else _credit_text.in_full(table)
    _output.result("credit", table.as_dict(), text, as_json=as_json)
