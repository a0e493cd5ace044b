"""The result of --every-checkpoint as tables: success by step and position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codctl import quantities
from codctl.cli import _output
from codctl.quantities import counted
from codctl.results.about import subject_title

_WIDEST = 4  # positions side by side; of more, the first, the last and some between


def text(result: Mapping[str, Any]) -> str:
    """What a person wants to know, and where the rest lies."""
    parts = [_part(result["suite"], part, alone=len(result["parts"]) == 1) for part in result["parts"]]
    foot = f"results  {result['folder']}\nreport   {result['folder']}/report.html"
    if again := result["to_play_again"]:
        foot += f"\nagain    {counted(again, 'trajectory')} failed: the same command plays them again"
    head = [subject_title(result["subject"]), *(f"warning: {line}" for line in result.get("warnings", ()))]
    return "\n".join([*head, "\n\n".join([*parts, foot])])


def _part(suite: str, part: Mapping[str, Any], *, alone: bool) -> str:
    from codctl.report.learning import evenly

    head = suite if alone else part["name"].partition("/")[0]
    packs = counted(part["packs"], "pack")
    what = f"{head}: {part['family']} {part['preset']}, the same {packs} of {part['length']} for each model"
    places = evenly(part["positions"], _WIDEST)
    headers = ["step", "arm", *(f"position {quantities.position(place)}" for place in places), "first to last"]
    rows = []
    for arm, points in part["arms"].items():
        for point in points:
            cells = {at["position"]: quantities.with_interval(at) for at in point["success"]}
            gain = quantities.with_interval(point["gain"], quantities.difference) if "gain" in point else "–"
            rows.append([point["step"], arm, *(cells.get(place, "–") for place in places), gain])
    return f"{what}\n{_output.table(headers, rows)}"
