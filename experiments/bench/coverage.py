"""How often codctl's 95 % intervals hold the truth: `python experiments/bench/coverage.py [--draws N] [--seed N]`.

Every draw is an evaluation of packs whose truth is known. Prints Markdown. What is measured is
`codctl.results.statistics`, which makes every interval of tables, pages and studies.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codctl.results.statistics import Estimates, differences, shares

Floats = NDArray[np.float64]
_AT_ONCE = 1000  # draws in one array
_TRUTH_DRAWS = 2_000_000  # behind the mean success over all seeds and packs


@dataclass(frozen=True)
class Covered:
    """What a scenario came to."""

    name: str
    held: float
    width: float


def packs(rng: np.random.Generator, draws: int, count: int, rate: float) -> Covered:
    """One answer in each pack."""
    return _covered(
        f"P={count}, p={rate:g}",
        rate,
        draws,
        lambda size: shares([rng.random((count, size)) < rate]),
    )


def rollouts(rng: np.random.Generator, draws: int, count: int, episodes: int, spread: float) -> Covered:
    """The mean of several answers in each pack; packs differ by `spread` in log-odds."""

    def one(size: int) -> Floats:
        chance = _chance(1.0 + spread * rng.standard_normal((1, count, size)))
        found: Floats = (rng.random((episodes, count, size)) < chance).mean(axis=0)
        return found

    truth = _chance(1.0 + spread * rng.standard_normal(_TRUTH_DRAWS)).mean()
    return _covered(f"P={count}, {episodes} rollouts each", float(truth), draws, lambda size: shares([one(size)]))


def paired(rng: np.random.Generator, draws: int, count: int, up: float, down: float) -> Covered:
    """Last less first position: packs that gain, packs that lose, the rest alike."""

    def one(size: int) -> Floats:
        drawn = rng.random((count, size))
        return (drawn < up).astype(float) - (drawn > 1 - down)

    name = f"P={count}, {up:g} gain, {down:g} lose"
    return _covered(name, up - down, draws, lambda size: differences([one(size)]))


def seeds(
    rng: np.random.Generator, draws: int, training: int, count: int, level: float, between: float, within: float
) -> Covered:
    """Training seeds differ by `between` in log-odds, packs by `within`, and all seeds play the same packs."""

    def tables(size: int) -> list[Floats]:
        of_packs = within * rng.standard_normal((count, size))
        of_seeds = between * rng.standard_normal((training, 1, size))
        return [(rng.random((count, size)) < _chance(level + of_packs + one)).astype(float) for one in of_seeds]

    truth = _chance(level + np.hypot(between, within) * rng.standard_normal(_TRUTH_DRAWS)).mean()
    name = f"K={training}, P={count}, p={truth:.2f}, seeds differ by {between:g}"
    return _covered(name, float(truth), draws, lambda size: shares(tables(size)))


def scenarios(rng: np.random.Generator, draws: int) -> Iterator[tuple[str, list[Covered]]]:
    """All tables, by title."""
    rates, counts = (0.02, 0.5, 0.98), (20, 64, 500)
    yield "Shares over packs", [packs(rng, draws, count, rate) for count in counts for rate in rates]
    yield "Several rollouts in each pack", [rollouts(rng, draws, count, 4, 1.5) for count in counts]
    moves = ((0.5, 0.0), (0.48, 0.02), (0.25, 0.25), (0.02, 0.0))
    yield "Differences within packs", [paired(rng, draws, count, *move) for count in counts for move in moves]
    settings = ((0.0, 0.6), (3.0, 0.6), (0.0, 0.2), (3.0, 0.3), (0.0, 0.0))
    yield (
        "Training seeds (log-odds; packs differ by 1)",
        [
            seeds(rng, draws, training, count, level, between, 1.0)
            for training in (2, 3, 5)
            for count in (64, 500)
            for level, between in settings
        ],
    )


def _covered(name: str, truth: float, draws: int, estimate: Callable[[int], Estimates]) -> Covered:
    held = width = 0.0
    for start in range(0, draws, _AT_ONCE):
        found = estimate(min(_AT_ONCE, draws - start))
        held += float(((found.low_C <= truth + 1e-12) & (truth <= found.high_C + 1e-12)).sum())
        width += float((found.high_C - found.low_C).sum())
    return Covered(name, held / draws, width / draws)


def _chance(log_odds: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-log_odds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for title, rows in scenarios(np.random.default_rng(asked.seed), asked.draws):
        print(f"\n**{title}**\n\n| evaluation | holds the truth, % | mean width |\n|---|---|---|")
        for row in rows:
            print(f"| {row.name} | {100 * row.held:.1f} | {row.width:.3f} |")


if __name__ == "__main__":
    main()
