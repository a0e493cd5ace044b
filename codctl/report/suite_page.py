"""One self-contained page about a suite: what was asked, what came out, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codctl.cod.strategies import of_result
from codctl.quantities import counted, position
from codctl.quantities import signed_points as signed
from codctl.report import story
from codctl.report.chart import Chart
from codctl.report.curves import Place, of_part
from codctl.report.findings import graded_rows, headline
from codctl.report.template import Top, duration, fill, top
from codctl.results import agent_use, outcomes, replies
from codctl.results.statistics import FEW_PACKS
from codctl.runs.eval_result import Estimate, EvalResult, Gain, Graded, Measured, PartResult, Usage, Walkthrough

_KINDS = {"run": "Run", "model": "Model", "policy": "Scripted policy", "endpoint": "Served model"}


@dataclass(frozen=True)
class _Table:
    """Places down, curves to the right; None where nothing was played."""

    title: str
    axis: str
    columns: list[str]
    rows: list[tuple[int, bool, list[Place | None]]]  # place, whether the facts change there, points


@dataclass(frozen=True)
class _Section:
    """A part on the page."""

    key: str
    title: str
    verdict: str
    about: str
    charts: list[Chart]
    tables: list[_Table]
    gains: list[tuple[str, Gain, Estimate | None]]
    warnings: list[str]
    agent: str
    ended: list[outcomes.Table]
    graded: Graded | None
    walkthrough: Walkthrough | None
    chapters: list[story.Chapter]


def render(result: EvalResult, walkthroughs: Mapping[str, Walkthrough], folder: Path | None = None) -> str:
    """The page as text.

    Args:
        result: Of the suite.
        walkthroughs: For parts one pack step by step.
        folder: Where sessions of an agent program lie.
    """
    content = {
        "result": result,
        "subject": result.subject.title,
        "parts": [
            _section(f"p{number}", part, walkthroughs.get(part.name), folder)
            for number, part in enumerate(result.parts)
        ],
        "command": shlex.join(result.command),
        "facts": _facts(result),
        "headline": headline(result),
        "top": _top(result),
    }
    return fill("suite.html", content)


def _top(result: EvalResult) -> Top:
    seeds = list(dict.fromkeys(seed for part in result.parts for seed in part.seeds))
    return top(
        f"sampling seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        version=result.codctl_version,
        command=shlex.join(result.command),
        machine=result.machine,
    )


def _section(key: str, part: PartResult, walkthrough: Walkthrough | None, folder: Path | None) -> _Section:
    return _Section(
        key=key,
        title=part.title,
        verdict=_verdict(part),
        about=_about(part),
        charts=of_part(key, part),
        tables=_tables(part),
        gains=[(arm, gain, part.regret.get(arm)) for arm, gain in part.gain.items()],
        warnings=[*replies.sentences(part), *agent_use.warnings(part)],
        agent=agent_use.sentence(part.agent) if part.agent else "",
        ended=outcomes.tables(part),
        graded=part.graded,
        walkthrough=walkthrough,
        chapters=story.chapters(walkthrough, folder),
    )


def _about(part: PartResult) -> str:
    few = "too few for narrow intervals" if part.packs < FEW_PACKS else ""
    seeds = f"sampling seeds {', '.join(map(str, part.seeds))}" if len(part.seeds) > 1 else ""
    head = f"{part.world}, {part.packs} held-out packs of {part.length}"
    return "; ".join(filter(None, (head, few, of_result(part).describe(), seeds)))


def _verdict(part: PartResult) -> str:
    """Why the model fails, or the gain of the first arm in a sentence; nothing where there is none."""
    if why := outcomes.unread(part):
        return f"{why[0].upper()}{why[1:]}."
    if not part.gain:
        return ""
    arm, gain = next(iter(part.gain.items()))
    sure = "" if gain.is_sure else "; the interval contains zero"
    ends = f"from {part.axis} {position(gain.start)} to {position(gain.end)}"
    return (
        f"{arm}: {signed(gain.mean)} points {ends} of the same packs "
        f"(95\N{NO-BREAK SPACE}% interval {signed(gain.low)} to {signed(gain.high)}{sure})."
    )


def _tables(part: PartResult) -> list[_Table]:
    """Positions down, arms and references to the right: that fits packs of any length."""
    kind = "ceiling" if of_result(part).has_ceiling else "reference"
    found = []
    for title, source in (("", part), ("Distractor tasks", part.distractors)):
        if source:
            columns = {**_measures(source)}
            columns |= {f"{name} ({kind})": curve for name, curve in source.ceiling_curves.items()}
            found.append(_table(title, "position", columns, part.drift_at))
    if part.solved_by_attempt is not None:
        found.append(_table("Solved by attempt k", "attempt", part.solved_by_attempt, None))
    return found


def _measures(source: Measured) -> dict[str, Sequence[Place]]:
    columns: dict[str, Sequence[Place]] = {f"{arm}, success": curves.success for arm, curves in source.arms.items()}
    columns |= {f"{name}, {what}": curve for what, name, curve in graded_rows(source)}
    columns |= {f"{arm}, hints right": curves.hint_correctness for arm, curves in source.arms.items()}
    columns |= {f"{arm}, shaped reward": curves.shaped_reward for arm, curves in source.arms.items()}
    for arm, details in source.hint_detail.items():
        columns |= {f"{arm}, {name.replace('_', ' ')}": curve for name, curve in details.items()}
    return {name: curve for name, curve in columns.items() if curve}


def _table(title: str, axis: str, columns: Mapping[str, Sequence[Place]], changed_at: int | None) -> _Table:
    places = sorted({point.place for curve in columns.values() for point in curve})
    by_place = [{point.place: point for point in curve} for curve in columns.values()]
    changed = None if changed_at is None else position(changed_at)
    rows = [(place, place == changed, [points.get(place) for points in by_place]) for place in places]
    return _Table(title, axis, list(columns), rows)


def _facts(result: EvalResult) -> list[tuple[str, str]]:
    """What is needed to repeat it."""
    machine, subject = result.machine, result.subject
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    processor = f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, {machine.get('memory_gb', '?')} GB"
    facts = [
        (_KINDS[subject.kind], subject.name),
        ("Inside", subject.agent.sentence if subject.agent else ""),
        ("Folder", subject.folder),
        ("Server", subject.endpoint),
        ("Digest of model and suite", result.digest),
        ("Played in", f"{duration(result.seconds)}, {counted(result.attempts, 'attempt')}"),
        ("Used", _used(result.usage) if result.usage else ""),
        ("Machine", ", ".join([processor, *machine.get("gpus", [])])),
        ("System", f"{machine.get('system', '')}, Python {machine.get('python', '')}"),
        ("codctl", " ".join(filter(None, [result.codctl_version, machine.get("commit", "")]))),
        ("Versions", versions),
    ]
    return [(name, value) for name, value in facts if value]


def _used(usage: Usage) -> str:
    shown = {**vars(usage), "notes": "; ".join(usage.notes)}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items() if value)
