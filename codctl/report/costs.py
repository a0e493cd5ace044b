"""Where the time and the tokens went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codctl.quantities import number, percent
from codctl.report.source import Source


@dataclass(frozen=True)
class Part:
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


def time_parts(source: Source) -> list[Part]:
    """Seconds by stage, as far as they were measured; CoD-Train is split into playing and learning."""
    steps = source.phase("train")
    rollout, learn = _total(steps, "seconds/rollout"), _total(steps, "seconds/learn")
    found = [
        ("Warm start", float(source.warm_start.get("seconds") or 0.0) if source.warm_start else 0.0, "c-before"),
        ("CoD-Train: rollouts", rollout, "c-own"),
        ("CoD-Train: learning", learn, "c-oracle"),
        ("CoD-Train: other", max(0.0, _total(steps, "seconds/step") - rollout - learn), "c-none"),
        ("Evaluation", sum(result.seconds for result in source.evaluations.values()), "c-history"),
    ]
    total = sum(seconds for _, seconds, _ in found)
    return [Part(name, seconds, seconds / total, css) for name, seconds, css in found if total and seconds >= 0.5]


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


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _mean(
    steps: Sequence[dict[str, Any]], part: str, metric: str, name: str, meaning: str, show: Callable[[float], str]
) -> Figure | None:
    values = [value for step in steps if (value := step.get(part, {}).get(metric)) is not None]
    return Figure(name, show(sum(values) / len(values)), meaning) if values else None


def _total(steps: Sequence[dict[str, Any]], timing: str) -> float:
    return float(sum(step.get("timing", {}).get(timing) or 0.0 for step in steps))
