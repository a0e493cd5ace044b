"""What the page says about each family of worlds that a run trains on: numbers, charts and one pack told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from codctl.envs.registry import families
from codctl.quantities import percent, position, signed_points
from codctl.report import curves, effects, learning, story
from codctl.report.chart import Chart
from codctl.report.source import EvaluationFolder, FamilyEvaluations, Source
from codctl.results import outcomes


@dataclass(frozen=True)
class World:
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
        if not self.effect:
            return "Not evaluated yet."
        said = [] if self.unread else [effects.headline(self.effect)]
        return " ".join([*said, *(f"{line[0].upper()}{line[1:]}." for line in outcomes.sentences(self._after))])

    @property
    def _after(self) -> dict[str, Any]:
        return self.evaluations.after.result if self.evaluations.after else {}

    @property
    def unread(self) -> str:
        """What is to be said instead of an effect, where most replies could not be read."""
        return outcomes.unread(self._after)

    @property
    def ended(self) -> list[outcomes.Table]:
        newest = self.evaluations.newest
        return outcomes.tables(newest.result) if newest else []

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
    def table(self) -> dict[str, Any]:
        return _table(self.evaluations.newest)

    @property
    def long_table(self) -> dict[str, Any]:
        return _table(self.evaluations.long)

    @property
    def told(self) -> dict[str, Any]:
        newest = self.evaluations.newest
        return newest.walkthrough if newest else {}

    @cached_property
    def chapters(self) -> list[story.Chapter]:
        return story.chapters(self.told)


def of(source: Source) -> list[World]:
    """The families of a run, in the order of its recipe."""
    return [_world(source, number) for number in range(len(source.families))]


def _world(source: Source, number: int) -> World:
    evaluations = source.families[number]
    part, is_one = evaluations.part, len(source.families) == 1
    share = part.weight / sum(family.part.weight for family in source.families)
    known = families().get(part.family)  # a family of another package may be gone by now
    title, _, about = known.title.partition(": ") if known else (part.family, "", "")
    key = f"family{number}"
    charts = _charts(source, evaluations, "" if is_one else f"{part.family}/")
    described = [about[:1].upper() + about[1:], evaluations.difficulty, f"{percent(share)} of the packs"]
    return World(
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
    steps = source.phase("train")
    return {
        "position": _present(
            curves.before_and_after(found.before, found.after),
            curves.by_arm(
                found.after,
                "arms",
                "success",
                "Success by position, by where the hints come from",
                "success, share of packs",
            ),
        ),
        "reward": _present(
            curves.by_arm(
                found.newest, "reward", "shaped_reward", "Shaped reward by position", "shaped reward (0 to 1)"
            )
        ),
        "hint": _present(
            curves.hint_correctness(found.before, found.after),
            learning.by_position(
                steps,
                "hints-time",
                f"{prefix}hint_correctness",
                "How right the hints are, over training",
                "knowable facts stated",
            ),
        ),
        "long": curves.longer(found.long, source.config.world.length),
        "learning": _present(
            learning.by_position(
                steps, "train-success", f"{prefix}success", "Success on training packs", "success, share of rollouts"
            ),
            learning.by_position(
                source.phase("validation"),
                "validation",
                f"{prefix}success",
                "Success on held-out packs",
                "success, share of packs",
            ),
            learning.by_position(
                steps, "train-reward", f"{prefix}reward", "Shaped reward on training packs", "shaped reward (0 to 1)"
            ),
        ),
    }


def _tiles(after: EvaluationFolder | None, effect: effects.Effect | None) -> list[tuple[str, str, str]]:
    """The few numbers to remember: value, name, and what it is compared with."""
    if effect is None or after is None:
        return []
    last = position(effect.positions - 1)
    tiles = [
        (effect.last.share(), f"success at position {last}", effect.last.interval()),
        (signed_points(effect.gain.mean), f"points from position 1 to {last}", effect.gain.signed_interval()),
    ]
    if effect.from_hints:
        over = effect.from_hints.signed_interval()
        tiles.append((signed_points(effect.from_hints.mean), "points over no hints", over))
    if effect.share_of_ceiling is not None and effect.ceiling is not None:
        ceiling = f"bayes reaches {percent(effect.ceiling)}"
        tiles.append((percent(effect.share_of_ceiling), f"of the ceiling at position {last}", ceiling))
    if hints := after.curve("own", "hint_correctness"):
        point = hints[-1]
        interval = effects.Estimate(point["mean"], point["low"], point["high"]).interval()
        tiles.append((percent(point["mean"]), "of the knowable facts in its hints", interval))
    return tiles


def _table(evaluation: EvaluationFolder | None) -> dict[str, Any]:
    """The numbers behind the position curves."""
    if evaluation is None:
        return {}
    rows = []
    for arm in evaluation.result["arms"]:
        points = {point["position"]: point for point in evaluation.curve(arm, "success")}
        rows.append((arm, [points.get(i) for i in range(evaluation.result["length"])]))
    ceilings = evaluation.result.get("ceilings", {})
    return {"positions": [position(i) for i in range(evaluation.result["length"])], "rows": rows, "ceilings": ceilings}


def _under(key: str, charts: Sequence[Chart]) -> list[Chart]:
    return [replace(chart, key=f"{key}-{chart.key}") for chart in charts]


def _present(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]
