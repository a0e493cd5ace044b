"""From curves to charts: which colour an arm has, what its line is called, where ticks are; and lines over steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from codctl.quantities import Interval, number, percent, position
from codctl.report.arm_styles import ARMS, BEFORE, REFERENCES, look_of, name_of
from codctl.report.chart import Chart, Look, Point, Series
from codctl.runs.eval_result import Distractors, Measured, PartResult, hundredths

POSITION, ATTEMPT = "position in the pack", "attempt at the same task"
SUCCESS, SOLVED = "success, share of packs", "tasks solved at least once"
_FACTS = "knowable facts stated correctly"
_REWARD = "shaped reward"
RAW, SHARE = "mean reward", "(reward − random) / (informed − random)"
_MOST_TICKS = 8


class Place(Interval, Protocol):
    """A point of a curve, at a place as people count."""

    @property
    def place(self) -> int: ...


def line(name: str, curve: Iterable[Place], look: Look) -> Series:
    """A curve with its intervals."""
    return Series(name, [Point(at.place, at.mean, at.low, at.high) for at in curve], look)


def arm_lines(curves: Mapping[str, Sequence[Place]]) -> list[Series]:
    """The arms, own hints in front of the others."""
    known = [arm for arm in ARMS if arm in curves]
    arms = [*sorted(set(curves) - set(ARMS)), *reversed(known)]
    return [line(name_of(arm), curves[arm], look_of(arm)) for arm in arms]


def reference_lines(curves: Mapping[str, Sequence[Place]], names: Sequence[str] = tuple(REFERENCES)) -> list[Series]:
    """References, without intervals, which would cover those of the arms; the tables have both."""
    return [
        Series(name, [Point(at.place, at.mean) for at in curves[name]], REFERENCES[name])
        for name in names
        if name in curves
    ]


def chart(key: str, title: str, y_label: str, series: Sequence[Series], x_label: str = POSITION, **more: Any) -> Chart:
    """A chart with ticks at the places of its lines: all of a few, else every so many."""
    drawn = [one for one in series if one.points]
    places = sorted({point.x for one in drawn for point in one.points})
    ticks = places if len(places) <= _MOST_TICKS else places[:: -(-len(places) // _MOST_TICKS)]
    return Chart(key, title, x_label, y_label, drawn, x_ticks=ticks, **more)


def present(*charts: Chart) -> list[Chart]:
    """Those that have something to show."""
    return [one for one in charts if one.series]


def of_part(key: str, part: PartResult) -> list[Chart]:
    """All there is to draw about a part of a suite. `key` is unique in the page."""
    is_loop = part.solved_by_attempt is not None
    found = [_by_arm(f"{key}-success", "Success by attempt" if is_loop else "Success by position", part, part)]
    if part.solved_by_attempt is not None:
        found.append(_solved(f"{key}-solved", part, part.solved_by_attempt))
    if distractors := part.distractors:
        title = f"The distractor tasks in between ({' '.join(filter(None, (distractors.family, distractors.preset)))})"
        found.append(_by_arm(f"{key}-distractors", title, part, distractors))
    hints = {arm: curves.hint_correctness for arm, curves in part.arms.items() if arm != "none"}  # it has no hints
    rewards = {arm: curves.shaped_reward for arm, curves in part.arms.items()}
    more = _axis(part)
    found += graded(f"{key}-", part, **more)
    found.append(chart(f"{key}-hints", "How right the hints are", _FACTS, arm_lines(hints), **more))
    found += hint_details(f"{key}-", part, **more)
    found.append(_shaped(f"{key}-reward", "Shaped reward", rewards, **more))
    return present(*found)


def graded(prefix: str, found: Measured, **more: Any) -> list[Chart]:
    """Of a graded family: the mean reward, and its share of what knowing the world gains."""
    if found.graded is None:
        return []
    curves = found.graded.raw_reward
    rewards = [*reference_lines(curves), *arm_lines({arm: curves[arm] for arm in curves if arm not in REFERENCES})]
    shares = {arm: hundredths(curve) for arm, curve in found.graded.share.items()}
    shared = [*reference_lines(shares), *arm_lines({arm: shares[arm] for arm in shares if arm not in REFERENCES})]
    return [
        chart(f"{prefix}raw", "Mean reward", RAW, rewards, show=number, y_range=around(rewards), **more),
        chart(
            f"{prefix}share", "Share of what knowing the world gains", SHARE, shared, y_range=reach_of(shared), **more
        ),
    ]


def reach_of(series: Sequence[Series]) -> tuple[float, float]:
    """Ends of the y axis of shares that may be below 0 or above 1."""
    ends = [
        end for one in series for point in one.points for end in (point.y, point.low, point.high) if end is not None
    ]
    return min([0.0, *ends]), max([1.0, *ends])


def around(series: Sequence[Series]) -> tuple[float, float] | None:
    """Ends of the y axis around the lines: a world may reward everybody between 0.7 and 0.9."""
    values = [point.y for one in series for point in one.points]
    return (min(values), max(values)) if values and min(values) < max(values) else None


def hint_details(prefix: str, found: Measured, **more: Any) -> list[Chart]:
    """Further numbers about hints, a chart for each."""
    names = dict.fromkeys(name for details in found.hint_detail.values() for name in details)
    charts = []
    for number_, name in enumerate(names):
        lines = {arm: details[name] for arm, details in found.hint_detail.items() if name in details and arm != "none"}
        title = f"Hints: {name.replace('_', ' ')}"
        charts.append(
            chart(f"{prefix}detail{number_}", title, "mean", arm_lines(lines), show=number, y_range=None, **more)
        )
    return charts


def _shaped(key: str, title: str, rewards: Mapping[str, Sequence[Place]], **more: Any) -> Chart:
    is_share = all(0 <= point.mean <= 1 for curve in rewards.values() for point in curve)
    y_range, label = ((0.0, 1.0), f"{_REWARD} (0 to 1)") if is_share else (None, _REWARD)
    return chart(key, title, label, arm_lines(rewards), show=number, y_range=y_range, **more)


def _by_arm(key: str, title: str, part: PartResult, found: Measured | Distractors) -> Chart:
    arms = {arm: curves.success for arm, curves in found.arms.items()}
    series = [*reference_lines(found.ceiling_curves), *arm_lines(arms)]
    return chart(key, title, SUCCESS, series, **_axis(part))


def _axis(part: PartResult) -> dict[str, Any]:
    """What the x axis of a part's charts says."""
    more: dict[str, Any] = {"x_label": POSITION if part.solved_by_attempt is None else ATTEMPT}
    if part.drift_at is not None:
        more |= {"beyond": position(part.drift_at) - 0.5, "beyond_label": "the facts have changed"}
    return more


