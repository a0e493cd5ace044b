"""What the transformers engine takes, and how many sequences it holds; others say so themselves. Bytes."""

from __future__ import annotations

from codctl.config.schema import Config
from codctl.engines.budget import BLOCK, blocks_for, blocks_resident, tokens_of_a_pass
from codctl.engines.provider import KvSpace, ModelSize, Part
from codctl.plan.lengths import Lengths
from codctl.plan.memory import GIB
from codctl.plan.sizes import MASTER, Model
from codctl.quantities import counted

_SCORE = 2 * MASTER + 2  # bytes of one in models/attention.py: float32, softmax, and that in bfloat16


def context_of(config: Config, model: Model) -> int:
    """Longest sequence: what the engine is limited to, else what the model reads."""
    return min(config.engine.max_tokens or model.shape.max_tokens, model.shape.max_tokens)


def model_size(config: Config, model: Model) -> ModelSize:
    """The model as an engine beside the learner holds it."""
    shape, adapter = model.shape, model.trained if model.adapter else 0
    return ModelSize(shape.parameters, model.number, adapter, model.kv_bytes, shape.kv_heads, context_of(config, model))


def kv_bytes(model: Model, sequences: int, row: float, device: str) -> int:
    """Keys and values of live sequences in the transformers engine, in blocks of tokens.

    Args:
        model: Of the recipe.
        sequences: That are alive.
        row: Tokens of a mean one.
        device: cpu or cuda.
    """
    return blocks_resident(sequences * blocks_for(round(row)), device) * BLOCK * model.kv_bytes


def pass_bytes(model: Model, sequences: int, long_row: int, most: int, device: str) -> int:
    """What a forward pass of the transformers engine holds at its peak, in one layer, beside keys and values.

    A pass is a decoding step of all sequences, or reads new tokens of prompts. Both read the keys and values of all
    sequences side by side, as long as the longest one.

    Args:
        model: Of the recipe.
        sequences: That are alive.
        long_row: Tokens of the longest one.
        most: Prompt tokens of a pass.
        device: cpu or cuda.
    """
    shape, number = model.shape, model.number
    groups = shape.heads // shape.kv_heads
    by_products = device == "cpu" and number < MASTER  # models/attention.py: eager_attention
    layer, queries = model.kv_bytes // shape.layers, shape.heads * shape.head_dim
    kept = sequences * long_row * layer  # as they are kept, side by side
    decoding = kept * 3 // 2 if by_products else kept  # the keys, or the values, once more for the product at hand
    if not by_products and groups > 1:
        decoding = kept = kept * (1 + groups)  # repeated for the heads that share them
    tokens = min(most, sequences * long_row)
    scores = long_row * shape.heads * _SCORE if by_products else 0
    outputs = 0 if by_products else queries * number
    attending = kept + tokens * (queries * number + layer + outputs + scores)
    norming = tokens * queries * (number + 2 * MASTER)
    feeding = tokens * 3 * shape.ffn * number
    around = tokens * 2 * shape.width * number  # the stream and what was normed
    return around + max(decoding, attending, norming, feeding)


def shared_parts(
    model: Model, config: Config, lengths: Lengths, device: str, *, own_copy: bool, limit: int = 0
) -> tuple[list[Part], KvSpace]:
    """The transformers engine, beside the learner.

    Args:
        model: Of the recipe.
        config: Recipe.
        lengths: Tokens of a step.
        device: cpu or cuda.
        own_copy: Whether it has weights of its own.
        limit: See `kv_limit`; 0 when unknown.
    """
    sequences = min(config.runtime.max_batch, lengths.trajectories)
    cache = kv_bytes(model, sequences, lengths.row, device)
    ahead = "" if device == "cpu" else ", 1/16 ahead"
    formula = (
        f"{counted(sequences, 'sequence')} × {lengths.row:,.0f} tokens × {model.kv_bytes:,} B, "
        f"in blocks of {BLOCK}{ahead}"
    )
    if limit and cache > limit:
        cache, formula = limit, f"{formula}: {cache / GIB:.1f} GiB, of which as many wait as do not fit"
    parts = [Part("KV cache", cache, formula)]
    if own_copy:
        weights = model.number * model.shape.parameters
        parts.append(Part("weights, sampled with", weights, f"{model.shape.parameters:,} × {model.number} B"))
    return parts, KvSpace(cache, cache // model.kv_bytes, lengths.long_row)


def pass_parts(model: Model, config: Config, lengths: Lengths, device: str, limit: int = 0) -> list[Part]:
    """What a forward pass of the transformers engine takes beside keys and values.

    Args:
        model: Of the recipe.
        config: Recipe.
        lengths: Tokens of a step.
        device: cpu or cuda.
        limit: See `kv_limit`; sequences that do not fit wait. 0 when unknown.
    """
    rows = min(config.runtime.max_batch, lengths.trajectories)
    if limit:
        rows = min(rows, max(1, round(limit / (lengths.row * model.kv_bytes))))
    most = tokens_of_a_pass(model.shape.parameters, device)
    taken = pass_bytes(model, rows, lengths.long_row, most, device)
    formula = f"one layer: {rows} × {lengths.long_row:,} tokens read, {min(most, rows * lengths.long_row):,} new ones"
    each = 2 * MASTER + 2 * 8  # log-probs, and sums in float64
    logits = f"{counted(rows, 'row')} × {model.shape.vocab:,} vocabulary × {each} B"
    return [Part("forward pass", taken, formula), Part("sampling", rows * model.shape.vocab * each, logits)]
