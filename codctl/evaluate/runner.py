"""Plays every arm of an evaluation on the same held-out packs and sums it up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codctl.cod.rollout import Player, play_all
from codctl.cod.strategies import Strategy, draw_pack
from codctl.cod.trajectory import Trajectory
from codctl.config.evalspec import EvalSpec
from codctl.envs.base import Pack
from codctl.envs.registry import get_family
from codctl.evaluate.arms import hints_for
from codctl.evaluate.ceilings import ceilings
from codctl.evaluate.positions import row
from codctl.evaluate.statistics import bootstrap_by_pack
from codctl.evaluate.walkthrough import walkthrough

Report = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: the summary, one row per arm, seed, pack and position, and one pack told in full."""

    result: dict[str, Any]
    rows: list[dict[str, Any]]
    walkthrough: dict[str, Any]


def evaluate(player: Player, spec: EvalSpec, report: Report) -> Evaluation:
    """Play the arms of `spec`.

    Args:
        player: Model or policy with its engine; its `hints` and `seed` are replaced by each arm's.
        spec: What to play.
        report: Called with the arm, arms done, arms in all, and the newest means.
    """
    started = time.monotonic()
    packs = draw(spec)
    rows: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    # `shuffled` hands out what `own` wrote, so `own` is played whenever either is asked for.
    needed = ["own"] if {"own", "shuffled"} & set(spec.arms) else []
    order = [*needed, *(arm for arm in spec.arms if arm != "own")]
    for number, seed in enumerate(spec.seeds):
        own: list[Trajectory] = []
        for done, arm in enumerate(order):
            hints = hints_for(arm, spec.rendering, own)
            trajectories = asyncio.run(play_all(replace(player, hints=hints, seed=seed), packs, 1))
            if arm == "own":
                own = trajectories
                told = told or walkthrough(packs, own)
            if arm in spec.arms:
                found = [row(arm, seed, t.pack, e) for t in trajectories for e in t.of("solve")]
                rows.extend(found)
                report(arm, number * len(order) + done + 1, len(order) * len(spec.seeds), _means(found))
    result = {
        "suite": spec.suite,
        "packs": spec.packs,
        "length": spec.length,
        "seeds": list(spec.seeds),
        "family": spec.family,
        "preset": spec.preset,
        "rendering": spec.rendering,
        "ceilings": ceilings(packs, spec.seeds[0]),
        "arms": {arm: _summary([r for r in rows if r["arm"] == arm], spec) for arm in spec.arms},
        "resamples": spec.resamples,
        "failed_episodes": sum(1 for r in rows if r["failed"]),
        "seconds": round(time.monotonic() - started, 3),
    }
    return Evaluation(result, rows, told)


def draw(spec: EvalSpec) -> list[Pack]:
    """The packs of an evaluation, the same for every arm and every subject."""
    family = get_family(spec.family)
    foreign = get_family(spec.foreign_family) if spec.foreign_family else None
    strategy = Strategy(
        spec.strategy,
        drift_at=spec.drift_at,
        poison=spec.poison,
        foreign=(foreign, spec.foreign_preset or foreign.presets[0]) if foreign else None,
    )
    return [
        draw_pack(family, strategy, spec.split, index, spec.length, spec.preset, spec.variant)
        for index in range(spec.packs)
    ]


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for r in rows:
        if r["success"] is not None:
            found.setdefault(f"success/position_{r['position']}", []).append(r["success"])
    return {name: float(np.mean(values)) for name, values in found.items()}


def _summary(rows: Sequence[dict[str, Any]], spec: EvalSpec) -> dict[str, list[dict[str, float]]]:
    """Mean and 95 % interval by position; seeds are averaged within a pack, packs are resampled."""

    def correctness(r: dict[str, Any]) -> float | None:
        return r["hint_knowable_right"] / r["hint_knowable"] if r["hint_knowable"] else None

    hints = _curve(rows, spec, [correctness(r) for r in rows])
    return {
        "success": _curve(rows, spec, [r["success"] for r in rows]),
        "shaped_reward": _curve(rows, spec, [r["shaped_reward"] for r in rows]),
        "hint_correctness": [point for point in hints if point["position"] >= 1],
    }


def _curve(rows: Sequence[dict[str, Any]], spec: EvalSpec, values: Sequence[float | None]) -> list[dict[str, float]]:
    sums_PS, counts_PS = np.zeros((spec.packs, spec.length)), np.zeros((spec.packs, spec.length))
    pack_index = {pack: i for i, pack in enumerate(dict.fromkeys(r["pack"] for r in rows))}
    for r, value in zip(rows, values, strict=True):
        if value is not None:
            at = (pack_index[r["pack"]], r["position"])
            sums_PS[at] += value
            counts_PS[at] += 1
    with np.errstate(invalid="ignore"):
        values_PS: NDArray[np.float64] = sums_PS / counts_PS
    mean_S, low_S, high_S = bootstrap_by_pack(values_PS, seed=spec.seeds[0], resamples=spec.resamples)
    return [
        {"position": s, "mean": float(mean_S[s]), "low": float(low_S[s]), "high": float(high_S[s])}
        for s in range(spec.length)
        if not np.isnan(mean_S[s])
    ]
