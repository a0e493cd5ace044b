"""Maps and curves of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from codctl.cod.strategies import stored_strategy
from codctl.quantities import counted
from codctl.quantities import points as whole
from codctl.quantities import signed_points as signed
from codctl.report.arm_styles import BEFORE, OTHER, REFERENCES, look_of, name_of
from codctl.report.chart import Chart, Point, Series
from codctl.report.curves import ATTEMPT, POSITION, SHARE, SOLVED, SUCCESS, chart, line, reach_of
from codctl.report.heat_map import HeatCell, HeatMap
from codctl.runs.eval_result import Estimate
from codctl.sweeps.study_result import Cell, Evaluation, SeedEstimate, StudyResult

_OTHERS = (BEFORE, OTHER, look_of("history"))  # ablations
_LEAST_SCALE = 0.1  # a gain of a few points shall not look like a large one


def incomplete(cell: Cell) -> str:
    """Why a cell has no mean; empty when it has one or there is nothing to come."""
    if cell.state == "unequal":
        return "the seeds were not played alike"
    return f"incomplete ({len(cell.seeds)} of {counted(cell.of, 'seed')})" if cell.state == "incomplete" else ""


def names(evaluations: Sequence[Evaluation]) -> dict[str, list[str]]:
    """For each evaluation its name in lines: what was asked, the family, the preset."""
    several = {
        one.source
        for one in evaluations
        for other in evaluations
        if one.source == other.source and one.entry != other.entry
    }
    found = {}
    for one in evaluations:
        asked = f"{one.source}, {one.entry}" if one.source in several else one.source
        preset = " ".join(filter(None, (one.preset, one.variant)))
        found[one.key] = list(filter(None, (asked, one.family, preset)))
    return found


def maps(result: StudyResult) -> list[HeatMap]:
    """Gain, and success at the last position, of every setting in every evaluation."""
    gains = [abs(cell.gain["own"].mean) for cell in result.cells if "own" in cell.gain]
    scale = max([_LEAST_SCALE, *gains])
    return [
        _map(result, "gain", "Gain within a pack, percentage points", lambda cell: _gain(cell, scale)),
        _map(result, "last", "Success at the last position, %", _last),
    ]


def _map(result: StudyResult, key: str, title: str, draw: Callable[[Cell], HeatCell]) -> HeatMap:
    cells, called = result.by_place, names(result.evaluations)
    evaluations = [one.key for one in result.evaluations]

    def one(setting: str, evaluation: str) -> HeatCell:
        cell = cells[setting, evaluation]
        where = f"{setting} → {' '.join(called[evaluation])}"
        if cell.state == "absent":
            return HeatCell("–", tip=f"{where}: not part of this study")
        if why := incomplete(cell):
            text = f"{len(cell.seeds)} of {cell.of}" if cell.state == "incomplete" else "unequal"
            return HeatCell(text, tip=f"{where}: {why}", is_open=True)
        found = draw(cell)
        return HeatCell(found.text, found.strength, f"{where}: {found.tip}", found.is_sure)

    settings = [setting.title for setting in result.settings]
    return HeatMap(
        f"map-{key}",
        title,
        f"{title}: {counted(len(settings), 'setting')} down, {counted(len(evaluations), 'evaluation')} to the right.",
        [title.split(", ") for title in settings],
        [called[evaluation] for evaluation in evaluations],
        [[one(setting, evaluation) for evaluation in evaluations] for setting in settings],
    )


def _gain(cell: Cell, scale: float) -> HeatCell:
    gain = cell.gain.get("own")
    if gain is None:
        return HeatCell("–", tip="no gain was measured")
    none = cell.gain.get("none")
    without = f"; without hints {signed(none.mean)}" if none else ""
    tip = f"{between(gain, signed)} points{by_seed(cell, gain, signed)}{without}"
    return HeatCell(signed(gain.mean), gain.mean / scale, tip, gain.is_sure)


def _last(cell: Cell) -> HeatCell:
    own = cell.last_success()
    if own is None:
        return HeatCell("–", tip="own hints were not played")
    none = cell.last_success("none")
    without = f"; without hints {whole(none.mean)}" if none else ""
    lead = cell.own_less_none
    tip = f"{between(own, whole)} %{by_seed(cell, own, whole)}{without}"
    return HeatCell(whole(own.mean), own.mean, tip, bool(lead and lead.is_sure))


def between(estimate: Estimate, show: Callable[[float], str]) -> str:
    return f"{show(estimate.mean)} (95 % interval {show(estimate.low)} to {show(estimate.high)})"


def by_seed(cell: Cell, estimate: SeedEstimate, show: Callable[[float], str]) -> str:
    """Each seed's own number; empty when there is only one."""
    if len(cell.seeds) < 2:
        return ""
    pairs = zip(cell.seeds, estimate.by_seed, strict=True)
    return ", " + ", ".join(f"seed {seed}: {show(value)}" for seed, value in pairs)


