"""One self-contained page about a run. Hints and replies reach it only through autoescaping templates."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from codctl.envs.registry import families
from codctl.files import atomic
from codctl.quantities import number, percent, position, signed_points
from codctl.report import curves, findings, story
from codctl.report.chart import Chart
from codctl.report.source import FamilyEvaluations, Source, load
from codctl.report.template import Top, fill, moment, top
from codctl.results import outcomes
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import PartResult, PositionPoint, Walkthrough


@dataclass(frozen=True)
class Numbers:
    """The numbers behind curves by position: a row for each arm and each reference, None where nothing was played.

    `graded` has the rewards and shares of a graded family.
    """

    positions: list[int]
    rows: list[tuple[str, list[PositionPoint | None]]]
    ceilings: list[tuple[str, list[PositionPoint | None]]]
    graded: list[tuple[str, list[PositionPoint | None]]]


@dataclass(frozen=True)
class FamilySection:
    """One family on the page.

    Attributes:
        key: Of its section; stands in front of the ids of its charts.
        title: The family's name for people.
        about: What its worlds are, and how often they come.
        reference: What `bayes` is here.
        effect: What the evaluation after CoD-Train says; None without one.
        evaluations: What was measured.
        charts: By section: position, reward, hint, long and learning.
    """

    key: str
    title: str
    about: str
    reference: str
    effect: findings.Effect | None
    evaluations: FamilyEvaluations
    charts: dict[str, list[Chart]]

    @property
    def headline(self) -> str:
        after = self.evaluations.after
        return findings.headline_of_part(after) if self.effect and after else "Not evaluated yet."

    @property
    def unread(self) -> str:
        """What is to be said instead of an effect, where most replies could not be read."""
        return outcomes.unread(self.evaluations.after) if self.evaluations.after else ""

    @property
    def ended(self) -> list[outcomes.Table]:
        newest = self.evaluations.newest
        return outcomes.tables(newest) if newest else []

    @cached_property
    def details(self) -> str:
        before = self.evaluations.before
        if not self.effect or self.unread:
            return ""
        return findings.details(self.effect, findings.effect_of(before) if before else None)

    @property
    def last_task(self) -> str:
        return findings.ordinal(self.effect.positions - 1) if self.effect else ""

    @property
    def tiles(self) -> list[tuple[str, str, str]]:
        return [] if self.unread else _tiles(self.evaluations.after, self.effect)

    @property
    def table(self) -> Numbers | None:
        return _numbers(self.evaluations.newest)

    @property
    def long_table(self) -> Numbers | None:
        return _numbers(self.evaluations.long)

    @property
    def walkthrough(self) -> Walkthrough | None:
        return self.evaluations.walkthrough

    @cached_property
    def chapters(self) -> list[story.Chapter]:
        return story.chapters(self.walkthrough)


def families_of(source: Source) -> list[FamilySection]:
    """The families of a run, in the order of its recipe."""
    return [_section(source, number) for number in range(len(source.families))]


def _section(source: Source, number: int) -> FamilySection:
    evaluations = source.families[number]
    world, is_one = evaluations.world, len(source.families) == 1
    share = world.weight / sum(family.world.weight for family in source.families)
    known = families().get(world.family)  # a family of another package may be gone by now
    title, _, about = known.title.partition(": ") if known else (world.family, "", "")
    key = f"family{number}"
    charts = _charts(source, evaluations, "" if is_one else f"{world.family}/")
    described = [about[:1].upper() + about[1:], evaluations.difficulty, f"{percent(share)} of the packs"]
    return FamilySection(
        key=key,
        title=title,
        about=", ".join(filter(None, described)),
        reference=known.reference if known else "",
        effect=findings.effect_of(evaluations.after) if evaluations.after else None,
        evaluations=evaluations,
        charts=charts if is_one else {section: _under(key, drawn) for section, drawn in charts.items()},
    )


def _charts(source: Source, found: FamilyEvaluations, prefix: str) -> dict[str, list[Chart]]:
    """The charts of each section; `prefix` is what the family's metrics are called by in a mixture."""
    before, after, newest, long = found.before, found.after, found.newest, found.long
    title = "Success by position, by where the hints come from"
    return {
        "position": curves.present(
            curves.before_and_after(before, after),
            *([curves.by_arm("arms", title, after), *curves.graded("", after)] if after else []),
        ),
        "reward": curves.present(curves.rewards(newest)) if newest else [],
        "hint": [
            *curves.present(
                curves.hint_correctness(before, after), *(curves.hint_details("", newest) if newest else [])
            ),
            *_over_steps(source, prefix, ["hints-time"]),
        ],
        "long": curves.longer(long, source.config.world.length) if long else [],
        "learning": _over_steps(source, prefix, ["train-success", "validation", "train-raw", "train-reward"]),
    }


