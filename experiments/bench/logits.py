"""Peak memory of a learner step at a vocabulary of 151,936: it follows `train.logprob_chunk`, not the batch.

    .venv/bin/python experiments/bench/logits.py

A Qwen3 of one thin layer makes whole optimiser steps on micro-batches of 256 to 1024 sampled tokens. Counted is the
largest sum of bytes of living tensors above those of model and optimiser, as torch's profiler sees it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from machine import machine_line, markdown

from codctl.config.schema import LossConfig, TrainConfig
from codctl.learner.batching import Sample
from codctl.learner.learner import Learner
from codctl.train.setup import prepare_process
from tests.learner.memory import peak_memory

VOCAB, WIDTH, ROW = 151_936, 16, 128
TARGET = 3.6  # times the growth without chunks, which is 4: in chunks at most a tenth
CHUNKS = (128, 512, 10**6)
BATCHES = (256, 512, 1024)
MIB = 1 << 20


@dataclass(frozen=True)
class Peaks:
    """MiB for each (chunk, batch), both in sampled tokens."""

    mib: dict[tuple[int, int], float]

    def growth(self, chunk: int) -> float:
        """How many times as much the largest batch takes as the smallest, which is a quarter of it."""
        return self.mib[chunk, BATCHES[-1]] / self.mib[chunk, BATCHES[0]]


def peak_mib(chunk: int, batch: int) -> float:
    """Of the second optimiser step on `batch` sampled tokens in one micro-batch."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=WIDTH,
        tie_word_embeddings=True,
    )
    loss = LossConfig(red=False)
    train = TrainConfig(logprob_chunk=chunk, micro_batch_tokens=10**6, loss=loss, lr=1e-6)
    learner = Learner(Qwen3ForCausalLM(config), train, pad_id=0, temperature=1.0, seed=0)
    learner.learn(_rows(1), 1)  # the optimiser's moments are there from now on
    with tempfile.TemporaryDirectory() as folder, peak_memory(Path(folder) / "trace.json") as found:
        learner.learn(_rows(batch // ROW), 2)
    return found[0] / MIB


def _rows(count: int) -> list[Sample]:
    rng = Random(0)
    rows = [[rng.randrange(1, VOCAB) for _ in range(ROW + 1)] for _ in range(count)]
    return [Sample(ids, [0, *[1] * ROW], [0.0, *[-11.9] * ROW], rng.choice((-1.0, 1.0))) for ids in rows]


def measure(chunks: Sequence[int] = CHUNKS, batches: Sequence[int] = BATCHES) -> Peaks:
    prepare_process(threads=1)
    torch.manual_seed(0)
    return Peaks({(chunk, batch): peak_mib(chunk, batch) for chunk in chunks for batch in batches})


def report(peaks: Peaks) -> str:
    rows = [
        [
            f"{chunk:,}" if chunk < max(BATCHES) * 10 else "no chunks",
            *(f"{peaks.mib[chunk, batch]:,.0f} MiB" for batch in BATCHES),
            f"{peaks.growth(chunk):.2f}",
        ]
        for chunk in CHUNKS
    ]
    headers = ["chunk", *(f"{batch:,} sampled tokens" for batch in BATCHES), f"{BATCHES[-1]} over {BATCHES[0]}"]
    return markdown(headers, rows)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(machine_line(), flush=True)
    print(report(measure()))


if __name__ == "__main__":
    main()
