"""What sampling takes: the memory of engines, and how many sequences it holds. Bytes."""

from __future__ import annotations

from dataclasses import dataclass

from codctl.config.schema import Config
from codctl.stages.plan.lengths import Lengths
from codctl.stages.plan.memory import ENGINE, GIB, Part
from codctl.stages.plan.sizes import MASTER, Model

KV_SHARE = 0.7  # of what weights leave of a memory, for the transformers engine's keys and values
KV_SPARE = 1 / 16  # of them, allocated ahead (engines/kv_cache.py)
BLOCK = 16  # tokens (likewise)
_LORA_SLOTS = 2  # adapters that a vLLM engine holds: the one in use and the next


@dataclass(frozen=True)
class Room:
    """The KV cache of one engine.

    Attributes:
        bytes: On each of its GPUs.
        tokens: That fit; 0 when not even the weights do.
        context: Longest sequence it is asked for.
    """

    bytes: int
    tokens: int
    context: int

    @property
    def sequences(self) -> int:
        """Sequences of the longest kind that fit at the same time."""
        return self.tokens // self.context


def context_of(config: Config, model: Model) -> int:
    """Longest sequence: what the engine is limited to, else what the model reads."""
    return min(config.engine.max_tokens or model.shape.max_tokens, model.shape.max_tokens)


def vllm_parts(model: Model, config: Config, gpu_memory: int) -> tuple[list[Part], Room]:
    """One GPU of a vLLM engine: `engine.memory` of it, of which the KV cache gets what weights and work leave."""
    engine, context = config.engine, context_of(config, model)
    split = engine.tensor_parallel
    shown = f" ÷ {split} GPUs" if split > 1 else ""
    base, lora = (
        model.number * model.shape.parameters,
        model.number * model.trained * _LORA_SLOTS if model.adapter else 0,
    )
    weights = (base + lora) // split
    budget = round(engine.memory * gpu_memory)
    cache = max(0, budget - weights - ENGINE)
    of_token = model.kv_bytes // min(split, model.shape.kv_heads)
    room = Room(cache, cache // of_token, context)
    parts = [
        Part(
            "weights", weights, f"{model.shape.parameters:,} × {model.number} B{' and adapters' if lora else ''}{shown}"
        ),
        Part("engine", ENGINE, "assumed: CUDA context and graphs, one forward pass"),
        Part("KV cache", cache, f"the rest of {engine.memory:g} of the GPU: {room.tokens:,} tokens × {of_token:,} B"),
    ]
    return parts, room


def kv_limit(memory: int, resident: int) -> int:
    """Most bytes of keys and values that the transformers engine keeps; what needs more waits.

    Args:
        memory: Of the machine or GPU.
        resident: What lies in it anyway: weights, and the optimiser's moments where the model is trained.
    """
    return max(0, round(KV_SHARE * (memory - resident)))


def kv_bytes(model: Model, sequences: int, row: float, long_row: int) -> int:
    """Keys and values of live sequences in the transformers engine: blocks of tokens, and one layer read.

    Args:
        model: Of the recipe.
        sequences: That are alive.
        row: Tokens of a mean one.
        long_row: Of the longest one: a layer's rows are read side by side, as long as that.
    """
    tokens = sequences * -(-round(row) // BLOCK) * BLOCK
    groups = model.shape.heads // model.shape.kv_heads
    copies = 1 + (groups if groups > 1 else 0)  # as they are kept, and repeated for the heads that share them
    layer = model.kv_bytes // model.shape.layers
    return round(tokens * model.kv_bytes * (1 + KV_SPARE)) + sequences * long_row * layer * copies


def shared_parts(
    model: Model, config: Config, lengths: Lengths, *, own_copy: bool, limit: int = 0
) -> tuple[list[Part], Room]:
    """The transformers engine, beside the learner.

    Args:
        model: Of the recipe.
        config: Recipe.
        lengths: Tokens of a step.
        own_copy: Whether it has weights of its own.
        limit: See `kv_limit`; 0 when unknown.
    """
    sequences = min(config.runtime.max_batch, lengths.trajectories)
    cache = kv_bytes(model, sequences, lengths.row, lengths.long_row)
    formula = (
        f"{sequences} sequences × {lengths.row:,.0f} tokens × {model.kv_bytes:,} B + {KV_SPARE:.0%}, and one layer read"
    )
    if limit and cache > limit:
        cache, formula = limit, f"{formula}: {cache / GIB:.1f} GiB, of which as many wait as do not fit"
    parts = [Part("KV cache", cache, formula)]
    if own_copy:
        weights = model.number * model.shape.parameters
        parts.append(Part("weights, sampled with", weights, f"{model.shape.parameters:,} × {model.number} B"))
    return parts, Room(cache, cache // model.kv_bytes, lengths.long_row)


def sampling_logits(model: Model, config: Config, sequences: int) -> Part:
    """What a decoding step of the transformers engine computes for live sequences: log-probs, and sums in float64."""
    rows = min(config.runtime.max_batch, sequences)
    each = 2 * MASTER + 2 * 8
    return Part(
        "sampling", rows * model.shape.vocab * each, f"{rows} rows × {model.shape.vocab:,} vocabulary × {each} B"
    )
