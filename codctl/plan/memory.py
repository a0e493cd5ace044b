"""What lies in the memory of a device, part by part, each with its formula. Bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from codctl.config.schema import Config, LossConfig
from codctl.engines.provider import Part
from codctl.models.attention import EAGER_LONGEST
from codctl.plan.lengths import Lengths
from codctl.plan.sizes import MASTER, MOMENTS, Model

GIB = 1 << 30
# Assumed, not derived.
CONTEXT = {"cpu": round(1.7 * GIB), "cuda": GIB}  # libraries; CUDA's context, cuBLAS and kernels
NCCL = GIB  # buffers between GPUs
ASLEEP = round(1.5 * GIB)  # of an engine that has given its memory to the learner
FRAGMENTATION = 0.05  # of activations and logits: what the allocator cannot use

LOGIT_COPIES = 3  # logits, log-probs and one temporary, or their gradients, in float32
_MATRICES = 7  # with an adapter, in each layer


@dataclass(frozen=True)
class Split:
    """How the learner is spread.

    Attributes:
        processes: Learner processes on all nodes.
        sharded: Whether each holds a part of the model (fsdp) or all of it.
        device: cpu or cuda.
        packed: Whether micro-batches come without padding.
    """

    processes: int
    sharded: bool
    device: str

    @property
    def shards(self) -> int:
        return self.processes if self.sharded else 1

    @property
    def shown(self) -> str:
        return f" ÷ {self.shards} processes" if self.shards > 1 else ""


def resident(model: Model, split: Split, loss: LossConfig) -> list[Part]:
    """What a learner holds at all times: weights, both moments of AdamW, and the start model for a KL penalty."""
    n = split.shards
    parts = [
        Part("weights, trained", MASTER * model.trained // n, f"{model.trained:,} × 4 B (float32){split.shown}"),
        Part("optimiser", MOMENTS * model.trained // n, f"{model.trained:,} × 8 B (AdamW, two moments){split.shown}"),
    ]
    if loss.needs_reference:
        copied = f"{model.trained:,} × 4 B (float32, for train.loss.kl){split.shown}"
        parts.append(Part("start weights", MASTER * model.trained // n, copied))
    if model.frozen:
        frozen = Part(
            "weights, frozen", model.number * model.frozen // n, f"{model.frozen:,} × {model.number} B{split.shown}"
        )
        parts.insert(0, frozen)
    return [*parts, *fixed(split)]


def learning(model: Model, split: Split, config: Config, lengths: Lengths) -> list[Part]:
    """What a learner holds at its peak, in the backward pass of a micro-batch."""
    tokens = micro_batch(config, lengths)
    parts = [*resident(model, split, config.train.loss), _gradients(model, split)]
    if model.number < MASTER:
        parts.append(compute_copy(model, split))
    activations = _activations(model, split, config, tokens)
    logits = _logits(model, config, tokens)
    beside = _beside(model, split, config, tokens)
    largest = max(logits, beside, key=lambda part: part.bytes)
    waste = round(FRAGMENTATION * (activations.bytes + largest.bytes)) if split.device == "cuda" else 0
    parts += [activations, *_scores(model, split, config, lengths), largest]
    if split.device == "cpu" and config.train.checkpoint_beside:
        parts.append(checkpoint_copy(model, split))
    return [*parts, Part("fragmentation", waste, f"{FRAGMENTATION:.0%} of the two above")] if waste else parts


def checkpoint_copy(model: Model, split: Split) -> Part:
    """What is copied into main memory while a checkpoint is written; of whole copies only one process writes."""
    formula = f"{model.trained:,} × 12 B (weights and moments, while they are written){split.shown}"
    return Part("checkpoint", (MASTER + MOMENTS) * model.trained // split.shards, formula)


def micro_batch(config: Config, lengths: Lengths) -> int:
    """Most tokens that a process is expected to compute at once: a row longer than the budget is a batch of its own."""
    processes = config.cluster.nodes * config.cluster.processes_per_node if config.train.split_long_rows else 1
    return max(config.train.micro_batch_tokens, -(-lengths.long_row // processes))


def total(parts: Iterable[Part]) -> int:
    return sum(part.bytes for part in parts)


def activation_bytes(model: Model, *, sharded: bool = False) -> int:
    """Bytes that one layer keeps of one token for the backward pass.

    Counted on `transformers`' Qwen3 with hooks on what autograd saves (tests/stages/plan): W width, Q and K what
    queries and keys are wide, F feed-forward, r LoRA rank.
    """
    shape = model.shape
    wide, queries, keys = shape.width, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    small = 8 * shape.heads + 4 * shape.kv_heads + 8  # the norms' and the softmax's one number per head or token
    if model.number == MASTER:
        per = (16, 12, 12, 16) if model.adapter else (24, 16, 16, 16)
    elif model.adapter:
        per = (18, 10, 8, 8)
    else:
        per = (16, 10, 10, 8) if sharded else (26, 10, 10, 8)
    known = sum(size * width for size, width in zip(per, (wide, queries, keys, shape.ffn), strict=True))
    return known + small + (_adapter_bytes(model) if model.adapter else 0)


def _adapter_bytes(model: Model) -> int:
    """What the adapters keep of one token in one layer: the narrow vectors between their two matrices."""
    wide = model.shape
    per_rank = sum(
        (wide.width * 5 + wide.heads * wide.head_dim * 2 + wide.kv_heads * wide.head_dim * 2 + wide.ffn * 3,)
    )
    rank = model.trained / (wide.layers * per_rank)
    return round(_MATRICES * rank * model.number)


def fixed(split: Split) -> list[Part]:
    """What libraries take, whatever the model."""
    if split.device == "cpu":
        return [
            Part(
                "libraries",
                CONTEXT["cpu"],
                "assumed: torch, transformers, TRL, MLflow; what the recipe tiny was measured with",
            )
        ]
    parts = [Part("CUDA", CONTEXT["cuda"], "assumed: context, cuBLAS, kernels")]
    return [*parts, Part("NCCL", NCCL, "assumed: buffers between GPUs")] if split.processes > 1 else parts


def _gradients(model: Model, split: Split) -> Part:
    return Part("gradients", MASTER * model.trained // split.shards, f"{model.trained:,} × 4 B{split.shown}")


def compute_copy(model: Model, split: Split) -> Part:
    """The trained weights once more in bfloat16: all of them, or what FSDP has gathered at a time."""
    if not split.sharded or model.adapter:
        copied = model.trained if model.adapter else model.matrices + model.head
        return Part("bfloat16 copy", 2 * copied, f"{copied:,} × 2 B (autocast, kept until the backward pass)")
    layer, rest = model.shape.layer_parameters, model.shape.embedding_parameters
    gathered = 2 * layer + rest
    return Part(
        "bfloat16 copy",
        (2 + 2) * gathered,
        f"({rest:,} embeddings + 2 layers × {layer:,}) × (2 B gathered + 2 B gradients)",
    )


def _activations(model: Model, split: Split, config: Config, tokens: int) -> Part:
    layers, per_layer = model.shape.layers, activation_bytes(model, sharded=split.sharded)
    ends = 3 * MASTER * model.shape.width  # embeddings and the last norm
    if not config.train.activation_checkpointing:
        kept = tokens * (layers * per_layer + ends)
        return Part("activations", kept, f"{tokens:,} tokens × {layers} layers × {per_layer:,} B")
    stream = model.shape.width * (MASTER if model.number == MASTER or not (model.adapter or split.sharded) else 2)
    kept = tokens * (layers * stream + ends)
    return Part("activations", kept, f"{tokens:,} tokens × {layers} layers × {stream:,} B (the input of each)")


def _scores(model: Model, split: Split, config: Config, lengths: Lengths) -> list[Part]:
    """What `models/attention.py` keeps of its scores: float32 and once more in bfloat16."""
    is_eager = config.model.attention in ("auto", "eager") and split.device == "cpu" and model.number < MASTER
    if not is_eager or config.train.activation_checkpointing:
        return []
    tokens, row = micro_batch(config, lengths), min(lengths.long_row, EAGER_LONGEST)
    layers, heads, number = model.shape.layers, model.shape.heads, MASTER + model.number
    formula = f"{tokens:,} × {row:,} tokens × {layers} layers × {heads} heads × {number} B"
    return [Part("attention scores", tokens * row * layers * heads * number, formula)]


def _logits(model: Model, config: Config, tokens: int) -> Part:
    chunk = min(config.train.logprob_chunk, tokens)
    vocab = model.shape.vocab
    formula = f"{chunk:,} tokens × {vocab:,} vocabulary × {LOGIT_COPIES} × 4 B"
    return Part("logits", LOGIT_COPIES * MASTER * chunk * vocab, formula)


def _beside(model: Model, split: Split, config: Config, tokens: int) -> Part:
    """What is there when the logits are gone: a layer's gradients, and its activations where they are made again."""
    shape = model.shape
    again = activation_bytes(model, sharded=split.sharded) if config.train.activation_checkpointing else 0
    each = again + model.number * (3 * shape.ffn + 4 * shape.width)
    of_matrix = 0 if model.adapter else (MASTER + model.number) * shape.width * shape.ffn
    matrix = f" + {of_matrix:,} B for a matrix" if of_matrix else ""
    return Part("backward of a layer", tokens * each + of_matrix, f"{tokens:,} tokens × {each:,} B{matrix}")
