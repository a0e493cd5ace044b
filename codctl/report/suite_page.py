"""One self-contained page about a suite: what was asked, what came out, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from codctl.cod.strategies import of_result
from codctl.quantities import position
from codctl.quantities import signed_points as signed
from codctl.report import story, suite_answer
from codctl.report.costs import duration
from codctl.report.environment import fill
from codctl.report.suite_charts import charts
from codctl.report.top import Top, top
from codctl.results import outcomes, replies
from codctl.results.about import subject_title
from codctl.results.statistics import FEW_PACKS

_KINDS = {"run": "Run", "model": "Model", "policy": "Scripted policy", "endpoint": "Served model"}


def render(result: Mapping[str, Any], told: Mapping[str, dict[str, Any]]) -> str:
    """The page as text.

    Args:
        result: Of the suite.
        told: For each part one pack told in full; empty where none was.
    """
    parts = [_part(f"p{number}", part, told.get(part["name"], {})) for number, part in enumerate(result["parts"])]
    content = {
        "result": result,
        "subject": subject_title(result["subject"]),
        "parts": parts,
        "command": shlex.join(result["command"]),
        "facts": _facts(result),
        "headline": suite_answer.headline(result),
        "top": _top(result),
    }
    return fill("suite.html", content)


def _top(result: Mapping[str, Any]) -> Top:
    seeds = list(dict.fromkeys(seed for part in result["parts"] for seed in part["seeds"]))
    return top(
        f"sampling seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        version=result["codctl_version"],
        command=shlex.join(result["command"]),
        machine=result["machine"],
    )


def _part(key: str, part: Mapping[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    evaluation, _, world = part["name"].partition("/")
    return {
        "key": key,
        "title": f"{evaluation}: {world}",
        "verdict": _verdict(part),
        "about": _about(part),
        "charts": charts(key, part),
        "tables": _tables(part),
        "gains": _gains(part),
        "warnings": replies.sentences(part),
        "ended": outcomes.tables(part),
        "told": told,
        "chapters": story.chapters(told),
    }


def _about(part: Mapping[str, Any]) -> str:
    world = " ".join(filter(None, (part["family"], part["preset"], part["variant"])))
    text = f"{world}, {part['packs']} held-out packs of {part['length']}"
    special = of_result(part).describe()
    seeds = f"; sampling seeds {', '.join(map(str, part['seeds']))}" if len(part["seeds"]) > 1 else ""
    few = "; too few for narrow intervals" if part["packs"] < FEW_PACKS else ""
    return text + few + (f"; {special}" if special else "") + seeds


def _verdict(part: Mapping[str, Any]) -> str:
    """Why the model fails, or the gain of the first arm in a sentence; nothing where there is none."""
    if why := outcomes.unread(part):
        return f"{why[0].upper()}{why[1:]}."
    if not part.get("gain"):
        return ""
    arm, gain = next(iter(part["gain"].items()))
    axis = "attempt" if "solved_by_attempt" in part else "position"
    sure = "" if gain["low"] > 0 or gain["high"] < 0 else "; the interval contains zero"
    ends = f"from {axis} {position(gain['from'])} to {position(gain['to'])}"
    return (
        f"{arm}: {signed(gain['mean'])} points {ends} of the same packs "
        f"(95\N{NO-BREAK SPACE}% interval {signed(gain['low'])} to {signed(gain['high'])}{sure})."
    )


def _gains(part: Mapping[str, Any]) -> list[tuple[str, dict[str, float], dict[str, float] | None]]:
    regret = part.get("regret", {})
    return [(arm, gain, regret.get(arm)) for arm, gain in part.get("gain", {}).items()]


def _tables(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Positions down, arms and references to the right: that fits packs of any length."""
    kind = "ceiling" if of_result(part).has_ceiling else "reference"
    measures = {"success": "success", "hint_correctness": "hints right", "shaped_reward": "shaped reward"}
    found = []
    for title, source in (("", part), ("Distractor tasks", part.get("foreign"))):
        if source:
            columns = {
                f"{arm}, {said}": curves[measure]
                for measure, said in measures.items()
                for arm, curves in source["arms"].items()
                if curves[measure]
            }
            columns |= {f"{name} ({kind})": curve for name, curve in source["ceiling_curves"].items()}
            found.append(_table(title, "position", columns, part.get("drift_at")))
    if "solved_by_attempt" in part:
        found.append(_table("Solved by attempt k", "attempt", part["solved_by_attempt"], None))
    return found


def _table(
    title: str, axis: str, columns: Mapping[str, list[dict[str, float]]], changed_at: int | None
) -> dict[str, Any]:
    places = sorted({int(point[axis]) for curve in columns.values() for point in curve})
    by_place = [{point[axis]: point for point in curve} for curve in columns.values()]
    first = position(0) if axis == "position" else 0  # attempts are counted from 1 already
    rows = [(place + first, place == changed_at, [points.get(place) for points in by_place]) for place in places]
    return {"title": title, "axis": axis, "columns": list(columns), "rows": rows}


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is needed to repeat it."""
    machine, subject = result["machine"], result["subject"]
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    processor = f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, {machine.get('memory_gb', '?')} GB"
    facts = [
        (_KINDS[subject["kind"]], subject["name"]),
        ("Folder", subject.get("folder", "")),
        ("Server", subject.get("endpoint", "")),
        ("Digest of model and suite", result["digest"]),
        (
            "Played in",
            f"{duration(result['seconds'])}, {result['attempts']} attempt{'s' if result['attempts'] != 1 else ''}",
        ),
        ("Used", ", ".join(f"{key} {value}" for key, value in result.get("usage", {}).items() if value)),
        ("Machine", ", ".join([processor, *machine.get("gpus", [])])),
        ("System", f"{machine.get('system', '')}, Python {machine.get('python', '')}"),
        ("codctl", " ".join(filter(None, [result["codctl_version"], machine.get("commit", "")]))),
        ("Versions", versions),
    ]
    return [(name, value) for name, value in facts if value]
