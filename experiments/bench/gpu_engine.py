"""How quickly the transformers engine samples on a GPU, by its fused path with and without CUDA graphs, and by `Flat`.

    python experiments/bench/gpu_engine.py [--model HuggingFaceTB/SmolLM2-135M-Instruct] [--seats 16 128]
    python experiments/bench/gpu_engine.py --device cpu --small --seats 4

Weights are random. Each seat asks three times, with a longer prompt each time, and gets replies of drawn lengths. Every
way must give replies of the same lengths; in bfloat16 some tokens differ. The first play of each way is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from machine import markdown

from codctl.cod.engine import RequestTag, Sampling, Weights
from codctl.engines.kv_cache import KvCache
from codctl.engines.readers import Flat, Fused, Reader
from codctl.engines.transformers_engine import TransformersEngine
from codctl.models.architectures import PUBLISHED
from codctl.models.build import config_of_shape, random_model
from codctl.train.setup import prepare_process

LONGEST = 1024
TURNS, PROMPT, REPLY = 3, 80, 60  # tokens: of a prompt, and of a mean reply
TAG = RequestTag("bench", 0, 0, 0, "solve")


class WithoutGraph(Fused):
    """Each kernel of a decoding step is launched by itself."""

    def step(self, *_: Any) -> None:
        """Nothing is replayed."""


WAYS: dict[str, Callable[[Any, None], Reader]] = {"graph": Fused, "no graph": WithoutGraph, "flat": Flat}


async def converse(engine: TransformersEngine, seat: int, words: int) -> list[int]:
    rng = Random(seat)
    ids = [rng.randrange(3, words) for _ in range(PROMPT)]
    sampled = []
    engine.open_session()
    for turn in range(TURNS):
        asked = Sampling(rng.randrange(REPLY // 2, 3 * REPLY // 2))
        reply = await engine.generate(ids, asked, seed=seat * TURNS + turn, tag=TAG)
        sampled += reply.token_ids
        ids = [*ids, *reply.token_ids, *(rng.randrange(3, words) for _ in range(PROMPT // 4))]
    engine.close_session()
    return sampled


async def play(engine: TransformersEngine, seats: int, words: int) -> list[list[int]]:
    await engine.update_weights(Weights(0))
    return list(await asyncio.gather(*(converse(engine, seat, words) for seat in range(seats))))


def measure(model: Any, words: int, seats: int) -> list[list[object]]:
    rows, first = [], None
    for name, way in WAYS.items():
        engine = TransformersEngine(model, pad_id=0, max_tokens=LONGEST, max_batch=seats)
        device = next(model.parameters()).device
        cache = KvCache(model.config.num_hidden_layers, LONGEST, device)
        engine._found = way(model, None), cache
        asyncio.run(play(engine, seats, words))
        began = time.perf_counter()
        replies = asyncio.run(play(engine, seats, words))
        wall = time.perf_counter() - began
        first = first or replies
        tokens = sum(map(len, replies))
        same = sum(a == b for one, other in zip(first, replies, strict=True) for a, b in zip(one, other, strict=True))
        passes = engine.stats.forwards
        rows.append(
            [seats, name, f"{tokens / wall:,.0f}", f"{wall / passes * 1e3:.2f}", passes, f"{same / tokens:.2f}"]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct", choices=list(PUBLISHED))
    parser.add_argument("--small", action="store_true", help="next to no weights, for a try on a CPU")
    parser.add_argument("--seats", type=int, nargs="+", default=[16, 128])
    chosen = parser.parse_args()
    prepare_process(threads=1)
    shape = PUBLISHED[chosen.model].architecture
    config = config_of_shape(shape, shape.vocab)
    if chosen.small:
        config.update({"num_hidden_layers": 2, "vocab_size": 512, "intermediate_size": 64})
    model = random_model(config, chosen.dtype, chosen.device, 0)
    rows = [row for seats in chosen.seats for row in measure(model, config.vocab_size, seats)]
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {chosen.model}, {chosen.dtype}\n")
    print(markdown(["seats", "way", "new tokens/s", "ms a pass", "passes", "as the first"], rows))


if __name__ == "__main__":
    main()
