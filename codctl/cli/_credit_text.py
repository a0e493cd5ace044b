"""The credit of a stored step in words: all packs in one table, the best and worst hints, or one pack in full."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from codctl.cli import _output
from codctl.quantities import counted, difference, position, share
from codctl.train.ledger import Entry, Ledger

_FEW = 3  # hints at either end


def summary(ledger: Ledger, run: str) -> str:
    """A line for each pack, then the hints that paid most and least."""
    rows = [_pack(name, [entry for entry in ledger.entries if entry.pack == name]) for name in ledger.packs]
    headers = ["pack", "rollouts", "reward by position", "mean", "mean |advantage|"]
    blocks = [f"step {ledger.step}, {counted(len(rows), 'pack')}", _output.table(headers, rows)]
    updates = [entry for entry in ledger.entries if entry.kind == "update" and entry.advantage is not None]
    updates.sort(key=lambda entry: -(entry.advantage or 0.0))
    few = min(_FEW, len(updates) // 2)
    if few:
        blocks.append(f"hints with the most credit\n{_hints(updates[:few])}")
        blocks.append(f"hints with the least credit\n{_hints(updates[: -few - 1 : -1])}")
    one = ledger.packs[0].rpartition("/")[2]
    blocks.append(f"one pack in full: codctl credit {run} --step {ledger.step} --pack {one}")
    return "\n\n".join(blocks)


def in_full(ledger: Ledger) -> str:
    """Every episode of the packs that were asked for."""
    headers = ["position", "kind", "rollout", "reward", "return", "baseline", "advantage", "hint"]
    blocks = [f"step {ledger.step}"]
    for name in ledger.packs:
        rows = [_episode(entry) for entry in ledger.entries if entry.pack == name]
        if rows:
            blocks.append(f"pack {name}\n{_output.table(headers, rows, cut_last=True)}")
    return "\n\n".join(blocks)


def _pack(name: str, entries: Sequence[Entry]) -> list[object]:
    solves = [entry for entry in entries if entry.kind == "solve"]
    places = sorted({entry.position for entry in solves})
    curve = "\xa0".join(share(_mean(e.reward for e in solves if e.position == place)) for place in places)
    credited = [abs(entry.advantage) for entry in entries if entry.advantage is not None]
    signal = share(_mean(credited)) if credited else None
    rollouts = len({entry.rollout for entry in solves})
    return [name, rollouts, curve, share(_mean(entry.reward for entry in solves)), signal]


def _hints(entries: Sequence[Entry]) -> str:
    rows = [
        [entry.pack, position(entry.position), entry.rollout, difference(entry.advantage or 0.0), _readable(entry.hint)]
        for entry in entries
    ]
    return _output.table(["pack", "after position", "rollout", "advantage", "hint"], rows, cut_last=True)


def _episode(entry: Entry) -> list[object]:
    known = (entry.reward, entry.episode_return, entry.baseline)
    numbers = [None if value is None else share(value) for value in known]
    advantage = None if entry.advantage is None else difference(entry.advantage)
    return [position(entry.position), entry.kind, entry.rollout, *numbers, advantage, _readable(entry.hint)]


def _readable(text: str) -> str:
    """Tokens of a bad model need not be text: say so rather than print replacement characters."""
    return re.sub("\N{REPLACEMENT CHARACTER}+", lambda found: f"<{len(found[0])} undecodable>", text)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else float("nan")