def _solved(key: str, part: PartResult, found: Mapping[str, Sequence[Place]]) -> Chart:
    arms = {name: curve for name, curve in found.items() if name in part.arms}
    series = [*reference_lines(found), *arm_lines(arms)]
    return chart(key, "Solved by attempt k", SOLVED, series, ATTEMPT)


def before_and_after(before: PartResult | None, after: PartResult | None) -> Chart:
    """Own hints before and after training, under the ceilings."""
    newest = after or before
    series = reference_lines(newest.ceiling_curves) if newest else []
    if before:
        series.append(line("warm start", before.success("own"), BEFORE))
    if after:
        series.append(line("CoD-trained", after.success("own"), look_of("own")))
    return chart("success", "Success by position, before and after CoD-Train", SUCCESS, series)


def learning_on_the_job(before: PartResult | None, after: PartResult) -> Chart:
    """The one picture for a talk: what training changed, whether the hints are the reason, and how much there is."""
    bayes = after.ceiling_curves.get("bayes", ())
    series = [Series("best possible (bayes)", [Point(at.place, at.mean) for at in bayes], REFERENCES["bayes"])]
    for arm, name in (("none", "no hints"), ("shuffled", "hints of other packs")):
        series.append(line(name, after.success(arm), look_of(arm)))
    if before:
        series.append(line("own hints, before training", before.success("own"), BEFORE))
    series.append(line("own hints, after training", after.success("own"), look_of("own")))
    return chart("learning", "Learning on the job: success by position in the pack", SUCCESS, series)


def by_arm(key: str, title: str, part: PartResult) -> Chart:
    """Success of every arm, under the bayes ceiling."""
    arms = {arm: curves.success for arm, curves in part.arms.items()}
    return chart(key, title, SUCCESS, [*reference_lines(part.ceiling_curves, ("bayes",)), *arm_lines(arms)])


def rewards(part: PartResult) -> Chart:
    """Shaped reward of every arm."""
    arms = {arm: curves.shaped_reward for arm, curves in part.arms.items()}
    return _shaped("reward", "Shaped reward by position", arms)


def hint_correctness(before: PartResult | None, after: PartResult | None) -> Chart:
    """Share of the knowable facts that the hint in force states correctly."""
    found = (("warm start", before, BEFORE), ("CoD-trained", after, look_of("own")))
    series = [
        line(name, part.arms["own"].hint_correctness, look) for name, part, look in found if part and "own" in part.arms
    ]
    return chart("hints", "How right the hints are, by position", _FACTS, series)


