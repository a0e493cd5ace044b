"""One table of what codctl's own learner and rollout are worth: ratios in one run, and what explains them.

make bench        (.venv/bin/python experiments/bench/speed.py [--rounds 3])
"""

from __future__ import annotations

import argparse

import learner
import logits
import rollouts
from machine import machine_line, markdown

Row = list[object]


def of_learner(results: list[learner.Result]) -> list[Row]:
    return [
        [
            f"learner step, {result.shape} rows",
            f"TRL's GRPOTrainer, {one.layout}",
            str(one.times),
            f"≥ {learner.TARGET:g}",
            "met" if one.times.median >= learner.TARGET else "MISSED",
            f"{one.forwarded:.2f} times the tokens read, {one.scored:.2f} times the logits; "
            f"{one.useful:.0%} of the tokens no padding, here {result.useful:.0%}; "
            f"{one.with_score} with TRL's scoring pass",
        ]
        for result in results
        for one in result.comparisons
    ]


def of_rollouts(spread: float, ways: list[rollouts.Way]) -> list[Row]:
    ours = ways[0]
    return [
        [
            f"trajectories/min, lengths spread {spread:g}",
            way.name,
            str(way.gain),
            f"≥ {rollouts.TARGET:g}" if spread else "",
            "" if not spread else "met" if way.gain.median >= rollouts.TARGET else "MISSED",
            f"{way.forwards / ours.forwards:.2f} times the forward passes ({ours.forwards} here), "
            f"{way.rows:.1f} rows each against {ours.rows:.1f}",
        ]
        for way in ways[1:]
    ]


def of_logits(peaks: logits.Peaks) -> list[Row]:
    small, _, none = logits.CHUNKS
    most = logits.BATCHES[-1]
    return [
        [
            f"peak memory, {most:,} sampled tokens",
            "no chunks",
            f"{peaks.mib[none, most] / peaks.mib[small, most]:.1f}",
            "no growth with the batch",
            "met" if peaks.growth(small) < 1.1 else "MISSED",
            f"4 times the batch takes {peaks.growth(small):.2f} times the memory in chunks of {small}, "
            f"{peaks.growth(none):.2f} times without",
        ]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(machine_line(), flush=True)
    rows = of_learner(learner.measure(["short", "long"], options.rounds))
    for spread in (0.0, rollouts.SPREAD):
        rows += of_rollouts(spread, rollouts.measure(spread, options.rounds))
    rows += of_logits(logits.measure())
    print(markdown(["codctl's", "against", "times as good (least–most)", "target", "", "because"], rows))


if __name__ == "__main__":
    main()
