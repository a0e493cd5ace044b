"""The result of --every-checkpoint as tables: success by step and position."""

from __future__ import annotations

from codctl import quantities
from codctl.cli import _output
from codctl.quantities import counted
from codctl.runs.eval_result import StepsPart, StepsResult

_WIDEST = 4  # positions side by side; of more, the first, the last and some between


def text(result: StepsResult) -> str:
    """What a person wants to know, and where the rest lies."""
    parts = [_part(result.suite, part, alone=len(result.parts) == 1) for part in result.parts]
    foot = f"results  {result.folder}\nreport   {result.folder}/report.html"
    if again := result.to_play_again:
        foot += f"\nagain    {counted(again, 'trajectory')} failed: the same command plays them again"
    head = [result.subject.title, *(f"warning: {line}" for line in result.warnings)]
    return "\n".join([*head, "\n\n".join([*parts, foot])])


def _part(suite: str, part: StepsPart, *, alone: bool) -> str:
    from codctl.report.curves import evenly

    head = suite if alone else part.evaluation
    packs = counted(part.packs, "pack")
    what = f"{head}: {part.world}, the same {packs} of {part.length} for each model"
    places = evenly(list(part.positions), _WIDEST)
    headers = ["step", "arm", *(f"position {quantities.position(place)}" for place in places), "first to last"]
    rows = []
    for arm, points in part.arms.items():
        for point in points:
            cells = {at.position: quantities.with_interval(at) for at in point.success}
            gain = quantities.with_interval(point.gain, quantities.difference) if point.gain else "–"
            rows.append([point.step, arm, *(cells.get(place, "–") for place in places), gain])
    return f"{what}\n{_output.table(headers, rows)}"
