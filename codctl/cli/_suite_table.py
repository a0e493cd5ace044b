"""A suite's result as tables: arm × position with intervals, the references below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codctl.cli import _output
from codctl.cod.strategies import of_result
from codctl.quantities import counted, difference, number, position, with_interval
from codctl.results import outcomes, replies
from codctl.results.about import subject_title
from codctl.results.statistics import FEW_PACKS

_WIDEST = 4  # positions side by side; of more, each is a line
Point = Mapping[str, Any]


def text(result: Mapping[str, Any]) -> str:
    """Everything that a person wants to know, and where the rest lies."""
    parts = [_part(result["suite"], part, alone=len(result["parts"]) == 1) for part in result["parts"]]
    return subject_title(result["subject"]) + "\n" + "\n\n".join([*parts, _foot(result)])


def _part(suite: str, part: Mapping[str, Any], *, alone: bool) -> str:
    head = suite if alone else part["name"].partition("/")[0]
    variant = f" {part['variant']}" if part["variant"] else ""
    packs = counted(part["packs"], "pack")
    what = f"{head}: {part['family']} {part['preset']}{variant}, {packs} of {part['length']}"
    why = outcomes.sentences(part)
    special = of_result(part).describe()
    lines = [what + (f", {special}" if special else ""), *(f"why: {line}" for line in why)]
    lines += [*(f"warning: {line}" for line in replies.sentences(part)), _curves(part, part), *_ended(part)]
    if part["packs"] < FEW_PACKS:
        lines.append(f"with only {packs} the intervals are wide and rule out little")
    if not outcomes.unread(part):  # else the numbers are of replies that could not be read
        lines += _gains(part)
    if "solved_by_attempt" in part:
        lines.append(_solved(part))
    if foreign := part.get("foreign"):
        lines += [f"the foreign tasks in between: {foreign['family']} {foreign['preset']}", _curves(part, foreign)]
    return "\n".join(lines)


def _curves(part: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    rows = [row for arm in found["arms"] for row in _arm(part, found, arm)]
    # Where accounts are false or facts change, someone else may do better than this policy.
    kind = "ceiling" if of_result(part).has_ceiling else "reference"
    rows += [(name, kind, curve) for name, curve in found["ceiling_curves"].items()]
    if "solved_by_attempt" in part:
        return _table(rows, {p: str(position(p)) for p in found["positions"]}, "position", "attempt")
    names = {p: f"{position(p)}{' (changed)' if p == part.get('drift_at') else ''}" for p in found["positions"]}
    return _table(rows, names, "position", "position")


def _arm(part: Mapping[str, Any], found: Mapping[str, Any], arm: str) -> list[tuple[str, str, Sequence[Point]]]:
    """The measures of an arm; below its success, how many episodes ended without a usable reply."""
    measures: dict[str, Sequence[Point]] = dict(found["arms"][arm])
    if arm == "none":
        measures.pop("hint_correctness", None)  # there is no hint that could be right
    beside = {
        kind.replace("_", " "): [point for point in points if point["position"] in found["positions"]]
        for kind, points in replies.beside(part, arm).items()
    }
    shown = {"success": measures.pop("success"), **{kind: points for kind, points in beside.items() if points}}
    return [(arm, measure, curve) for measure, curve in {**shown, **measures}.items()]


def _ended(part: Mapping[str, Any]) -> list[str]:
    """How the episodes of each arm ended, where there is more to say than that they were solved."""
    found = [table for episode in ("solve", "update") if (table := outcomes.table(part, episode))]
    told = [table for table in found if len(table.columns) > 1 or table.columns[0] not in ("solved", "written")]
    return [
        _output.table(["arm", *one.titles], [[arm, *map(str, counts)] for arm, _, counts in one.rows]) for one in told
    ]


def _solved(part: Mapping[str, Any]) -> str:
    rows = [(name, "solved so far", curve) for name, curve in part["solved_by_attempt"].items()]
    attempts = {position(p): str(position(p)) for p in part["positions"]}
    return _table(rows, attempts, "attempt", "solved by attempt")


def _table(rows: Sequence[tuple[str, str, Sequence[Point]]], names: Mapping[int, str], key: str, axis: str) -> str:
    """Curves as rows; of a long pack as columns.

    Args:
        rows: Arm, measure and points.
        names: What each place is called.
        key: Where a point says its place.
        axis: What the places are.
    """
    places = list(names)
    cells = [{point[key]: _shown(point) for point in curve} for _, _, curve in rows]
    if len(places) <= _WIDEST:
        headers = ["arm", "measure", *(f"{axis} {names[place]}" for place in places)]
        wide = zip(rows, cells, strict=True)
        return _output.table(headers, [[arm, m, *(c.get(p, "–") for p in places)] for (arm, m, _), c in wide])
    shown = [number for number, (_, measure, _) in enumerate(rows) if measure != "shaped_reward"]
    headers = [axis, *(f"{rows[n][0]} {rows[n][1].replace('_', ' ')}" for n in shown)]
    return _output.table(headers, [[names[place], *(cells[n].get(place, "–") for n in shown)] for place in places])


def _gains(part: Mapping[str, Any]) -> list[str]:
    lines = []
    axis = "attempt" if "solved_by_attempt" in part else "position"
    for arm, gain in part.get("gain", {}).items():
        line = (
            f"{arm}: {with_interval(gain, difference)} from {axis} {position(gain['from'])} to {position(gain['to'])}"
        )
        if regret := part.get("regret", {}).get(arm):
            line += f"; bayes solves {with_interval(regret)} tasks more a pack"
        lines.append(line)
    return lines


def _shown(point: Point) -> str:
    return f"{point['count']} of {point['of']}" if "count" in point else with_interval(point)


def _foot(result: Mapping[str, Any]) -> str:
    lines = [
        f"results  {result['folder']}",
        f"report   {result['folder']}/report.html",
        f"replies  codctl view {result['folder']} --typical",
    ]
    if usage := result.get("usage"):
        lines.append(f"used     {_used(usage)}")
        lines += [f"note     {note}" for note in usage.get("notes", ())]
    if again := result["to_play_again"]:
        # What the server rejects, it rejects again.
        is_for_good = "lost" not in result.get("replies", {}).get("faults", ("lost",))
        when = "once the server or the settings are changed, " if is_for_good else ""
        lines.append(f"again    {counted(again, 'trajectory')} failed: {when}the same command plays them again")
    return "\n".join(lines)


def _used(usage: Mapping[str, Any]) -> str:
    """Requests, tokens and cost; what the server did not count is unknown."""
    least = "at least " if usage.get("uncounted") and usage["prompt_tokens"] is not None else ""
    read, written = (_known(usage[key]) for key in ("prompt_tokens", "completion_tokens"))
    cost = f", cost {least}{_known(usage['cost'])}" if "cost" in usage else ""
    unknown = f" ({counted(usage['uncounted'], 'reply')} came without a count)" if usage.get("uncounted") else ""
    return f"{counted(usage['requests'], 'request')}, {least}{read} tokens read, {written} written{cost}{unknown}"


def _known(value: float | None) -> str:
    return "–" if value is None else number(value)
