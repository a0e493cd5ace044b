"""Attention without padding: several sequences lie behind one another in one row, and none looks at its neighbours.

`codctl_varlen` is an attention of `transformers` that does this when it is told where the sequences begin; otherwise it
is sdpa, so the engine samples with the same model object. The places travel with each forward call, never as a global.

`codctl_eager` is plain matrix products. In bfloat16 on a CPU they take a fraction of the time of sdpa.

Shapes: H heads, K key-value heads, T tokens, D head size, E sequences.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, cast

from codctl.errors import PreflightError

if TYPE_CHECKING:
    import torch

    from codctl.models.sequence_parallel import Part

VARLEN, EAGER = "codctl_varlen", "codctl_eager"
EAGER_LONGEST = 512  # tokens of a row that is learned from: the backward pass keeps all its scores
_PACKED = (VARLEN, "flash_attention_2")
_WHERE = "model.attention"


def attention_of(wanted: str, device: str, dtype: str = "bfloat16") -> str:
    """What `transformers` calls the attention that `model.attention` asks for.

    Args:
        wanted: Value of `model.attention`.
        device: "cpu" or "cuda", resolved.
        dtype: Value of `model.dtype`: GPUs have a kernel for packed rows in bfloat16 only.

    Raises:
        PreflightError: When flash_attention_2 is wanted where it cannot run.
    """
    if wanted == "auto":
        wanted = {"cuda": "varlen", "cpu": "eager"}.get(device, "sdpa") if dtype == "bfloat16" else "sdpa"
    if wanted == "flash_attention_2":
        _check_flash_attention(device)
    return {"varlen": VARLEN, "eager": EAGER}.get(wanted, wanted)


def is_packed(model: Any) -> bool:
    """True when the model reads rows without padding: whole episodes behind one another (`collate(…, packed=True)`)."""
    return model.config._attn_implementation in _PACKED


def varlen_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    part: Part | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence of one packed row; sdpa when there are no `cu_seq_lens_q`.

    Args:
        module: The attention layer.
        query: Shape (1, H, T, D).
        key: Shape (1, K, T, D).
        value: Shape (1, K, T, D).
        attention_mask: Of calls that are not packed.
        cu_seq_lens_q: Where the sequences begin, and T: int32, shape (E + 1,).
        max_length_q: Longest sequence.
        part: Which tokens of the row these are, where several processes share it.
        kwargs: What every attention of `transformers` gets; a window, dropout or other key lengths are not for us.

    Returns:
        Shape (1, T, H, D), and no attention weights.
    """
    import torch

    if cu_seq_lens_q is None or max_length_q is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
    if kwargs.get("sliding_window") is not None:
        raise ValueError("codctl_varlen has no sliding window; train this model with model.attention=sdpa")
    dtype = torch.get_autocast_dtype(query.device.type) if torch.is_autocast_enabled(query.device.type) else value.dtype
    query, key, value = (states[0].to(dtype) for states in (query, key, value))
    if part is not None:
        query, key, value = (part.by_heads(states) for states in (query, part.enough(key), part.enough(value)))
    query_THD, key_TKD, value_TKD = (states.transpose(0, 1) for states in (query, key, value))
    scale = kwargs.get("scaling")
    if query.is_cuda and dtype != torch.float32:  # there is no such kernel in float32
        out_THD = _flash(query_THD, key_TKD, value_TKD, cu_seq_lens_q, max_length_q, scale)
    else:
        out_THD = _one_by_one(query_THD, key_TKD, value_TKD, cu_seq_lens_q, scale)
    if part is not None:
        out_THD = part.by_tokens(out_THD.transpose(0, 1)).transpose(0, 1)
    return out_THD[None], None


