"""The tables of README.md in this folder, from finished runs: `python experiments/tiny/table.py RUN [RUN …]`.

Runs differ in their training seed only. Prints Markdown: each cell is the mean over the runs, the 95 % interval over
packs, and ± the standard deviation between the runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from codctl.evaluate.statistics import SeedSummary, summarise_seeds
from codctl.runs.directory import RunDirectory
from codctl.tracking.jsonl import read

SHOWN = ("own", "none", "shuffled", "oracle", "history")


def rows_of(run: RunDirectory, evaluation: str) -> list[dict[str, Any]]:
    path = run.stage("evaluation") / evaluation / "rows.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def matrix(rows: Iterable[dict[str, Any]], arm: str, measure: str) -> np.ndarray[Any, Any]:
    """Packs × positions of one arm; NaN where there is nothing to measure."""
    chosen = [row for row in rows if row["arm"] == arm]
    packs = {pack: i for i, pack in enumerate(dict.fromkeys(row["pack"] for row in chosen))}
    values = np.full((len(packs), max(row["position"] for row in chosen) + 1), np.nan)
    for row in chosen:
        if measure == "hint_correctness":
            known = row["hint_knowable"]
            value = row["hint_knowable_right"] / known if known else np.nan
        else:
            value = row[measure]
        values[packs[row["pack"]], row["position"]] = value
    return values


def summary(runs: list[RunDirectory], evaluation: str, arm: str, measure: str, positions: slice) -> SeedSummary:
    tables = {run.config().seed: matrix(rows_of(run, evaluation), arm, measure)[:, positions] for run in runs}
    return summarise_seeds(tables, seed=0)


def line(name: str, found: SeedSummary) -> str:
    cells = [
        f"{mean:.3f} [{low:.3f}, {high:.3f}] ± {spread:.3f}"
        for mean, low, high, spread in zip(found.mean_S, found.low_S, found.high_S, found.spread_S, strict=True)
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def table(title: str, first: int, count: int, lines: list[str]) -> None:
    print(f"\n**{title}**\n")
    print("| | " + " | ".join(f"position {p}" for p in range(first, first + count)) + " |")
    print("|---" * (count + 1) + "|")
    print("\n".join(lines))


def main(folders: list[str]) -> None:
    runs = [RunDirectory.open(Path(folder)) for folder in folders]
    length = runs[0].config().world.length
    everything = slice(None)
    before = [
        line(f"warm start, {arm}", summary(runs, "before", arm, "success", everything)) for arm in ("own", "none")
    ]
    after = [line(f"CoD-Train, {arm}", summary(runs, "after", arm, "success", everything)) for arm in SHOWN]
    result = json.loads((runs[0].stage("evaluation") / "after" / "result.json").read_text())
    ceilings = [f"| ceiling {n} | " + " | ".join(f"{v:.3f}" for v in vs) + " |" for n, vs in result["ceilings"].items()]
    table(
        f"Success (raw), {result['packs']} test packs, {len(runs)} training seeds",
        0,
        length,
        [*before, *after, *ceilings],
    )
    shaped = [line(f"CoD-Train, {arm}", summary(runs, "after", arm, "shaped_reward", everything)) for arm in SHOWN]
    table("Shaped reward", 0, length, shaped)
    hints = [
        line(name, summary(runs, stage, "own", "hint_correctness", slice(1, None)))
        for name, stage in (("warm start", "before"), ("CoD-Train", "after"))
    ]
    table("Hint correctness: share of what could be known", 1, length - 1, hints)
    long = [
        line(f"CoD-Train, {arm}", summary(runs, "after-long", arm, "success", everything)) for arm in ("own", "none")
    ]
    table("Success in packs of 8", 0, runs[0].config().evaluation.long_length, long)
    long_hints = [line("CoD-Train", summary(runs, "after-long", "own", "hint_correctness", slice(1, None)))]
    table("Hint correctness in packs of 8", 1, runs[0].config().evaluation.long_length - 1, long_hints)
    gain = {
        run.config().seed: np.diff(matrix(rows_of(run, "after"), "own", "success")[:, [0, length - 1]], axis=1)
        for run in runs
    }
    table("Gain from position 0 to the last, own", 0, 1, [line("gain", summarise_seeds(gain, seed=0))])
    print("\n**By seed**\n\n| seed | own | useful tokens | rows per turn ÷ ours | occupancy | largest log-prob gap |")
    print("|---" * 6 + "|")
    for run in runs:
        steps = [record["metrics"] for record in read(run.metrics_path) if record["phase"] == "train"]
        own = np.nanmean(matrix(rows_of(run, "after"), "own", "success"), axis=0)
        names = ("tokens/useful_fraction", "tokens/per_turn_rows_ratio", "engine/occupancy")
        means = " | ".join(f"{np.mean([step[name] for step in steps]):.3f}" for name in names)
        gap = max(step["logprob_gap/max"] for step in steps)
        print(f"| {run.config().seed} | {' '.join(f'{value:.3f}' for value in own)} | {means} | {gap:.1e} |")


if __name__ == "__main__":
    main(sys.argv[1:])
