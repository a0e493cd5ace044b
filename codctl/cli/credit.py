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
    """Show reward, advantage and hint of each episode.

    By pack, position and rollout, from the trajectories that the run stored.
    """
    from codctl.cod.ledger import read_ledger
    from codctl.runs.directory import find_run

    ledger = read_ledger(find_run(runs_dir, run).path, step=step, pack=pack)
    headers = ["pos", "kind", "rollout", "reward", "return", "baseline", "advantage", "hint"]
    blocks = [f"step {ledger.step}"]
    for name in ledger.packs:
        rows = [
            [e.position, e.kind, e.rollout, e.reward, e.episode_return, e.baseline, e.advantage, e.hint]
            for e in ledger.entries
            if e.pack == name
        ]
        if rows:
            blocks.append(f"pack {name}\n{_output.table(headers, rows, cut_last=True)}")
    _output.result("credit", ledger.as_dict(), "\n\n".join(blocks), as_json=as_json)
