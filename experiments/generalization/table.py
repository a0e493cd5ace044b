"""The tables of the README beside, from a finished study: `python experiments/generalization/table.py SWEEP_FOLDER`.

Prints Markdown: gain within a pack and success at the last position for each training set and evaluation, and what the
ablation shows. What is incomplete has no number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from codctl.runs.eval_result import Estimate
from codctl.sweeps.study_result import Cell, StudyResult, read


def points(found: Estimate | None) -> str:
    return f"{100 * found.mean:+.0f} [{100 * found.low:+.0f}, {100 * found.high:+.0f}]" if found else "–"


def share(found: Estimate | None) -> str:
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]" if found else "–"


def last_share(found: Cell) -> str:
    curve = found.graded.share.get("own") if found.graded else None
    return share(curve[-1]) if curve else "–"


def cell(found: Cell, show: Callable[[Cell], str]) -> str:
    if found.state == "absent":
        return "–"
    return show(found) if found.state == "complete" else f"incomplete ({len(found.seeds)} of {found.of} seeds)"


def table(result: StudyResult, title: str, show: Callable[[Cell], str]) -> None:
    evaluations = [one.key for one in result.evaluations]
    cells = result.by_place
    print(f"\n**{title}**\n\n| | " + " | ".join(evaluations) + " |\n" + "|---" * (len(evaluations) + 1) + "|")
    for setting in (one.title for one in result.settings):
        print(f"| {setting} | " + " | ".join(cell(cells[setting, key], show) for key in evaluations) + " |")


def ablation(result: StudyResult) -> None:
    print("\n**What the ablation shows: gain, percentage points**\n")
    print("| | against | evaluation | difference |\n|---|---|---|---|")
    for one in result.ablations.differences:
        print(f"| {one.setting} | {one.theirs} | {one.evaluation} | {points(one.gain)} |")


def main(folder: str) -> None:
    result = read(Path(folder))
    if result is None:
        sys.exit(f"{folder} holds no result.json: is it the folder of a sweep?")
    print(result.headline.replace("\N{NO-BREAK SPACE}", " "))
    table(result, "Gain within a pack, own hints, percentage points", lambda one: points(one.gain.get("own")))
    table(result, "Gain within a pack, no hints, percentage points", lambda one: points(one.gain.get("none")))
    table(result, "Success at the last position, own hints", lambda one: share(one.last_success()))
    if any(cell.graded for cell in result.cells):
        table(result, "Share of what knowing the world gains at the last position, own hints", last_share)
    table(result, "Own minus no hints at the last position, points", lambda one: points(one.own_less_none))
    ablation(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
