"""codctl credit: who got credit for what, and which hint was in force."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, RunName, RunsDir
from codctl.quantities import counted, difference, position, share

if TYPE_CHECKING:
    from codctl.train.rollout_store import CreditRow, CreditTable

_FEW = 3  # hints at either end


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
    from codctl.runs.directory import find_run
    from codctl.train.rollout_store import read_credit

    found = find_run(runs_dir, run)
    table = read_credit(found.path, step=step, pack=pack)
    text = summary(table, run) if pack is None else in_full(table)
    _output.result("credit", table.as_dict(), text, as_json=as_json)


def summary(table: CreditTable, run: str) -> str:
    """A line for each pack, then the hints that paid most and least."""
    rows = [_pack(name, [row for row in table.rows if row.pack == name]) for name in table.packs]
    headers = ["pack", "rollouts", "reward by position", "mean", "mean |advantage|"]
    blocks = [f"step {table.step}, {counted(len(rows), 'pack')}", _output.table(headers, rows)]
    updates = [row for row in table.rows if row.kind == "update"]
    updates.sort(key=lambda row: -row.credit.advantage)
    few = min(_FEW, len(updates) // 2)
    if few:
        blocks.append(f"hints with the most credit\n{_hints(updates[:few])}")
        blocks.append(f"hints with the least credit\n{_hints(updates[: -few - 1 : -1])}")
    one = table.packs[0].rpartition("/")[2]
    blocks.append(f"one pack in full: codctl credit {run} --step {table.step} --pack {one}")
    return "\n\n".join(blocks)


def in_full(table: CreditTable) -> str:
    """Every episode of the packs that were asked for."""
    headers = ["position", "kind", "rollout", "reward", "return", "baseline", "advantage", "hint"]
    blocks = [f"step {table.step}"]
    for name in table.packs:
        rows = [_episode(row) for row in table.rows if row.pack == name]
        if rows:
            blocks.append(f"pack {name}\n{_output.table(headers, rows, cut_last=True)}")
    return "\n\n".join(blocks)


def _pack(name: str, rows: Sequence[CreditRow]) -> list[object]:
    solves = [row for row in rows if row.kind == "solve"]
    places = sorted({row.position for row in solves})
    curve = "\xa0".join(share(_mean(row.reward for row in solves if row.position == place)) for place in places)
    signal = share(_mean(abs(row.credit.advantage) for row in rows))
    rollouts = len({row.rollout for row in solves})
    return [name, rollouts, curve, share(_mean(row.reward for row in solves)), signal]


def _hints(rows: Sequence[CreditRow]) -> str:
    cells = [
        [row.pack, position(row.position), row.rollout, difference(row.credit.advantage), _readable(row.hint)]
        for row in rows
    ]
    return _output.table(["pack", "after position", "rollout", "advantage", "hint"], cells, cut_last=True)


def _episode(row: CreditRow) -> list[object]:
    credit = row.credit
    numbers = [share(value) for value in (row.reward, credit.return_, credit.baseline)]
    return [position(row.position), row.kind, row.rollout, *numbers, difference(credit.advantage), _readable(row.hint)]


def _readable(text: str) -> str:
    """Tokens of a bad model need not be text: say so rather than print replacement characters."""
    return re.sub("\N{REPLACEMENT CHARACTER}+", lambda found: f"<{len(found[0])} undecodable>", text)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else float("nan")
