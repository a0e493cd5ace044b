"""What `make bench-gpu` measures, each part in a process of its own: `python gpu_parts.py PART '{"device": …}'`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from gpu_meter import Meter
from gpu_pretrained import pretrained
from machine import ROOT
from rows import long_rows

from codctl.cod.engine import RequestTag, Sampling, Weights
from codctl.config.schema import Config
from codctl.engines.provider import Part
from codctl.engines.transformers_engine import TransformersEngine
from codctl.learner.batching import Sample
from codctl.learner.learner import Learner
from codctl.models.build import config_of_shape, random_model
from codctl.models.load import loaded_dtype, make_trainable
from codctl.plan import engines, lengths, memory, sizes
from codctl.plan.hardware import find_gpu
from codctl.plan.rates import rates_for
from codctl.plan.speed import flops_per_token
from codctl.train.setup import prepare_process

STEPS = 3
SMOL, SMOL_ROWS = "HuggingFaceTB/SmolLM2-135M-Instruct", 128
TINY_ON_CPU = (0.497, 0.881, 0.936, 0.957)  # experiments/tiny/README.md: own hints, three seeds
TINY_WITHIN = 0.05
_SMOKE = {"heads": 4, "kv_heads": 2, "head_dim": 16, "ffn": 128, "vocab": 512, "max_tokens": 1024}


def recipe(setting: dict[str, Any], *, lora: int, model: str = "", checkpointing: bool = True) -> Config:
    """Settings of one part: a published size with random weights, or a small one for a try."""
    if setting["layers"]:
        build = {"layers": setting["layers"], "width": setting["width"], **_SMOKE}
        about: dict[str, Any] = {"build": build, "dtype": "bfloat16"}
        tokens, chunk, rows = 256, 64, 4
    else:
        about = {"path": model or setting["model"], "init": "random", "dtype": "bfloat16"}
        tokens, chunk, rows = 16384, 4096, setting["rows"]
    return Config.model_validate(
        {
            "model": {
                **about,
                "device": setting["device"],
                "attention": setting["attention"],
                "lora": {"rank": lora},
            },
            "train": {
                "micro_batch_tokens": tokens,
                "logprob_chunk": chunk,
                "activation_checkpointing": checkpointing,
                "lr": 1e-6,
                "loss": {"red": False},
            },
            "runtime": {"max_batch": rows},
        }
    )


def rates(setting: dict[str, Any]) -> dict[str, Any]:
    """What this device reaches at best: a bfloat16 matrix product, and copying memory."""
    meter, size = Meter(setting["device"]), 8192 if setting["device"] == "cuda" else 512
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=setting["device"]) for _ in range(2))
    product_s = min(meter.seconds(lambda: left @ right, 10))
    source = torch.empty(32 * size * size, dtype=torch.uint8, device=setting["device"])
    copy_s = min(meter.seconds(source.clone, 10))
    found = {"tflops": 2 * size**3 / product_s / 1e12, "copy_gb_per_s": 2 * source.numel() / copy_s / 1e9}
    if setting["device"] == "cuda":
        host = torch.empty(source.numel(), dtype=torch.uint8, pin_memory=True)
        to_host_s = min(meter.seconds(lambda: host.copy_(source), 3))
        found["rates"] = {"to_host": source.numel() / to_host_s}
    return found


def build(config: Config) -> tuple[sizes.Model, Any]:
    """The model of a recipe as `load_trainable` makes it, with random weights and without a folder."""
    found = sizes.find_model(config)
    shape = config_of_shape(found.shape, found.shape.vocab)
    model = random_model(shape, loaded_dtype(config), config.model.device, 0)
    return found, make_trainable(model, config)


def learn(setting: dict[str, Any], config: Config) -> dict[str, Any]:
    """Optimiser steps on rows as long as an LLM's; memory beside the planner's, speed beside the peak.

    FLOP are those of the layers' matrices, once forward and back: attention, the output layer and what activation
    checkpointing computes again do not count as work done.
    """
    meter = Meter(setting["device"])
    model, module = build(config)
    rows = long_rows(model.shape.vocab, shrink=16)[:8] if setting["layers"] else long_rows(model.shape.vocab, shrink=1)
    dtype = getattr(torch, config.model.dtype)
    learner = Learner(module, config.train, pad_id=0, temperature=1.0, seed=0, dtype=dtype)
    times = meter.seconds(lambda: learner.learn(rows, 1), 1 if setting["layers"] else STEPS)
    tokens = sum(len(row.ids) for row in rows)
    per_s = tokens * len(times) / sum(times)
    useful = flops_per_token(model, checkpointing=False)
    made = flops_per_token(model, checkpointing=config.train.activation_checkpointing)
    planned = memory.learning(
        model, memory.Split(1, False, setting["device"]), config, lengths.measure(config, model.shape.max_tokens)
    )
    peak = setting.get("tflops")
    gpu = find_gpu(config.cluster) if setting["device"] == "cuda" else None
    sheet = gpu.flops / 1e12 if gpu else None
    share = _learning_flops(model, config, rows) / (sum(times) / len(times)) / gpu.flops if gpu else None
    return {
        "model": model.name,
        "parameters": model.shape.parameters,
        "trained": model.trained,
        "rows": len(rows),
        "tokens": tokens,
        "step_s": times,
        "tokens_per_s": per_s,
        "tflops": per_s * useful / 1e12,
        "tflops_with_recomputation": per_s * made / 1e12,
        "share_of_measured_peak": per_s * useful / 1e12 / peak if peak else None,
        "share_of_data_sheet": per_s * useful / 1e12 / sheet if sheet else None,
        "rates": {"learn_share": share} if share else {},
        **memory_beside(meter, planned),
        **meter.profile(lambda: learner.learn(rows[: max(4, len(rows) // 8)], 2)),
    }


def _learning_flops(model: sizes.Model, config: Config, rows: Sequence[Sample]) -> float:
    """All that a step computes, counted as the planner does for `learn_share`: see `plan/speed.py`."""
    per_token = flops_per_token(model, checkpointing=config.train.activation_checkpointing)
    attention = per_token / model.matrices * 2 * model.shape.layers * model.shape.heads * model.shape.head_dim
    layers = sum(len(row.ids) * (per_token + attention * len(row.ids) / 2) for row in rows)
    return layers + sum(row.loss_tokens for row in rows) * model.head * 8


def memory_beside(meter: Meter, planned: Sequence[Part]) -> dict[str, Any]:
    used, plan = meter.used_gib(), memory.total(planned) / memory.GIB
    return {
        "used_gib": used,
        "allocated_gib": meter.allocated_gib(),
        "planned_gib": plan,
        "plan_over_used": plan / used,
        "planned_parts_gib": {part.name: part.bytes / memory.GIB for part in planned},
    }


def lora(setting: dict[str, Any]) -> dict[str, Any]:
    return learn(setting, recipe(setting, lora=32))


def full(setting: dict[str, Any]) -> dict[str, Any]:
    """All weights, of the largest published size that the planner says fits: float32 masters take 16 bytes each."""
    for name in ("Qwen/Qwen3-8B", "Qwen/Qwen3-4B", "Qwen/Qwen3-1.7B", "Qwen/Qwen3-0.6B"):
        config = recipe(setting, lora=0, model=name)
        if setting["layers"] or _plan(setting, config) < 0.95 * torch.cuda.mem_get_info()[1]:
            break
    return learn(setting, config)


def _plan(setting: dict[str, Any], config: Config) -> int:
    model = sizes.find_model(config)
    row = lengths.measure(config, model.shape.max_tokens)
    return memory.total(memory.learning(model, memory.Split(1, False, setting["device"]), config, row))


def _smol(setting: dict[str, Any]) -> Config:
    return recipe(setting, lora=0, model=SMOL, checkpointing=False)


def smol_generate(setting: dict[str, Any]) -> dict[str, Any]:
    """As `generate`, SmolLM2-135M with random weights."""
    return generate({**setting, "rows": SMOL_ROWS}, _smol({**setting, "rows": SMOL_ROWS}))


def smol_learn(setting: dict[str, Any]) -> dict[str, Any]:
    """All weights of SmolLM2-135M, without activation checkpointing."""
    return learn(setting, _smol(setting))


def generate(setting: dict[str, Any], config: Config | None = None) -> dict[str, Any]:
    """Replies of one length by codctl's engine for `transformers`, all at once."""
    meter, config = Meter(setting["device"]), config or recipe(setting, lora=0)
    model = sizes.find_model(config)
    module = random_model(config_of_shape(model.shape, model.shape.vocab), config.model.dtype, config.model.device, 0)
    rows, (prompt, reply) = config.runtime.max_batch, _sequence(setting)
    engine = TransformersEngine(module, pad_id=0, max_tokens=model.shape.max_tokens, max_batch=rows)

    passes: dict[int, int] = {}  # by the length of the replies

    async def play(new: int) -> None:
        await engine.update_weights(Weights(0))
        tag = RequestTag("bench", 0, 0, 0, "solve")
        for _ in range(rows):
            engine.open_session()
        sampling = Sampling(new)
        calls = [engine.generate([1 + seed % 300] * prompt, sampling, seed=seed, tag=tag) for seed in range(rows)]
        await asyncio.gather(*calls)
        passes[new] = engine.stats.forwards
        for _ in range(rows):
            engine.close_session()

    whole = min(meter.seconds(lambda: asyncio.run(play(reply)), 2))
    first = min(meter.seconds(lambda: asyncio.run(play(1)), 2))
    own = replace(
        lengths.measure(config, prompt + reply), trajectories=rows, row=prompt + reply, long_row=prompt + reply
    )
    planned = [
        Part("weights", model.number * model.shape.parameters, ""),
        Part("context", memory.CONTEXT[setting["device"]], ""),
        *engines.shared_parts(model, config, own, setting["device"], own_copy=False)[0],
        *engines.pass_parts(model, config, own, setting["device"]),
    ]
    found = speeds(rows, prompt, reply, whole, first)
    return {
        "model": model.name,
        **found,
        "passes": passes[reply] - passes[1],
        "least_passes": reply - 1,
        "rates": _speaking_rates(setting, config, model, found, own_engine=True),
        **memory_beside(meter, planned),
        **meter.profile(lambda: asyncio.run(play(16))),
    }


