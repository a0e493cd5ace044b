"""The tables of README.md in this folder: `python experiments/delta/table.py WAY=FOLDER[,FOLDER …] …`.

WAY names a way of updating hints, FOLDER a finished evaluation of one seed in FrozenLake: RUN/stages/evaluation/after,
or what `codctl eval --suite long-life` leaves under runs/evaluations. Prints Markdown: mean over the seeds ± standard
deviation between them.

A *right fact* is a direction whose code the hints state, and state once. An update *loses* it when it stands in the
hints before and not in those after. `lost an update` is the share of right facts that an update loses; `lost at the
end`, of all facts that were ever right in a trajectory, the share that is not in its last hints.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from codctl.envs.frozen_lake.claims import claims
from codctl.outcomes import WRITTEN
from codctl.results import trajectory_file
from codctl.results.trajectory_file import Transcript
from codctl.results.transcript import EpisodeTranscript

Facts = frozenset[tuple[str, str]]
_SHOWN = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def right(hints: str, truth: Facts) -> Facts:
    """The right facts of hints."""
    stated = claims(hints)
    directions = [direction for _, direction in stated]
    return frozenset(fact for fact in stated & truth if directions.count(fact[1]) == 1)


class Losses:
    """What the updates of one seed have lost."""

    def __init__(self) -> None:
        self.right = self.lost = self.ever = self.missing = self.updates = self.failed = self.same = self.chars = 0

    def add(self, transcript: Transcript) -> None:
        solves = [e for e in transcript.episodes if e.kind == "solve"]
        truth = claims(solves[0].truth)
        ever: set[tuple[str, str]] = set()
        for update in (e for e in transcript.episodes if e.kind == "update"):
            before, after = right(update.hints_before, truth), right(update.hints_after or "", truth)
            self.right += len(before)
            self.lost += len(before - after)
            ever |= before | after
            self._count(update)
        self.ever += len(ever)
        self.missing += len(ever - right(solves[-1].hints_before, truth))

    def _count(self, update: EpisodeTranscript) -> None:
        self.updates += 1
        self.failed += update.outcome not in WRITTEN
        self.same += update.hints_after == update.hints_before
        self.chars += len(update.hints_after or "")

    def shares(self) -> dict[str, float]:
        return {
            "lost an update": self.lost / max(self.right, 1),
            "lost at the end": self.missing / max(self.ever, 1),
            "updates that failed": self.failed / self.updates,
            "updates that changed nothing": self.same / self.updates,
            "characters of hints": self.chars / self.updates,
        }


def losses(folder: Path) -> dict[str, dict[str, float]]:
    """Of each part of an evaluation, in the arm `own`."""
    found: dict[str, Losses] = {}
    for transcript in trajectory_file.read(folder / trajectory_file.NAME):
        if transcript.arm == "own":
            found.setdefault(transcript.part, Losses()).add(transcript)
    return {part: one.shares() for part, one in found.items()}


def cell(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


def table(title: str, columns: Sequence[object], rows: Mapping[str, Sequence[Sequence[float]]]) -> None:
    print(f"\n**{title}**\n\n| | " + " | ".join(map(str, columns)) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(map(cell, cells)) + " |")


def curve(results: Sequence[Mapping[str, Any]], part: int, arm: str, measure: str) -> dict[int, list[float]]:
    """Position, counted from 1, to the means of each seed."""
    found: dict[int, list[float]] = {}
    for result in results:
        for point in result["parts"][part]["arms"][arm][measure]:
            found.setdefault(point["position"] + 1, []).append(point["mean"])
    return found


def main(arguments: Sequence[str]) -> None:
    ways = {way: list(map(Path, folders.split(","))) for way, folders in (one.split("=", 1) for one in arguments)}
    results = {way: [json.loads((f / "result.json").read_text()) for f in folders] for way, folders in ways.items()}
    lost = {way: [losses(folder) for folder in folders] for way, folders in ways.items()}
    for number, part in enumerate(next(iter(results.values()))[0]["parts"]):
        what = f"{part['packs']} packs of {part['length']}"
        for measure in ("success", "hint_correctness"):
            curves = {
                f"{way}, {arm}": curve(found, number, arm, measure)
                for way, found in results.items()
                for arm in (("own", "none") if measure == "success" else ("own",))
            }
            places = [place for place in next(iter(curves.values())) if place in _SHOWN]
            rows = {name: [points[place] for place in places] for name, points in curves.items()}
            table(f"{measure.replace('_', ' ').capitalize()}, {what}", places, rows)
        shares = {way: [one[part["name"]] for one in seeds] for way, seeds in lost.items()}
        names = list(next(iter(shares.values()))[0])
        rows = {way: [[seed[name] for seed in seeds] for name in names] for way, seeds in shares.items()}
        table(f"What updates do, {what}", names, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
