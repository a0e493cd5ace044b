"""What vLLM needs on a CPU: its own defaults there fail, or give wrong results after an update of the weights."""

from __future__ import annotations

from typing import Any

_BLOCK = 32  # tokens that are cached together: the least there is; with the default of 128 no short prompt is cached
_BYTES = {"float32": 4, "bfloat16": 2}
_LEAST_CACHE, _MOST_CACHE = 64 << 20, 4 << 30
_BATCH = 8192  # prompt tokens that are read together
_SEQUENCES = 256  # that the cache has room for, where memory allows


def options(model: dict[str, Any], dtype: str, max_tokens: int | None) -> dict[str, Any]:
    """vLLM's settings.

    Args:
        model: The model's config.json.
        dtype: Of keys and values.
        max_tokens: Longest sequence; None for the model's own.
    """
    heads = int(model.get("num_attention_heads") or 1)
    head_dim = int(model.get("head_dim") or int(model.get("hidden_size") or 1) // heads)
    per_token = 2 * int(model.get("num_hidden_layers") or 1) * int(model.get("num_key_value_heads") or heads) * head_dim
    longest = max_tokens or int(model.get("max_position_embeddings") or 4096)
    wanted = per_token * _BYTES[dtype] * longest * _SEQUENCES
    return {
        "block_size": _BLOCK,
        "kv_cache_memory_bytes": min(max(wanted, _LEAST_CACHE), _MOST_CACHE),
        "enforce_eager": True,
        "enable_chunked_prefill": False,  # a seeded request whose prompt is cut in two ends the engine there
        "max_num_batched_tokens": max(longest, _BATCH),
        "worker_extension_cls": "codctl.engines.vllm.cpu_worker.Extension",
    }


def environment(threads: int) -> dict[str, str]:
    """Variables of the model's processes.

    One core is left to the server and the scheduler, since waiting threads spin. Compiling takes longer than a small
    model runs.
    """
    from codctl.runs.machine import usable_cores

    return {"OMP_NUM_THREADS": str(max(1, min(threads, usable_cores() - 1))), "TORCHDYNAMO_DISABLE": "1"}
