"""What the page says about each family of worlds that a run trains on: numbers, charts and one pack told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from codctl.envs.registry import families
from codctl.quantities import percent, position, signed_points
from codctl.report import curves, effects, learning, story
from codctl.report.chart import Chart
from codctl.report.source import FamilyEvaluations, Source
from codctl.results import outcomes
from codctl.runs.eval_result import PartResult, Point, Walkthrough


@dataclass(frozen=True)
class Numbers:
    """The numbers behind curves by position: a row for each arm and each reference, None where nothing was played."""

    positions: list[int]
    rows: list[tuple[str, list[Point | None]]]
    ceilings: list[tuple[str, list[Point | None]]]


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
    effect: effects.Effect | None
    evaluations: FamilyEvaluations
    charts: dict[str, list[Chart]]

    @property
    def headline(self) -> str:
        if not self.effect or not self.evaluations.after:
            return "Not evaluated yet."
        found = [] if self.unread else [effects.headline(self.effect)]
        why = outcomes.sentences(self.evaluations.after)
        return " ".join([*found, *(f"{line[0].upper()}{line[1:]}." for line in why)])

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
        return effects.details(self.effect, effects.effect_of(before) if before else None)

    @property
    def last_task(self) -> str:
        return effects.ordinal(self.effect.positions - 1) if self.effect else ""

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
    def told(self) -> Walkthrough | None:
        return self.evaluations.walkthrough

    @cached_property
    def chapters(self) -> list[story.Chapter]:
        return story.chapters(self.told)


def of(source: Source) -> list[FamilySection]:
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
        effect=effects.effect_of(evaluations.after) if evaluations.after else None,
        evaluations=evaluations,
        charts=charts if is_one else {section: _under(key, drawn) for section, drawn in charts.items()},
    )


def _charts(source: Source, found: FamilyEvaluations, prefix: str) -> dict[str, list[Chart]]:
    """The charts of each section; `prefix` is what the family's metrics are called by in a mixture."""
    before, after, newest, long = found.before, found.after, found.newest, found.long
    title = "Success by position, by where the hints come from"
    return {
        "position": curves.present(
            curves.before_and_after(before, after), *([curves.by_arm("arms", title, after)] if after else [])
        ),
        "reward": curves.present(curves.rewards(newest)) if newest else [],
        "hint": [
            *curves.present(curves.hint_correctness(before, after)),
            *_over_steps(source, prefix, ["hints-time"]),
        ],
        "long": curves.longer(long, source.config.world.length) if long else [],
        "learning": _over_steps(source, prefix, ["train-success", "validation", "train-reward"]),
    }


_OVER_STEPS = {
    "hints-time": ("train", "hint_correctness", "How right the hints are, over training", "knowable facts stated"),
    "train-success": ("train", "success", "Success on training packs", "success, share of rollouts"),
    "validation": ("validation", "success", "Success on held-out packs", "success, share of packs"),
    "train-reward": ("train", "reward", "Shaped reward on training packs", "shaped reward (0 to 1)"),
}


def _over_steps(source: Source, prefix: str, keys: Sequence[str]) -> list[Chart]:
    wanted = ((key, *_OVER_STEPS[key]) for key in keys)
    charts = (
        learning.by_position(source.phase(phase), key, f"{prefix}{measure}", title, y_label)
        for key, phase, measure, title, y_label in wanted
    )
    return [chart for chart in charts if chart is not None]


def _tiles(after: PartResult | None, effect: effects.Effect | None) -> list[tuple[str, str, str]]:
    """The few numbers to remember: value, name, and what it is compared with."""
    if effect is None or after is None:
        return []
    last = position(effect.positions - 1)
    tiles = [
        (percent(effect.last.mean), f"success at position {last}", effects.interval(effect.last)),
        (signed_points(effect.gain.mean), f"points from position 1 to {last}", effects.signed_interval(effect.gain)),
    ]
    if effect.from_hints:
        over = effects.signed_interval(effect.from_hints)
        tiles.append((signed_points(effect.from_hints.mean), "points over no hints", over))
    if effect.share_of_ceiling is not None and effect.ceiling is not None:
        ceiling = f"bayes reaches {percent(effect.ceiling)}"
        tiles.append((percent(effect.share_of_ceiling), f"of the ceiling at position {last}", ceiling))
    if hints := after.arms["own"].hint_correctness:
        tiles.append((percent(hints[-1].mean), "of the knowable facts in its hints", effects.interval(hints[-1])))
    return tiles


def _numbers(part: PartResult | None) -> Numbers | None:
    if part is None:
        return None
    places = range(part.length)

    def row(curve: Sequence[Point]) -> list[Point | None]:
        points = {point.position: point for point in curve}
        return [points.get(place) for place in places]

    return Numbers(
        positions=[position(place) for place in places],
        rows=[(arm, row(curves.success)) for arm, curves in part.arms.items()],
        ceilings=[(name, row(curve)) for name, curve in part.ceiling_curves.items()],
    )


def _under(key: str, charts: Sequence[Chart]) -> list[Chart]:
    return [replace(chart, key=f"{key}-{chart.key}") for chart in charts]
