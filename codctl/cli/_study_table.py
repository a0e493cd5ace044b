"""What a sweep or study found, as text: a sentence, what is incomplete, a line for each setting and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codctl.cli import _output
from codctl.quantities import counted, difference, share, with_interval

if TYPE_CHECKING:
    from codctl.runs.eval_result import Estimate

_MOST_ROWS, _MOST_INCOMPLETE = 60, 10


def text(result: Mapping[str, Any]) -> str:
    """Everything that a person wants to know at once, and where the rest lies.

    Args:
        result: Of `sweeps.results.sum_up`.
    """
    parts = [result["headline"], _incomplete(result), _table(result), "\n".join(result["ablations"]["said"])]
    return "\n\n".join(filter(None, [*parts, _foot(result)]))


def _incomplete(result: Mapping[str, Any]) -> str:
    """The loud part. Trials that wait for the same command share it."""
    found = result["incomplete"]
    if not found:
        return ""
    lines = [
        f"INCOMPLETE: {len(found)} of {counted(len(result['trials']), 'trial')}; results that need them are left out"
    ]
    for one in found[:_MOST_INCOMPLETE]:
        why = "; ".join(filter(None, (*one["missing"], one["message"])))
        lines.append(f"  {one['trial']}: {one['status']}{f' ({why})' if why else ''}")
    if len(found) > _MOST_INCOMPLETE:
        lines.append(f"  and {len(found) - _MOST_INCOMPLETE} more")
    return "\n".join(lines + [f"  → {hint}" for hint in dict.fromkeys(one["hint"] for one in found)][:12])


def _table(result: Mapping[str, Any]) -> str:
    cells = [cell for cell in result["cells"] if cell["state"] != "absent"]
    if not cells:
        return ""
    has_lead = any("own_less_none" in cell for cell in cells)
    headers = ["trained" if result["has_suites"] else "setting", "evaluation", "seeds", "first", "last", "gain"]
    rows = [_row(cell) for cell in cells[:_MOST_ROWS]]
    shown = (
        _output.table([*headers, "own less none"], rows) if has_lead else _output.table(headers, [r[:-1] for r in rows])
    )
    more = len(cells) - len(rows)
    return f"{shown}\n… {more} more: table.csv" if more else shown


def _row(cell: Mapping[str, Any]) -> list[str]:
    head = [cell["setting"], cell["evaluation"], f"{len(cell['seeds'])}/{cell['of']}"]
    if cell["state"] != "complete":
        why = "incomplete" if cell["state"] == "incomplete" else "seeds differ"
        return [*head, why, "", "", ""]
    own, gain, lead = cell["arms"].get("own", ()), cell["gain"].get("own"), cell.get("own_less_none")
    first, last = (share(own[0]["mean"]), with_interval(_estimate(own[-1]))) if own else ("–", "–")
    return [*head, first, last, _change(gain), _change(lead)]


def _change(estimate: Mapping[str, float] | None) -> str:
    return "–" if estimate is None else with_interval(_estimate(estimate), difference)


def _estimate(found: Mapping[str, float]) -> Estimate:
    from codctl.runs.eval_result import Estimate

    return Estimate(found["mean"], found["low"], found["high"])


def _foot(result: Mapping[str, Any]) -> str:
    folder = result["folder"]
    return f"page     {folder}/report.html\nnumbers  {folder}/table.csv, {folder}/result.json"