_OVER_STEPS = {
    "hints-time": ("train", "hint_correctness", "How right the hints are, over training", "knowable facts stated"),
    "train-success": ("train", "success", "Success on training packs", "success, share of rollouts"),
    "validation": ("validation", "success", "Success on held-out packs", "success, share of packs"),
    "train-raw": ("train", "raw_reward", "Mean reward on training packs", "mean reward, before the turn penalty"),
    "train-reward": ("train", "reward", "Shaped reward on training packs", "shaped reward (0 to 1)"),
}


def _over_steps(source: Source, prefix: str, keys: Sequence[str]) -> list[Chart]:
    wanted = ((key, *_OVER_STEPS[key]) for key in keys)
    charts = (
        curves.by_position(source.phase(phase), key, f"{prefix}{measure}", title, y_label)
        for key, phase, measure, title, y_label in wanted
    )
    return [chart for chart in charts if chart is not None]


def _tiles(after: PartResult | None, effect: findings.Effect | None) -> list[tuple[str, str, str]]:
    """The few numbers to remember: value, name, and what it is compared with."""
    if effect is None or after is None:
        return []
    last = position(effect.positions - 1)
    tiles = [
        (percent(effect.last.mean), f"success at position {last}", findings.interval(effect.last)),
        (signed_points(effect.gain.mean), f"points from position 1 to {last}", findings.signed_interval(effect.gain)),
    ]
    if effect.from_hints:
        over = findings.signed_interval(effect.from_hints)
        tiles.append((signed_points(effect.from_hints.mean), "points over no hints", over))
    if effect.share_of_ceiling is not None and effect.ceiling is not None:
        ceiling = f"bayes reaches {percent(effect.ceiling)}"
        tiles.append((percent(effect.share_of_ceiling), f"of the ceiling at position {last}", ceiling))
    if after.graded and (share := after.graded.share.get("own")):
        whole = f"of what knowing the world gains, at position {share[-1].place}"
        tiles.append((percent(share[-1].mean), whole, findings.interval(share[-1])))
    if hints := after.arms["own"].hint_correctness:
        tiles.append((percent(hints[-1].mean), "of the knowable facts in its hints", findings.interval(hints[-1])))
    return tiles


def _numbers(part: PartResult | None) -> Numbers | None:
    if part is None:
        return None
    places = range(part.length)

    def row(curve: Sequence[PositionPoint]) -> list[PositionPoint | None]:
        points = {point.position: point for point in curve}
        return [points.get(place) for place in places]

    return Numbers(
        positions=[position(place) for place in places],
        rows=[(arm, row(curves.success)) for arm, curves in part.arms.items()],
        ceilings=[(name, row(curve)) for name, curve in part.ceiling_curves.items()],
        graded=[(f"{name}, {what}", row(curve)) for what, name, curve in findings.graded_rows(part)],
    )


def _under(key: str, charts: Sequence[Chart]) -> list[Chart]:
    return [replace(chart, key=f"{key}-{chart.key}") for chart in charts]


@dataclass(frozen=True)
class TimeShare:
    """One share of the run time."""

    name: str
    seconds: float
    share: float
    css: str


@dataclass(frozen=True)
class Figure:
    """One number with what it means."""

    name: str
    value: str
    meaning: str


def time_parts(source: Source) -> list[TimeShare]:
    """Seconds by stage, as far as they were measured; CoD-Train is split into playing and learning."""
    steps = source.phase("train")
    rollout, learn = _total(steps, "seconds/rollout"), _total(steps, "seconds/learn")
    teach = _total(steps, "seconds/teach")
    found = [
        ("Warm start", float(source.warm_start.get("seconds") or 0.0) if source.warm_start else 0.0, "c-before"),
        ("CoD-Train: rollouts", rollout, "c-own"),
        ("CoD-Train: learning", learn, "c-oracle"),
        ("CoD-Train: teachers", teach, "c-shuffled"),
        ("CoD-Train: other", max(0.0, _total(steps, "seconds/step") - rollout - learn - teach), "c-none"),
        ("Evaluation", sum(result.seconds for result in source.evaluations.values()), "c-history"),
    ]
    total = sum(seconds for _, seconds, _ in found)
    return [TimeShare(name, seconds, seconds / total, css) for name, seconds, css in found if total and seconds >= 0.5]


def figures(source: Source) -> list[Figure]:
    """Throughput and token efficiency of CoD-Train, averaged over its steps."""
    steps = source.phase("train")
    found = [
        _mean(steps, "timing", "seconds/step", "Seconds per step", "one rollout of all packs, then learning", number),
        _mean(
            steps, "timing", "tokens_per_second/rollout", "Tokens per second, rollouts", "prompts and replies", number
        ),
        _mean(
            steps, "timing", "tokens_per_second/learn", "Tokens per second, learning", "forward and backward", number
        ),
        _mean(
            steps,
            "metrics",
            "tokens/useful_fraction",
            "Useful tokens in micro-batches",
            "the rest is padding; at least 85 % is the aim",
            percent,
        ),
        _mean(
            steps,
            "metrics",
            "tokens/per_turn_rows_ratio",
            "Tokens that one row per turn would forward",
            "times the tokens forwarded here, where an episode is one row whatever its turns",
            number,
        ),
        _mean(
            steps,
            "metrics",
            "engine/occupancy",
            "Batch occupancy of the engine",
            "mean share of the live trajectories that a forward pass serves",
            percent,
        ),
        _mean(
            steps,
            "metrics",
            "engine/cached_prompt_fraction",
            "Prompt tokens from the cache",
            "computed in an earlier turn, not again",
            percent,
        ),
    ]
    return [figure for figure in found if figure is not None]


