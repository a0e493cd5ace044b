"""One self-contained page about a sweep or study: what it found, what is incomplete, and how to repeat it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from codctl.quantities import points as whole
from codctl.quantities import position
from codctl.quantities import signed_points as signed
from codctl.report.chart import Chart
from codctl.report.heat_map import HeatMap
from codctl.report.template import duration, fill, top
from codctl.runs.eval_result import Estimate
from codctl.sweeps import charts
from codctl.sweeps.charts import by_seed, incomplete
from codctl.sweeps.findings import CLAIMS, claim
from codctl.sweeps.study_result import Answer, Cell, StudyResult, TrialInfo

_MOST_CHARTS = 60  # of more, the table says it better
_FEW_SEEDS = 5
_HALF_WIDTH, _WIDTH = 570, 1200  # of a map that shares the row with another, and of one that has it to itself


def render(result: StudyResult) -> str:
    """The page as text."""
    maps = charts.maps(result) if result.is_matrix else []
    content = {
        "result": result,
        "answers": [_answer(one) for one in result.answers],
        "maps": maps,
        "map_width": _map_width(maps),
        "numbers": _numbers(result),
        "positions": _positions(result),
        "curves": _sections(result, charts.curves),
        "shares": _sections(result, charts.shares),
        "solved": _sections(result, charts.solved),
        "differences": _differences(result),
        "trials": _trials(result.trials),
        "labels": list(dict.fromkeys(key for trial in result.trials for key in trial.labels)),
        "seconds": duration(sum(trial.seconds for trial in result.trials)),
        "few_seeds": _few_seeds(result),
        "top": top(_training_seeds(result), version=result.codctl_version, command=result.command),
    }
    return fill("study.html", content)


def _map_width(maps: Sequence[HeatMap]) -> int:
    return _HALF_WIDTH if all(one.natural_width <= _HALF_WIDTH for one in maps) else _WIDTH


def _answer(one: Answer) -> dict[str, Any]:
    ends = list(dict.fromkeys(signed(gain) for gain in (min(one.gains), max(one.gains)))) if one.gains else []
    counts = {key: getattr(one, key) for key in ("improves", "nothing", "worsens", "unread")}
    otherwise = [f"{CLAIMS[key]} in {count}" for key, count in counts.items() if count]
    so_far = " so far" if one.incomplete and one.of else ""
    return {
        **asdict(one),
        "said": one.answer + so_far,
        "range": " to ".join(ends) or "–",
        "otherwise": "; ".join(otherwise),
    }


def _training_seeds(result: StudyResult) -> str:
    seeds = sorted({seed for cell in result.cells for seed in cell.seeds})
    return f"training seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}" if seeds else ""


def _few_seeds(result: StudyResult) -> str:
    """What few training seeds cannot say."""
    counts = {len(cell.seeds) for cell in result.cells if cell.state == "complete"}
    if not counts or min(counts) >= _FEW_SEEDS:
        return ""
    if counts == {1}:
        return "There is one training seed: the intervals say nothing about what another one would do."
    return "With so few training seeds an interval is itself uncertain: look at the seeds one by one."


def _numbers(result: StudyResult) -> list[dict[str, Any]]:
    """A line for each setting and evaluation that is part of it."""
    called = charts.names(result.evaluations)
    return [
        {
            "setting": cell.setting,
            "evaluation": ", ".join(called[cell.evaluation]),
            "incomplete": incomplete(cell),
            **(_line(cell) if cell.state == "complete" else {}),
        }
        for cell in result.cells
        if cell.state != "absent"
    ]


def _line(cell: Cell) -> dict[str, Any]:
    own, none, gain = cell.arms.get("own", ()), cell.last_success("none"), cell.gain.get("own")
    without, lead = cell.gain.get("none"), cell.own_less_none
    bayes = cell.references.get("bayes", ())
    return {
        "count": f"{len(cell.seeds)} × {cell.packs}",
        "failed": cell.failed_episodes,
        "first": _both(own[0], whole) if own else None,
        "last": _both(own[-1], whole) if own else None,
        "none": _both(none, whole) if none else None,
        "gain": _both(gain, signed) if gain else None,
        "seeds": by_seed(cell, gain, signed).lstrip(", ") if gain else "",
        "none_gain": _both(without, signed) if without else None,
        "lead": _both(lead, signed) if lead else None,
        "bayes": whole(bayes[-1].mean) if bayes else "",
        "claim": CLAIMS.get(claim(cell), ""),
    }


def _both(estimate: Estimate, show: Callable[[float], str]) -> tuple[str, str]:
    """Mean and interval."""
    return show(estimate.mean), f"{show(estimate.low)} to {show(estimate.high)}"


def _positions(result: StudyResult) -> dict[str, Any]:
    """The table of a plain sweep: settings down, success by position to the right."""
    places = sorted({point.position for cell in result.cells for point in cell.arms.get("own", ())})
    shown = places if len(places) <= 8 else [*places[:: -(-len(places) // 7)], places[-1]]
    shown = list(dict.fromkeys(shown))
    rows = []
    for cell in result.cells:
        if cell.state == "absent":
            continue
        points = {point.position: point for point in cell.arms.get("own", ())}
        gain = cell.gain.get("own")
        rows.append(
            {
                "setting": cell.setting,
                "evaluation": cell.evaluation,
                "seeds": f"{len(cell.seeds)} of {cell.of}",
                "incomplete": incomplete(cell),
                "points": [_both(points[place], whole) if place in points else None for place in shown],
                "gain": _both(gain, signed) if gain else None,
            }
        )
    return {"places": [position(place) for place in shown], "rows": rows, "several": len(result.evaluations) > 1}


def _sections(result: StudyResult, draw: Callable[[StudyResult, str], list[Chart]]) -> list[dict[str, Any]]:
    if len(result.main) * len(result.evaluations) > _MOST_CHARTS:
        return []
    found = [{"title": setting, "charts": draw(result, setting)} for setting in result.main]
    return [one for one in found if one["charts"]]


def _differences(result: StudyResult) -> list[dict[str, Any]]:
    called = charts.names(result.evaluations)
    return [
        {
            "setting": one.setting,
            "against": one.theirs,
            "evaluation": ", ".join(called[one.evaluation]),
            "gain": _both(one.gain, signed),
            "last": _both(one.last, signed),
            "is_sure": one.gain.is_sure,
        }
        for one in result.ablations.differences
    ]


def _trials(trials: Sequence[TrialInfo]) -> list[dict[str, Any]]:
    return [{**asdict(trial), "took": duration(trial.seconds) if trial.seconds else ""} for trial in trials]