def _speaking_rates(
    setting: dict[str, Any], config: Config, model: sizes.Model, found: dict[str, float], *, own_engine: bool
) -> dict[str, float]:
    """The planner's figures as measured: a decoding step less what the weights' bytes explain, and prompts."""
    if setting["device"] != "cuda":
        return {}
    gpu, assumed = find_gpu(config.cluster), rates_for(None)
    weights = model.number * model.shape.parameters / gpu.bandwidth / assumed["decode_share"]
    rest = found["ms_per_token"] / 1e3 - weights - found["rows"] * assumed["row_s"]
    step = {"layer_s": rest / model.shape.layers} if own_engine else {"step_s": rest}
    prefill = found["prompt_tokens_per_s"] * 2 * model.matrices / gpu.flops
    return {name: value for name, value in {**step, "prefill_share": prefill}.items() if value > 0}


def vllm(setting: dict[str, Any]) -> dict[str, Any]:
    """The same by vLLM, if it is installed: random weights of its own, no LoRA."""
    if importlib.util.find_spec("vllm") is None:
        return {"skipped": "vllm is not installed"}
    from vllm import LLM, SamplingParams

    config = recipe(setting, lora=0)
    shape, (prompt, reply) = sizes.find_model(config).shape, _sequence(setting)
    rows = config.runtime.max_batch
    with tempfile.TemporaryDirectory() as folder:
        described = config_of_shape(shape, shape.vocab)
        described.architectures = ["Qwen3ForCausalLM"]
        described.save_pretrained(folder)
        llm = LLM(
            folder, load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16", max_model_len=prompt + reply,
            max_num_seqs=rows, enable_prefix_caching=False, logprobs_mode="processed_logprobs",
        )  # fmt: skip
        prompts = [{"prompt_token_ids": [1 + seed % 300] * prompt} for seed in range(rows)]

        def play(new: int) -> None:
            sampling = SamplingParams(max_tokens=new, ignore_eos=True, detokenize=False, logprobs=0, seed=1)
            llm.generate(prompts, sampling, use_tqdm=False)

        meter = Meter(setting["device"])
        whole, first = (min(meter.seconds(lambda new=new: play(new), 2)) for new in (reply, 1))
    found = speeds(rows, prompt, reply, whole, first)
    rates = _speaking_rates(setting, config, sizes.find_model(config), found, own_engine=False)
    return {"model": setting["model"], **found, "rates": rates}