def _mean(
    steps: Sequence[dict[str, Any]], part: str, metric: str, name: str, meaning: str, show: Callable[[float], str]
) -> Figure | None:
    values = [value for step in steps if (value := step.get(part, {}).get(metric)) is not None]
    return Figure(name, show(sum(values) / len(values)), meaning) if values else None


def _total(steps: Sequence[dict[str, Any]], timing: str) -> float:
    return float(sum(step.get("timing", {}).get(timing) or 0.0 for step in steps))


_STANDING = {
    "running": " and the run is still in progress",
    "finished": "",
    "failed": " and the run failed",
    "interrupted": " and the run was interrupted",
    "died": " and the run died",
}


def write_report(run: RunDirectory, out: Path | None = None) -> Path:
    """Write one self-contained HTML page about a run, finished or not.

    Args:
        run: The run.
        out: Where to write; `report.html` in the run by default.

    Returns:
        The page's path.

    Raises:
        UsageError: Manifest or config cannot be read.
        StageError: The page cannot be written.
    """
    path = out or run.path / "report.html"
    page = render(load(run))
    with atomic.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, page)
    return path


def render(source: Source) -> str:
    """The page as text."""
    return fill("page.html", _content(source))


def _content(source: Source) -> dict[str, Any]:
    found = families_of(source)
    return {
        "source": source,
        "manifest": source.manifest,
        "config": source.config,
        "worlds": found,
        "headline": _headline(source, found),
        "health_charts": curves.health(source.phase("train")),
        "time_parts": time_parts(source),
        "figures": figures(source),
        "command": shlex.join(source.manifest["command"]),
        "facts": _facts(source),
        "top": _top(source),
    }


def _top(source: Source) -> Top:
    manifest = source.manifest
    return top(
        f"started {moment(manifest['created'])}",
        f"step {_done(source)} of {source.config.train.steps}" if source.config.train.enabled else "",
        f"seed {source.config.seed}",
        version=manifest["codctl_version"],
        command=shlex.join(manifest["command"]),
        machine=manifest["machine"],
    )


def _done(source: Source) -> int:
    """Steps of CoD-Train so far."""
    steps = source.phase("train")
    return int(steps[-1]["step"]) if steps else 0


def _headline(source: Source, found: Sequence[FamilySection]) -> str:
    if not any(world.effect for world in found):
        return _no_headline(source)
    if len(found) == 1:
        return found[0].headline
    return findings.headline_of_parts({one.title: one.evaluations.after if one.effect else None for one in found})


def _no_headline(source: Source) -> str:
    total = source.config.train.steps
    standing = _STANDING.get(source.status, f" and the run is {source.status}")
    return f"Not evaluated yet: {_done(source)} of {total} training steps are done{standing}."


def _facts(source: Source) -> list[tuple[str, str]]:
    """How to repeat the run, and on what it ran."""
    manifest, machine = source.manifest, source.manifest["machine"]
    attempts = ", ".join(f"{attempt['number']}: {attempt['outcome']}" for attempt in source.attempts)
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    processor = f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, {machine.get('memory_gb', '?')} GB"
    config = source.config
    return [
        ("Recipe", manifest["recipe"]),
        ("Seed", str(config.seed)),
        ("Config digest", manifest["digest"]),
        ("World", _played(source)),
        ("Model", config.model.path or _built(source)),
        ("Started", manifest["created"]),
        ("Attempts", attempts or "none"),
        ("Machine", ", ".join([processor, *machine.get("gpus", [])])),
        ("System", f"{machine.get('system', '')}, Python {machine.get('python', '')}"),
        ("codctl", " ".join(filter(None, [manifest["codctl_version"], machine.get("commit", "")]))),
        ("Versions", versions),
    ]


def _played(source: Source) -> str:
    packs, found = f"packs of {source.config.world.length}", source.families
    if len(found) == 1:
        return f"{found[0].world.family}, {found[0].difficulty}, {packs}"
    weighted = [f"{one.world.family}, {one.difficulty}, weight {one.world.weight:g}" for one in found]
    return f"{packs}: {'; '.join(weighted)}"


def _built(source: Source) -> str:
    build = source.config.model.build
    return f"built here: {build.layers} layers, width {build.width}, {build.heads} heads"