def curves(result: StudyResult, setting: str) -> list[Chart]:
    """Success by position of one setting and of its ablations: a chart for each evaluation that is complete."""
    return _charts(result, setting, "curve", is_solved=False)


def solved(result: StudyResult, setting: str) -> list[Chart]:
    """Tasks of Ralph loops solved at least once by attempt k."""
    return _charts(result, setting, "solved", is_solved=True)


def shares(result: StudyResult, setting: str) -> list[Chart]:
    """Of graded families: the share of what knowing the world gains, by position."""
    cells, called = result.by_place, names(result.evaluations)
    place = [one.title for one in result.settings].index(setting)
    looks = {"bayes": REFERENCES["bayes"], "none": look_of("none"), "own": look_of("own")}
    found = []
    for number, evaluation in enumerate(result.evaluations):
        graded = cells[setting, evaluation.key].graded
        told = graded.share if graded else {}
        series = [line(name_of(arm), told[arm], look) for arm, look in looks.items() if told.get(arm)]
        if series:
            asked, *world = called[evaluation.key]
            title = f"{asked}: {' '.join(world)}" if world else asked
            found.append(chart(f"share{place}-{number}", title, SHARE, series, y_range=reach_of(series)))
    return found


def _charts(result: StudyResult, setting: str, key: str, *, is_solved: bool) -> list[Chart]:
    cells, called = result.by_place, names(result.evaluations)
    place = [one.title for one in result.settings].index(setting)
    found = []
    for number, evaluation in enumerate(result.evaluations):
        cell, is_ralph = cells[setting, evaluation.key], stored_strategy(evaluation.strategy or "").kind == "loop"
        if cell.state != "complete" or (is_solved and not is_ralph):
            continue
        others = {
            name: cells[other, evaluation.key]
            for other, name in _ablations(result, setting).items()
            if cells[other, evaluation.key].state == "complete"
        }
        series = _series(cell, others, is_solved=is_solved)
        if series:
            asked, *world = called[evaluation.key]
            title = f"{asked}: {' '.join(world)}" if world else asked
            y_label, x_label = SOLVED if is_solved else SUCCESS, ATTEMPT if is_ralph else POSITION
            found.append(chart(f"{key}{place}-{number}", title, y_label, series, x_label))
    return found


def _series(cell: Cell, others: Mapping[str, Cell], *, is_solved: bool) -> list[Series]:
    def points(one: Cell, name: str) -> list[Point]:
        curves = one.solved_by_attempt or {} if is_solved else one.arms | one.references
        return [Point(p.place, p.mean, p.low, p.high) for p in curves.get(name, ())]

    found = [Series("bayes", [Point(p.x, p.y) for p in points(cell, "bayes")], REFERENCES["bayes"])]
    found.append(Series("no hints", points(cell, "none"), look_of("none")))
    found += [
        Series(f"own, {name}", points(other, "own"), look)
        for (name, other), look in zip(others.items(), _OTHERS, strict=False)
    ]
    found.append(Series("own hints", points(cell, "own"), look_of("own")))
    return [one for one in found if one.points]


def _ablations(result: StudyResult, setting: str) -> dict[str, str]:
    """Titles of the settings that differ from this one in their ablation alone, with the ablation's name."""

    def common(labels: Mapping[str, object]) -> Sequence[tuple[str, object]]:
        return [(key, value) for key, value in labels.items() if key != "ablation"]

    mine = next(one.labels for one in result.settings if one.title == setting)
    return {
        one.title: str(one.labels["ablation"])
        for one in result.settings
        if one.title != setting and "ablation" in one.labels and common(one.labels) == common(mine)
    }