def speeds(rows: int, prompt: int, reply: int, whole_s: float, first_s: float) -> dict[str, float]:
    """Of prompts and replies: `whole_s` for the replies of all rows, `first_s` for their first tokens."""
    return {
        "rows": rows,
        "prompt": prompt,
        "reply": reply,
        "prompt_tokens_per_s": rows * prompt / first_s,
        "new_tokens_per_s": rows * (reply - 1) / (whole_s - first_s),
        "ms_per_token": (whole_s - first_s) / (reply - 1) * 1e3,
    }


def _sequence(setting: dict[str, Any]) -> tuple[int, int]:
    """Tokens of prompt and reply."""
    return (32, 8) if setting["layers"] else (512, 128)


def tiny(setting: dict[str, Any]) -> dict[str, Any]:
    """The tiny recipe on this device, beside what it reaches on a CPU."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "codctl.cli.main", "train", str(ROOT / "recipes/tiny.yaml"), "--json",
            "--runs-dir", folder, f"model.device={setting['device']}", "tracking.mlflow=false",
            "evaluation.arms=[own]", "evaluation.long_length=0", "evaluation.every=0", *setting["tiny"],
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    metrics = json.loads(done.stdout)["result"]["metrics"]
    own = metrics["after"]["own"]
    reached = all(a >= b - TINY_WITHIN for a, b in zip(own, TINY_ON_CPU, strict=False))
    return {"success_by_position": own, "on_cpu": TINY_ON_CPU, "reached": reached}


PARTS = {
    part.__name__: part for part in (rates, smol_generate, smol_learn, generate, lora, full, vllm, tiny, pretrained)
}


def main() -> None:
    name, setting = sys.argv[1], json.loads(sys.argv[2])
    prepare_process(threads=setting["threads"])
    print(json.dumps(PARTS[name](setting)))


if __name__ == "__main__":
    main()
