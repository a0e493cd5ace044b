"""What the keys and values of a real model take in the transformers engine, measured beside the plan.

    .venv/bin/python experiments/bench/engine_memory.py [--dtype bfloat16] [--most 8]

A model with the attention of Qwen3-0.6B or Qwen3-8B (layers, key-value heads, head size) and next to no weights answers
several prompts at once. Measured is the growth of the process's peak memory (VmHWM) when the engine answers the same
prompts for the second time, so that no library or kernel is loaded for the first, and after the C library has given
back what it keeps free. Planned is what `codctl train --dry-run` says of the KV cache and a forward pass. Passes are as
long as those of the model with its weights. Each case runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import machine_line, markdown

from codctl.cod.engine import RequestTag, Sampling
from codctl.config.schema import LoraConfig
from codctl.engines.budget import tokens_of_a_pass
from codctl.models.architectures import PUBLISHED, Architecture
from codctl.plan import engines
from codctl.plan.sizes import Model

CASES = ((1, 128, 16), (4, 128, 16), (4, 384, 16), (8, 384, 16))  # sequences, tokens of a prompt, tokens of a reply
MODELS = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B")
WIDTH, FFN, VOCAB = 64, 64, 512
BYTES = {"float32": 4, "bfloat16": 2}


def measure(name: str, dtype: str, sequences: int, prompt: int, reply: int) -> int:
    """Bytes by which the peak memory of this process grows while the engine answers."""
    import torch

    from codctl.engines.transformers_engine import TransformersEngine
    from codctl.models.load import use_attention

    torch.set_num_threads(1)
    model = _hollow(PUBLISHED[name].architecture).to(getattr(torch, dtype))
    use_attention(model, "auto", dtype)
    engine = TransformersEngine(model, pad_id=0, max_tokens=4096, max_batch=sequences)
    engine._pass_tokens = tokens_of_a_pass(PUBLISHED[name].architecture.parameters, "cpu")

    async def play(sequences: int, prompt: int, reply: int) -> None:
        tag = RequestTag("bench", 0, 0, 0, "solve")
        for _ in range(sequences):
            engine.open_session()
        asked = (
            engine.generate([2 + n + i % 300 for i in range(prompt)], Sampling(reply), seed=n, tag=tag)
            for n in range(sequences)
        )
        await asyncio.gather(*asked)
        for _ in range(sequences):
            engine.close_session()

    asyncio.run(play(sequences, prompt, reply))  # libraries allocate what they need
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    asyncio.run(play(sequences, prompt, reply))
    return _memory("VmHWM") - before


def planned(name: str, dtype: str, sequences: int, tokens: int) -> int:
    """Bytes by the plan's formula."""
    shape = PUBLISHED[name].architecture
    hollow = replace(shape, width=WIDTH, ffn=FFN, vocab=VOCAB)
    found = Model(name, hollow, 0, 0, LoraConfig().rank > 0, BYTES[dtype])
    most = tokens_of_a_pass(shape.parameters, "cpu")
    kept = engines.kv_bytes(found, sequences, tokens, tokens, "cpu")
    return kept + engines.pass_bytes(found, sequences, tokens, most, "cpu")


def _hollow(shape: Architecture) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=FFN, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, head_dim=shape.head_dim,
        max_position_embeddings=4096,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=list(BYTES), default="bfloat16")
    parser.add_argument("--most", type=int, default=8, help="most sequences at once")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        name, *numbers = chosen.case
        print(measure(name, chosen.dtype, *map(int, numbers)))
        return
    rows = []
    for name in MODELS:
        for sequences, prompt, reply in (case for case in CASES if case[0] <= chosen.most):
            case = [name, str(sequences), str(prompt), str(reply)]
            command = [sys.executable, __file__, "--dtype", chosen.dtype, "--case", *case]
            measured = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            plan, tokens = planned(name, chosen.dtype, sequences, prompt + reply), sequences * (prompt + reply)
            rows.append(
                [
                    name.partition("/")[2],
                    f"{sequences} × {prompt + reply}",
                    f"{measured / 1e6:,.0f} MB",
                    f"{plan / 1e6:,.0f} MB",
                    f"{measured / plan:.2f}",
                    f"{measured / tokens / 1e3:.0f} kB",
                ]
            )
    head = ["KV shape of", "sequences × tokens", "measured", "planned", "ratio", "a token"]
    print(f"{machine_line()}, {chosen.dtype}\n\n{markdown(head, rows)}")


if __name__ == "__main__":
    main()
