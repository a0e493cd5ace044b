"""What sampling takes: the memory of engines, and how many sequences it holds. Bytes."""

from __future__ import annotations

from dataclasses import dataclass

from codctl.config.schema import Config
from codctl.stages.plan.lengths import Lengths
from codctl.stages.plan.memory import ENGINE, Part
from codctl.stages.plan.sizes import MASTER, Model

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


def shared_parts(model: Model, config: Config, lengths: Lengths, *, own_copy: bool) -> tuple[list[Part], Room]:
    """The transformers engine, beside the learner: its KV cache has a slot for every sequence of a batch."""
    slots = config.runtime.max_batch
    reach = 1 << lengths.long_row.bit_length()
    layer = model.kv_bytes // model.shape.layers
    cache = slots * reach * (model.kv_bytes + layer)  # the layer in hand is copied once
    parts = [Part("KV cache", cache, f"{slots} slots × {reach:,} tokens × {model.kv_bytes:,} B, and one layer of it")]
    if own_copy:
        weights = model.number * model.shape.parameters
        parts.append(Part("weights, sampled with", weights, f"{model.shape.parameters:,} × {model.number} B"))
    return parts, Room(cache, slots * reach, reach)


def sampling_logits(model: Model, config: Config) -> Part:
    """What a decoding step of the transformers engine computes: log-probs, and their sums in float64."""
    rows = config.runtime.max_batch
    each = 2 * MASTER + 2 * 8
    return Part(
        "sampling", rows * model.shape.vocab * each, f"{rows} rows × {model.shape.vocab:,} vocabulary × {each} B"
    )
