"""What the transformers engine takes, and how many sequences it holds; others say so themselves. Bytes."""

from __future__ import annotations

from codctl.config.schema import Config
from codctl.engines.budget import BLOCK, SLOT, blocks_needed, tokens_of_a_pass
from codctl.engines.provider import KvSpace, ModelSize, Part
from codctl.plan.lengths import Lengths
from codctl.plan.memory import GIB
from codctl.plan.sizes import MASTER, Model
from codctl.quantities import counted


def context_of(config: Config, model: Model) -> int:
    """Longest sequence: what the engine is limited to, else what the model reads."""
    return min(config.engine.max_tokens or model.shape.max_tokens, model.shape.max_tokens)


def model_size(config: Config, model: Model) -> ModelSize:
    """The model as an engine beside the learner holds it."""
    shape, adapter = model.shape, model.trained if model.adapter else 0
    return ModelSize(shape.parameters, model.number, adapter, model.kv_bytes, shape.kv_heads, context_of(config, model))


def kv_bytes(model: Model, sequences: int, row: float, long_row: int, device: str) -> int:
    """Keys and values of live sequences in the transformers engine.

    Args:
        model: Of the recipe.
        sequences: That are alive.
        row: Tokens of a mean one.
        long_row: Of the longest one, which gives the slots of a GPU their length.
        device: cpu or cuda.
    """
    lengths = [round(row) if device == "cpu" else long_row] * sequences
    return blocks_needed(lengths, model.shape.max_tokens, device) * BLOCK * model.kv_bytes


def pass_bytes(model: Model, sequences: int, long_row: int, most: int, device: str) -> int:
    """What a forward pass of the transformers engine holds at its peak, in one layer, beside keys and values.

    A pass reads the last token of every sequence and new tokens of prompts. Keys and values are read where they are;
    what it holds are the new tokens' own numbers, and the masks of what they see.

    Args:
        model: Of the recipe.
        sequences: That are alive.
        long_row: Tokens of the longest one.
        most: New tokens of a pass.
        device: cpu or cuda.
    """
    shape, number = model.shape, model.number
    tokens = max(sequences, min(most, sequences * long_row))
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    stream = tokens * shape.width * number
    states = queries + 2 * keys
    turning = states + 4 * (queries + keys)  # the products, then normed and turned by position, with what that needs
    attending = states + 2 * (queries + keys) + 2 * queries
    feeding = 4 * shape.ffn + shape.width
    masks = number * (sequences * long_row + min(tokens, long_row) * long_row)
    return 2 * stream + tokens * max(turning, attending, feeding) * number + masks


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
    cache = kv_bytes(model, sequences, lengths.row, lengths.long_row, device)
    tokens, unit = (lengths.row, BLOCK) if device == "cpu" else (lengths.long_row, SLOT)
    formula = f"{counted(sequences, 'sequence')} × {tokens:,.0f} tokens × {model.kv_bytes:,} B, in units of {unit}"
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
