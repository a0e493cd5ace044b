"""What a recipe means for vLLM: the settings that decide correctness, and those of speed and memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.engines.vllm import cpu
from codctl.errors import PreflightError

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # of adapters
_ADAPTERS = 2  # the one in use and the one before it
_ADAPTER = "adapter_config.json"
_LISTED = 20  # log-probs at a place that vLLM gives by default, at most
# Tokens of a pass that gives scores: all their logits exist at once, which vLLM's profile of its memory does not know.
_SCORED = 2048


@dataclass(frozen=True)
class EngineSettings:
    """Of every replica.

    Attributes:
        model: Hugging Face folder of the full weights.
        adapter: PEFT folder that is served on top of it from the start.
        is_lora: Whether weights come as adapters.
        options: vLLM's own settings, by their names in its EngineArgs.
        environment: Variables of the processes that run the model.
        sleeps: Whether it gives its memory to the learner between rollouts.
        start_s: Longest wait for a start, or for new weights.
        deadline_s: Longest wait of the rollout for a reply.
        restarts: Without a reply in between.
        is_direct: Whether full weights come from the learner itself, where it can send them.
        on_gpus: Whether it has GPUs.
    """

    model: Path
    adapter: Path | None
    is_lora: bool
    options: dict[str, Any]
    environment: dict[str, str]
    sleeps: bool
    start_s: float
    deadline_s: float
    restarts: int
    is_direct: bool = False
    on_gpus: bool = True


def settings_of(
    config: Config,
    folder: Path,
    *,
    on_gpus: bool,
    base: Path | None = None,
    top: int | None = None,
    is_direct: bool = False,
) -> EngineSettings:
    """Read them from a recipe.

    Args:
        config: Recipe.
        folder: Model or adapter.
        on_gpus: Whether it gets GPUs.
        base: Folder of the full weights, where that is known.
        top: Of an engine that gives scores: how many of the likeliest tokens at most.
        is_direct: Whether full weights come from the learner itself.

    Raises:
        PreflightError: vLLM cannot serve this.
    """
    adapter = _adapter_config(folder)
    model = base or (Path(adapter["base_model_name_or_path"]) if adapter else folder)
    rank = int(adapter["r"]) if adapter else config.model.lora.rank
    on_cpu = not on_gpus and (config.model.device == "cpu" or not _has_gpu())
    sleeps = not on_cpu and config.engine.placement == "colocate"
    options: dict[str, Any] = {
        "model": str(model.resolve()),
        "dtype": config.model.dtype,
        "max_model_len": config.engine.max_tokens,
        "max_num_seqs": config.runtime.max_batch,
        "tensor_parallel_size": config.engine.tensor_parallel,
        "seed": config.seed % 2**31,
        "enable_prefix_caching": True,
        "generation_config": "vllm",  # else the folder's own top_k and temperature fill in
        "logprobs_mode": "processed_logprobs",  # else they are those at temperature 1
        **(_lora(rank) if rank else {}),
        **({"enable_sleep_mode": True} if sleeps else {}),
        **({"worker_extension_cls": "codctl.engines.vllm.worker.Extension"} if is_direct else {}),
    }
    environment = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if on_cpu:
        options |= cpu.options(_model_config(model), config.model.dtype, config.engine.max_tokens)
        environment |= cpu.environment(config.runtime.threads)
    else:
        options["gpu_memory_utilization"] = config.engine.memory
    if top is not None:
        options |= _of_scores(options, model, top, on_cpu=on_cpu)
    return EngineSettings(
        model=model,
        adapter=folder if adapter else None,
        is_lora=bool(rank),
        options={name: value for name, value in options.items() if value is not None},
        environment=environment,
        sleeps=sleeps,
        start_s=config.engine.start_s,
        deadline_s=config.sampling.deadline_s,
        restarts=config.engine.restarts,
        is_direct=is_direct,
        on_gpus=not on_cpu,
    )


def _of_scores(options: dict[str, Any], model: Path, top: int, *, on_cpu: bool) -> dict[str, Any]:
    """Other options of an engine that scores given tokens: it has to read each of them, whatever a cache holds."""
    longest, limit = options["max_model_len"], _model_config(model).get("max_position_embeddings")
    return {
        "enable_prefix_caching": False,
        "max_logprobs": max(_LISTED, top),
        "max_model_len": min(longest + 1, limit or longest + 1) if longest else None,  # one token is sampled after it
        **({} if on_cpu else {"max_num_batched_tokens": _SCORED}),
    }


def check_installed() -> None:
    """Refuse to start an engine of one's own where there is no vLLM."""
    if find_spec("vllm") is None:
        raise PreflightError(
            "engine.kind=vllm, but vllm is not installed",
            where="engine.kind",
            hint="pip install 'codctl[vllm]', or engine.servers=[URL], or engine.kind=transformers",
        )


def is_adapter(folder: Path) -> bool:
    return (folder / _ADAPTER).is_file()


def _lora(rank: int) -> dict[str, Any]:
    if rank > RANKS[-1]:
        raise PreflightError(
            f"vLLM serves adapters up to rank {RANKS[-1]}, not {rank}",
            where="model.lora.rank",
            hint=f"model.lora.rank={RANKS[-1]} or less, or engine.kind=transformers",
        )
    least = next(allowed for allowed in RANKS if allowed >= rank)
    return {"enable_lora": True, "max_lora_rank": least, "max_loras": _ADAPTERS, "max_cpu_loras": _ADAPTERS}


def _adapter_config(folder: Path) -> dict[str, Any]:
    return _read(folder / _ADAPTER) if is_adapter(folder) else {}


def _model_config(folder: Path) -> dict[str, Any]:
    return _read(folder / "config.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PreflightError(f"cannot be read: {error}", where=str(path), hint="give a Hugging Face folder") from error
    return found


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