def longer(part: PartResult, trained_length: int) -> list[Chart]:
    """Success and hints in packs longer than those of the training."""
    beyond: dict[str, Any] = {}
    if part.length > trained_length:
        beyond = {"beyond": trained_length + 0.5, "beyond_label": "never trained"}
    own = part.arms["own"].hint_correctness if "own" in part.arms else ()
    arms = {arm: curves.success for arm, curves in part.arms.items()}
    series = [*reference_lines(part.ceiling_curves, ("bayes",)), *arm_lines(arms)]
    title = f"How right the hints are in packs of {part.length}"
    return present(
        chart("long", f"Success by position in packs of {part.length}", SUCCESS, series, **beyond),
        chart("long-hints", title, _FACTS, [line("own hints", own, look_of("own"))], **beyond),
    )


_STEP = "CoD-Train step"
_MOST_POSITIONS = 8
_DASHES = ("2 3", "6 3", "8 3 2 3", "")
_MARKERS = ("up", "square", "diamond", "circle")

# What tells a healthy run from a sick one: metric, title, unit, how a value is written.
_HEALTH: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("groups/without_signal", "Groups without signal", "share of (pack, position, kind) groups", percent),
    ("failures/format", "Unreadable replies", "share of solve episodes", percent),
    ("failures/update", "Malformed updates", "share of update episodes", percent),
    ("failures/cut", "Replies cut at their token limit", "share of episodes", percent),
    ("entropy", "Entropy", "nats per generated token", number),
    ("logprob_gap/mean", "Gap between sampling and training log-probs", "mean |difference|, nats", number),
    ("grad_norm", "Gradient norm", "before clipping", number),
    ("distill/kl", "Reverse KL to the teachers", "nats per sampled token", number),
    ("distill/far", "Tokens that teachers would hardly say", "share of sampled tokens", percent),
)


def by_position(records: Sequence[dict[str, Any]], key: str, measure: str, title: str, y_label: str) -> Chart | None:
    """One line per position over the steps: smoothed in front, raw values faint behind."""
    pattern = re.compile(re.escape(measure) + r"/position_(\d+)$")
    found = {match[1] for record in records for name in record["metrics"] if (match := pattern.match(name))}
    positions = evenly(sorted(map(int, found)), _MOST_POSITIONS)
    raw, smooth = [], []
    for rank, place in enumerate(positions):
        points = _points(records, f"{measure}/position_{place}")
        look = position_look(rank, len(positions))
        reach = max(1, len(points) // 15)
        if reach > 1:
            raw.append(Series("", points, look, faint=True))
        smooth.append(Series(f"position {position(place)}", _smoothed(points, reach), look))
    show = number if measure.endswith("reward") else percent
    values = [point.y for one in raw or smooth for point in one.points]
    y_range = (0.0, 1.0) if all(0 <= value <= 1 for value in values) else None
    return Chart(key, title, _STEP, y_label, [*raw, *smooth], y_range, show=show) if smooth else None


def health(records: Sequence[dict[str, Any]]) -> list[Chart]:
    """Small charts of what to look at first when a run goes wrong."""
    charts = []
    for place, (metric, title, y_label, show) in enumerate(_HEALTH):
        if points := _points(records, metric):
            line = Series("", points, Look("c-own"))
            share = (0.0, 1.0) if show is percent else None
            charts.append(Chart(f"health{place}", title, _STEP, y_label, [line], share, show=show))
    return charts


def _points(records: Sequence[dict[str, Any]], metric: str) -> list[Point]:
    return [Point(record["step"], value) for record in records if (value := record["metrics"].get(metric)) is not None]


def _smoothed(points: Sequence[Point], reach: int) -> list[Point]:
    """Moving mean over `reach` steps to either side, fewer at the ends; 1 leaves the points alone."""
    if reach <= 1:
        return list(points)
    smoothed = []
    for i, point in enumerate(points):
        near = points[max(0, i - reach) : i + reach + 1]
        smoothed.append(Point(point.x, sum(p.y for p in near) / len(near)))
    return smoothed


def position_look(rank: int, count: int) -> Look:
    """From the first position to the last, along the page's colour ramp; the last is a plain line."""
    shade = round(rank * 7 / max(count - 1, 1)) if count > 1 else 7
    back = count - 1 - rank
    return Look(f"r{shade}", _DASHES[-1 - back % 4], _MARKERS[-1 - back % 4])


def evenly(items: list[int], at_most: int) -> list[int]:
    """So many of them, from the first to the last."""
    if len(items) <= at_most:
        return items
    return [items[round(i * (len(items) - 1) / (at_most - 1))] for i in range(at_most)]
