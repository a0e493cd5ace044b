"""Charts by position in the pack, from evaluations."""

from __future__ import annotations

from dataclasses import replace

from codctl.cod.arms import title_of
from codctl.quantities import number, position
from codctl.report.chart import Chart, Look, Point, Series
from codctl.report.source import EvaluationFolder

ARMS = {
    "own": ("own hints", Look("c-own", "", "circle")),
    "oracle": ("oracle", Look("c-oracle", "8 3", "diamond")),
    "history": ("history", Look("c-history", "2 3", "square")),
    "shuffled": ("shuffled", Look("c-shuffled", "8 3 2 3", "cross")),
    "none": ("no hints", Look("c-none", "4 3", "up")),
}
OTHER_ARM = Look("c-other", "1 3", "plus")
_BEFORE = Look("c-before", "5 3", "down")
_CEILINGS = {"bayes": Look("c-bayes", "2 4", "ring"), "informed": Look("c-informed", "1 4", "plus")}
POSITION = "position in the pack"
_SUCCESS = "success, share of packs"
_FACTS = "knowable facts stated correctly"


def before_and_after(before: EvaluationFolder | None, after: EvaluationFolder | None) -> Chart | None:
    """Own hints before and after training, under the ceilings."""
    series = []
    if source := after or before:
        series += _ceilings(source, ("informed", "bayes"))
    if before:
        series.append(Series("warm start", _points(before, "own", "success"), _BEFORE))
    if after:
        series.append(Series("CoD-trained", _points(after, "own", "success"), ARMS["own"][1]))
    return _by_position("success", "Success by position, before and after CoD-Train", _SUCCESS, series)


def summary(before: EvaluationFolder | None, after: EvaluationFolder | None) -> Chart | None:
    """The one picture for a talk: what training changed, whether the hints are the reason, and how much there is."""
    if after is None:
        return None
    series = _ceilings(after, ("bayes",))
    series = [replace(one, name="best possible (bayes)") for one in series]
    for arm, name in (("none", "no hints"), ("shuffled", "hints of other packs")):
        if arm in after.result["arms"]:
            series.append(Series(name, _points(after, arm, "success"), ARMS[arm][1]))
    if before:
        series.append(Series("own hints, before training", _points(before, "own", "success"), _BEFORE))
    series.append(Series("own hints, after training", _points(after, "own", "success"), ARMS["own"][1]))
    return _by_position("learning", "Learning on the job: success by position in the pack", _SUCCESS, series)


def by_arm(evaluation: EvaluationFolder | None, key: str, measure: str, title: str, y_label: str) -> Chart | None:
    """Every arm of one evaluation; the bayes ceiling when it is about success."""
    if evaluation is None:
        return None
    series = _ceilings(evaluation, ("bayes",)) if measure == "success" else []
    known = [arm for arm in ARMS if arm in evaluation.result["arms"]]
    for arm in [*known, *sorted(set(evaluation.result["arms"]) - set(ARMS))]:
        name, look = ARMS.get(arm, (title_of(arm), OTHER_ARM))
        series.append(Series(name, _points(evaluation, arm, measure), look))
    chart = _by_position(key, title, y_label, series)
    if chart is None or measure == "success":
        return chart
    return Chart(**{**vars(chart), "show": number})


def hint_correctness(before: EvaluationFolder | None, after: EvaluationFolder | None) -> Chart | None:
    """Share of the knowable facts that the hint in force states correctly."""
    series = []
    if before:
        series.append(Series("warm start", _points(before, "own", "hint_correctness"), _BEFORE))
    if after:
        series.append(Series("CoD-trained", _points(after, "own", "hint_correctness"), ARMS["own"][1]))
    return _by_position("hints", "How right the hints are, by position", _FACTS, series)


def longer(evaluation: EvaluationFolder | None, trained_length: int) -> list[Chart]:
    """Success and hints in packs longer than those of the training."""
    if evaluation is None:
        return []
    length = evaluation.result["length"]
    hints = [Series("own hints", _points(evaluation, "own", "hint_correctness"), ARMS["own"][1])]
    charts = (
        by_arm(evaluation, "long", "success", f"Success by position in packs of {length}", _SUCCESS),
        _by_position("long-hints", f"How right the hints are in packs of {length}", _FACTS, hints),
    )
    beyond = {"beyond": trained_length + 0.5, "beyond_label": "never trained"} if length > trained_length else {}
    return [Chart(**{**vars(chart), **beyond}) for chart in charts if chart is not None]


def _points(evaluation: EvaluationFolder, arm: str, measure: str) -> list[Point]:
    return [Point(position(int(p["position"])), p["mean"], p["low"], p["high"]) for p in evaluation.curve(arm, measure)]


def _ceilings(evaluation: EvaluationFolder, names: tuple[str, ...]) -> list[Series]:
    found = evaluation.result.get("ceilings", {})
    return [
        Series(name, [Point(position(i), y) for i, y in enumerate(found[name])], _CEILINGS[name])
        for name in names
        if name in found
    ]


def _by_position(key: str, title: str, y_label: str, series: list[Series]) -> Chart | None:
    drawn = [one for one in series if one.points]
    if not drawn:
        return None
    positions = sorted({point.x for one in drawn for point in one.points})
    return Chart(key, title, POSITION, y_label, drawn, x_ticks=positions)
