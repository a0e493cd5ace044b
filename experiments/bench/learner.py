"""How long a learner step takes beside one of TRL's `GRPOTrainer`: same model, same rows, same machine, in turns.

    .venv/bin/python experiments/bench/learner.py [--rounds 5] [--rows short|long|FILE.parquet]

Both get the token budget `micro_batch_tokens`. TRL is given its rows in two ways: one row per episode, observations
masked out (what its own multi-turn loop makes), and one row per turn (what a trainer of single turns is fed). Neither
checkpoints activations, generates or computes rewards; TRL's padding is done before the clock starts. Printed are
ratios of the times of one round (median, and least to most over rounds) and the share of tokens that are no padding.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import Ratio, machine_line, markdown, ratio, taken_in_turns
from rows import by_turn, long_rows, on_policy, recorded_rows, short_rows, tiny_recipe, tiny_speaker
from trl_step import TrlStep

from codctl.config.schema import LossConfig, TrainConfig
from codctl.learner.batching import Sample
from codctl.learner.learner import Learner
from codctl.train.setup import Speaker, prepare_process

TARGETS = {"short": 2.9, "long": 2.0}  # times as fast
LR = 1e-6
SHORT_PACKS = 4  # a quarter of the recipe's, with a quarter of its token budget
BUDGETS = {"short": 2048, "long": 4096}


@dataclass(frozen=True)
class Comparison:
    """One way of giving TRL the rows.

    Attributes:
        layout: Which.
        times: Seconds of TRL's step over those of codctl's.
        with_score: The same with the forward pass that TRL adds when vLLM samples, which is its default then.
        forwarded: Tokens that TRL makes the model read, over codctl's.
        scored: Places whose logits TRL computes, over codctl's, which are those of the sampled tokens.
        useful: Share of TRL's tokens that are no padding.
        cosine: Between both gradients.
    """

    layout: str
    times: Ratio
    with_score: Ratio
    forwarded: float
    scored: float
    useful: float
    cosine: float


@dataclass(frozen=True)
class Result:
    shape: str
    rows: int
    tokens: int
    seconds: float
    useful: float
    comparisons: tuple[Comparison, ...]


def compare(shape: str, speaker: Speaker, rows: Sequence[Sample], *, budget: int, rounds: int) -> Result:
    """Time steps on these rows, which both see at every step anew."""
    learner, own = _learner(speaker, budget)
    ours = _gradient(own, learner, rows)
    metrics = learner.learn(rows, 1)
    layouts = {"a row per episode": list(rows), "a row per turn": by_turn(rows)}
    with tempfile.TemporaryDirectory() as work:
        theirs = {
            name: TrlStep(copy.deepcopy(speaker.model), speaker.tokenizer, found, budget=budget, lr=LR, work=Path(work))
            for name, found in layouts.items()
        }
        cosines = {name: _cosine(ours, _trl_gradient(trl)) for name, trl in theirs.items()}
        runs: dict[str, Any] = {"codctl": lambda: learner.learn(rows, 1)}
        for name, trl in theirs.items():
            runs |= {name: trl.step, f"{name}, score": trl.score}
        times = taken_in_turns(runs, rounds)
    forwarded = metrics["tokens/forwarded"]
    comparisons = []
    for name, trl in theirs.items():
        scored = [step + score for step, score in zip(times[name], times[f"{name}, score"], strict=True)]
        comparisons.append(
            Comparison(
                name,
                ratio(times[name], times["codctl"]),
                ratio(scored, times["codctl"]),
                trl.forwarded / forwarded,
                trl.scored / sum(row.loss_tokens for row in rows),
                sum(len(row.ids) for row in layouts[name]) / trl.forwarded,
                cosines[name],
            )
        )
    tokens = sum(len(row.ids) for row in rows)
    seconds = sorted(times["codctl"])[rounds // 2]
    return Result(shape, len(rows), tokens, seconds, metrics["tokens/useful_fraction"], tuple(comparisons))


def _learner(speaker: Speaker, budget: int) -> tuple[Learner, Any]:
    model = copy.deepcopy(speaker.model)
    loss = LossConfig(kind="grpo", clip=0.2, red=False, mean="token")
    config = TrainConfig(micro_batch_tokens=budget, lr=LR, loss=loss)
    return Learner(model, config, pad_id=speaker.tokenizer.pad_token_id, temperature=1.0, seed=0), model


def _gradient(model: Any, learner: Learner, rows: Sequence[Sample]) -> torch.Tensor:
    """The clipped gradient of a step that is not made."""
    found: list[torch.Tensor] = []
    step, learner.optimizer.step = learner.optimizer.step, lambda: found.append(_flat(model))
    learner.learn(rows, 1)
    learner.optimizer.step = step
    return found[0]


def _trl_gradient(trl: TrlStep) -> torch.Tensor:
    trl.gradients()
    gradient = _flat(trl.trainer.model)
    trl.trainer.model.zero_grad()
    return gradient


def _flat(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.grad is not None])


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


def measure(shapes: Sequence[str], rounds: int) -> list[Result]:
    prepare_process(threads=1)
    config = tiny_recipe("model.build.max_tokens=1024", "model.device=cpu")
    speaker = tiny_speaker(config)
    found = []
    for shape in shapes:
        if shape == "short":
            rows = on_policy(speaker.model, short_rows(config, speaker.chat, SHORT_PACKS))
        elif shape == "long":
            rows = on_policy(speaker.model, long_rows(len(speaker.tokenizer)))
        else:
            rows = on_policy(speaker.model, recorded_rows(Path(shape)))
        found.append(
            compare(shape, speaker, rows, budget=BUDGETS.get(shape, config.train.micro_batch_tokens), rounds=rounds)
        )
    return found


def report(results: Sequence[Result]) -> str:
    rows = [
        [
            r.shape,
            c.layout,
            str(c.times),
            str(c.with_score),
            f"{c.forwarded:.2f}",
            f"{c.scored:.2f}",
            f"{c.useful:.0%} / {r.useful:.0%}",
            f"{c.cosine:.6f}",
        ]
        for r in results
        for c in r.comparisons
    ]
    headers = [
        "rows",
        "TRL gets",
        "time TRL / codctl",
        "with its scoring pass",
        "tokens read",
        "logits",
        "useful",
        "cosine",
    ]
    return markdown(headers, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", action="append", help="short, long, or a run's rollouts (.parquet); repeatable")
    options = parser.parse_args()
    print(machine_line())
    results = measure(options.rows or ["short", "long"], options.rounds)
    for result in results:
        print(f"{result.shape}: {result.rows} rows, {result.tokens:,} tokens, {result.seconds:.2f} s a step of codctl")
    print(report(results))


if __name__ == "__main__":
    main()
