"""The tables of the READMEs beside, from finished runs: `python experiments/table.py RUN [RUN …]`.

Runs differ in their training seed only. Prints Markdown, for each family that they trained on: each cell is the mean
over the runs, its 95 % interval over training seeds and packs, and ± the standard deviation between the runs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from codctl.results.statistics import Estimates, differences, shares
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


def summary(runs: list[RunDirectory], evaluation: str, arm: str, measure: str, positions: slice) -> Estimates:
    return shares([matrix(rows_of(run, evaluation), arm, measure)[:, positions] for run in runs])


def line(name: str, found: Estimates) -> str:
    spread = found.mean_KC.std(axis=0, ddof=1) if len(found.mean_KC) > 1 else np.full(len(found.mean_C), np.nan)
    cells = [
        f"{mean:.3f} [{low:.3f}, {high:.3f}]" + ("" if np.isnan(between) else f" ± {between:.3f}")
        for mean, low, high, between in zip(found.mean_C, found.low_C, found.high_C, spread, strict=True)
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def table(title: str, first: int, count: int, lines: list[str]) -> None:
    """`first` is counted from 0, as in the rows; readers count from 1."""
    print(f"\n**{title}**\n")
    print("| | " + " | ".join(f"position {p}" for p in range(first + 1, first + count + 1)) + " |")
    print("|---" * (count + 1) + "|")
    print("\n".join(lines))


def gain(runs: list[RunDirectory], evaluation: str, arm: str, last: int) -> Estimates:
    """Success at the last position less that at the first, within the same packs."""
    return differences(
        [np.diff(matrix(rows_of(run, evaluation), arm, "success")[:, [0, last]], axis=1) for run in runs]
    )


def family_tables(runs: list[RunDirectory], suffix: str) -> None:
    """All tables of one family; `suffix` ends the names of its evaluations."""
    config = runs[0].config()
    length, long, everything = config.world.length, config.evaluation.long_length, slice(None)
    before, after, after_long = f"before{suffix}", f"after{suffix}", f"after-long{suffix}"
    result = json.loads((runs[0].stage("evaluation") / after / "result.json").read_text())
    success = [
        *(line(f"warm start, {a}", summary(runs, before, a, "success", everything)) for a in ("own", "none")),
        *(line(f"CoD-Train, {a}", summary(runs, after, a, "success", everything)) for a in SHOWN),
        *(f"| ceiling {n} | " + " | ".join(f"{v:.3f}" for v in vs) + " |" for n, vs in result["ceilings"].items()),
    ]
    table(f"Success (raw), {result['packs']} test packs, {len(runs)} training seeds", 0, length, success)
    gains = [line(f"gain, {arm}", gain(runs, after, arm, length - 1)) for arm in ("own", "none")]
    print(f"\n**Gain from position 1 to {length}**\n\n| | gain |\n|---|---|\n" + "\n".join(gains))
    shaped = [line(f"CoD-Train, {arm}", summary(runs, after, arm, "shaped_reward", everything)) for arm in SHOWN]
    table("Shaped reward", 0, length, shaped)
    hints = [
        line(name, summary(runs, stage, "own", "hint_correctness", slice(1, None)))
        for name, stage in (("warm start", before), ("CoD-Train", after))
    ]
    table("Hint correctness: share of what could be known", 1, length - 1, hints)
    if long:
        lines = [line(f"CoD-Train, {a}", summary(runs, after_long, a, "success", everything)) for a in ("own", "none")]
        table(f"Success in packs of {long}", 0, long, lines)
        long_hints = [line("CoD-Train", summary(runs, after_long, "own", "hint_correctness", slice(1, None)))]
        table(f"Hint correctness in packs of {long}", 1, long - 1, long_hints)


def health(runs: list[RunDirectory]) -> None:
    print("\n**By seed**\n\n| seed | useful tokens | rows per turn ÷ ours | occupancy | largest log-prob gap |")
    print("|---" * 5 + "|")
    for run in runs:
        steps = [record["metrics"] for record in read(run.metrics_path) if record["phase"] == "train"]
        names = ("tokens/useful_fraction", "tokens/per_turn_rows_ratio", "engine/occupancy")
        means = " | ".join(f"{np.mean([step[name] for step in steps]):.3f}" for name in names)
        gap = max(step["logprob_gap/max"] for step in steps)
        print(f"| {run.config().seed} | {means} | {gap:.1e} |")


def main(folders: list[str]) -> None:
    runs = [RunDirectory.open(Path(folder)) for folder in folders]
    world = runs[0].config().world
    for part in world.parts:
        if world.mixture:
            print(f"\n### {part.family}, preset {part.preset}")
        family_tables(runs, f"-{part.family}" if world.mixture else "")
    health(runs)


if __name__ == "__main__":
    main(sys.argv[1:])
