"""The tables of the READMEs beside, from finished runs: `python experiments/table.py RUN [RUN …]`.

Runs differ in their training seed only. Prints Markdown, for each family that they trained on: each cell is the mean
over the runs, its 95 % interval over training seeds and packs, and ± the standard deviation between the runs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codctl.results.rows import read_rows
from codctl.results.statistics import Estimates, differences, shares
from codctl.runs import eval_result
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import PartResult
from codctl.tracking.jsonl import read

SHOWN = ("own", "none", "shuffled", "oracle", "history")


@dataclass(frozen=True)
class Evaluation:
    """What a run's evaluation (`before`, `after`, `after-long`) measured on one family."""

    run: RunDirectory
    name: str
    family: str

    @property
    def part(self) -> PartResult:
        result = eval_result.read(self.run.stage("evaluation") / self.name / eval_result.RESULT)
        assert isinstance(result, eval_result.EvalResult)
        return next(part for part in result.parts if part.family == self.family)

    def matrix(self, arm: str, measure: str) -> np.ndarray[Any, Any]:
        """Packs × positions of one arm; NaN where there is nothing to measure."""
        part, needed = self.part, [measure]
        if measure == "hint_correctness":
            needed = ["hint_knowable_right", "hint_knowable"]
        columns = ["arm", "number", "position", *needed]
        rows = read_rows(self.run.stage("evaluation") / self.name, part.name, columns).to_pandas()
        rows = rows[rows["arm"] == arm]
        found = rows[needed[0]] / rows[needed[1]] if len(needed) > 1 else rows[measure]
        values = np.full((part.packs, part.length), np.nan)
        values[rows["number"], rows["position"]] = found
        return values


def summary(found: list[Evaluation], arm: str, measure: str, positions: slice) -> Estimates:
    return shares([one.matrix(arm, measure)[:, positions] for one in found])


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


def gain(found: list[Evaluation], arm: str, last: int) -> Estimates:
    """Success at the last position less that at the first, within the same packs."""
    return differences([np.diff(one.matrix(arm, "success")[:, [0, last]], axis=1) for one in found])


def family_tables(runs: list[RunDirectory], family: str) -> None:
    """All tables of one family."""
    config = runs[0].config()
    length, long, everything = config.world.length, config.evaluation.long_length, slice(None)
    before, after, after_long = (
        [Evaluation(run, name, family) for run in runs] for name in ("before", "after", "after-long")
    )
    part = after[0].part
    shown = [arm for arm in SHOWN if arm in part.arms]
    success = [
        *(line(f"warm start, {a}", summary(before, a, "success", everything)) for a in ("own", "none")),
        *(line(f"CoD-Train, {a}", summary(after, a, "success", everything)) for a in shown),
        *(
            f"| ceiling {name} | " + " | ".join(f"{point.mean:.3f}" for point in curve) + " |"
            for name, curve in part.ceiling_curves.items()
        ),
    ]
    table(f"Success (raw), {part.packs} test packs, {len(runs)} training seeds", 0, length, success)
    gains = [line(f"gain, {arm}", gain(after, arm, length - 1)) for arm in ("own", "none")]
    print(f"\n**Gain from position 1 to {length}**\n\n| | gain |\n|---|---|\n" + "\n".join(gains))
    shaped = [line(f"CoD-Train, {arm}", summary(after, arm, "shaped_reward", everything)) for arm in shown]
    table("Shaped reward", 0, length, shaped)
    hints = [
        line(name, summary(stage, "own", "hint_correctness", slice(1, None)))
        for name, stage in (("warm start", before), ("CoD-Train", after))
    ]
    table("Hint correctness: share of what could be known", 1, length - 1, hints)
    if long:
        lines = [line(f"CoD-Train, {a}", summary(after_long, a, "success", everything)) for a in ("own", "none")]
        table(f"Success in packs of {long}", 0, long, lines)
        long_hints = [line("CoD-Train", summary(after_long, "own", "hint_correctness", slice(1, None)))]
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
        family_tables(runs, part.family)
    health(runs)


if __name__ == "__main__":
    main(sys.argv[1:])