def eager_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by plain matrix products; the heads that share keys and values are one product.

    Rows of more than EAGER_LONGEST tokens are learned from with sdpa, which keeps no scores.

    Args:
        module: The attention layer.
        query: Shape (B, H, T, D).
        key: Shape (B, K, S, D).
        value: Shape (B, K, S, D).
        attention_mask: True where a token may look: shape (B or 1, 1, T, S).
        scaling: Of the scores; null is 1/√D.
        kwargs: What every attention of `transformers` gets.

    Returns:
        Shape (B, T, H, D), and no attention weights.
    """
    import torch

    rows, heads, tokens, size = query.shape
    if tokens > EAGER_LONGEST and torch.is_grad_enabled():
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)  # type: ignore[no-any-return]
    shared = heads // key.shape[1]
    scores_BKGS = (query.reshape(rows, key.shape[1], shared * tokens, size) @ key.transpose(2, 3)).float()
    scores_BKGTS = scores_BKGS.view(rows, key.shape[1], shared, tokens, -1)
    scores_BKGTS.mul_(size**-0.5 if scaling is None else scaling)  # in place: scores are the most that a pass holds
    least = torch.finfo(torch.float32).min  # not -inf: a padding row may look nowhere
    scores_BKGTS.masked_fill_(~attention_mask[:, :, None], least)
    weights = scores_BKGTS.softmax(-1).to(value.dtype)
    out = weights.view(rows, key.shape[1], shared * tokens, -1) @ value
    return out.view(rows, heads, tokens, size).transpose(1, 2), None


def _flash(
    query_THD: torch.Tensor,
    key_TKD: torch.Tensor,
    value_TKD: torch.Tensor,
    starts: torch.Tensor,
    longest: int,
    scale: float | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    found = varlen_attn(
        query_THD,
        key_TKD,
        value_TKD,
        starts,
        starts,
        longest,
        longest,
        scale=scale,
        window_size=(-1, 0),
        enable_gqa=query_THD.shape[1] != key_TKD.shape[1],
    )
    return cast("torch.Tensor", found)  # a pair only when asked for


def _one_by_one(
    query_THD: torch.Tensor, key_TKD: torch.Tensor, value_TKD: torch.Tensor, starts: torch.Tensor, scale: float | None
) -> torch.Tensor:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    lengths = starts.diff().tolist()
    split = [torch.split(states.transpose(0, 1)[None], lengths, dim=2) for states in (query_THD, key_TKD, value_TKD)]
    gqa = query_THD.shape[1] != key_TKD.shape[1]
    outs = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=gqa)
        for q, k, v in zip(*split, strict=True)
    ]
    return torch.cat(outs, dim=2)[0].transpose(0, 1)


def _mask(q_length: int, kv_length: int, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> Any:
    """That of sdpa, but none at all where causality is the whole mask: a packed row must not make one of T × T."""
    from transformers.masking_utils import sdpa_mask

    if attention_mask is None and q_length == kv_length:
        return None
    return sdpa_mask(q_length=q_length, kv_length=kv_length, attention_mask=attention_mask, **kwargs)


def _full_mask(**kwargs: Any) -> Any:
    """That of sdpa, also where sdpa needs none because it knows causality by itself."""
    from transformers.masking_utils import sdpa_mask

    return sdpa_mask(**{**kwargs, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})


def register() -> None:
    """Make codctl's attentions known to `transformers`; before a model that asks for one is loaded."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(VARLEN, varlen_attention)
    AttentionMaskInterface.register(VARLEN, _mask)
    AttentionInterface.register(EAGER, eager_attention)
    AttentionMaskInterface.register(EAGER, _full_mask)


def _check_flash_attention(device: str) -> None:
    if device != "cuda":
        raise PreflightError(
            f"flash_attention_2 runs on GPUs, the model is on the {device}",
            where=_WHERE,
            hint="model.attention=sdpa, or model.attention=auto",
        )
    if importlib.util.find_spec("flash_attn") is None:
        raise PreflightError(
            "flash_attention_2 needs the package flash-attn, which is not installed",
            where=_WHERE,
            hint="model.attention=varlen needs no further package, or: pip install flash-attn --no-build-isolation",
        )
