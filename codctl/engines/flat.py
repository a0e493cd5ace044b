"""A forward pass without padding: the new tokens of all sequences lie behind one another in one row.

Keys and values are written to their slots and read there (`kv_cache.py`). The attention is one of `transformers`, so
any model that takes its attention from there can be read in this way.

Shapes: T new tokens, H heads, K key-value heads, G heads that share one, D head size, S slots side by side, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from codctl.engines.kv_cache import KvCache

FLAT = "codctl_flat"
_ALIGNED = 64  # tokens: GPU kernels want masks of round width
_WASTE = 23_000  # numbers that are read in vain in the time of one more call of a kernel, on a CPU
# Arguments of an attention that change nothing here.
_HARMLESS = {
    "dropout",
    "position_ids",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "cache_position",
}


class FlatPass:
    """Which tokens a pass reads, and where their keys and values are.

    Args:
        cache: Has slots and room for all that is read.
        slots: Of each sequence; those with one new token come first, by slot.
        starts: Tokens of each sequence that are in the cache.
        new_ids: New tokens of each sequence.

    Attributes:
        ids_T: All new tokens.
        positions_T: Where they are in their sequences.
        last_R: Place of the last new token of each sequence.
        longest: Tokens of the longest sequence, the new ones included.
    """

    def __init__(
        self, cache: KvCache, slots: Sequence[int], starts: Sequence[int], new_ids: Sequence[Sequence[int]]
    ) -> None:
        self._cache = cache
        counts = np.array([len(ids) for ids in new_ids])
        singles = int((counts == 1).sum())
        self._single_slots = np.array(slots[:singles], np.int64)
        self._single_ends = np.array(starts[:singles], np.int64) + 1
        self._longer = list(zip(slots[singles:], starts[singles:], counts[singles:].tolist(), strict=True))
        ends = counts.cumsum()
        self.longest = int((np.array(starts) + counts).max())
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        positions = np.repeat(np.array(starts), counts) + within
        ids = np.concatenate([np.asarray(own, np.int64) for own in new_ids])
        device = cache.device
        numbers = np.stack([ids, positions, np.repeat(np.array(slots), counts)])
        self.ids_T, self.positions_T, self._slots_T = torch.from_numpy(numbers).to(device).unbind()
        self.last_R = torch.from_numpy(ends - 1).to(device)
        self._places: dict[int, torch.Tensor] = {}
        self._masks: dict[object, torch.Tensor] = {}
        self._first = self._count = self._reach = 0  # slots that are read side by side
        self._index: torch.Tensor | None = None
        self._is_decided = False

    def _side_by_side(self, width: int) -> None:
        """Choose how sequences with one new token are read: all slots between them at once, or each by itself.

        Args:
            width: Numbers of one token's keys.
        """
        self._is_decided = True
        slots, ends = self._single_slots, self._single_ends
        if not len(slots):
            return
        first, count, reach = int(slots[0]), int(slots[-1] - slots[0]) + 1, int(ends.max())
        if self._cache.device.type == "cpu":
            if (count * reach - int(ends.sum())) * width > _WASTE * len(slots):
                return
        else:
            reach = min(-(-reach // _ALIGNED) * _ALIGNED, self._cache.tokens)
        self._first, self._count, self._reach = first, count, reach
        if count > len(slots):
            self._index = torch.from_numpy(slots - first).to(self._cache.device)

    def attend(
        self,
        layer: int,
        query_THD: torch.Tensor,
        key_TKD: torch.Tensor,
        value_TKD: torch.Tensor,
        scale: float,
        *,
        window: int | None = None,
        softcap: float | None = None,
        sinks_H: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write keys and values of the new tokens, and attend to those of each one's own sequence.

        Args:
            layer: Number of the layer.
            query_THD: Queries.
            key_TKD: Keys.
            value_TKD: Values.
            scale: Of the scores.
            window: Tokens back that each sees, itself included; None for all.
            softcap: Scores are squeezed into ± this.
            sinks_H: Score of a token that has no value.

        Returns:
            Shape (T, H, D).
        """
        keys_SKLD, values_SKLD = self._cache.layer(layer, key_TKD)
        query_THD = query_THD.to(keys_SKLD.dtype)
        places = self._places_of(key_TKD.shape[1])
        for memory, new_TKD in ((keys_SKLD, key_TKD), (values_SKLD, value_TKD)):
            size = memory.shape[3]
            memory.view(-1, size).index_copy_(0, places, new_TKD.to(memory.dtype).reshape(-1, size))
        tokens, heads, size = query_THD.shape
        shared = (key_TKD.shape[1], heads // key_TKD.shape[1])
        query_TKGD = query_THD.view(tokens, *shared, size)
        sinks_KG = sinks_H.view(shared) if sinks_H is not None else None
        scoring = _Scoring(scale, softcap, sinks_KG)
        out_TKGD = query_TKGD.new_empty(tokens, *shared, values_SKLD.shape[3])
        singles = len(self._single_slots)
        if not self._is_decided:
            self._side_by_side(key_TKD.shape[1] * key_TKD.shape[2])
        if self._count:
            self._attend_at_once(query_TKGD[:singles], keys_SKLD, values_SKLD, scoring, window, out_TKGD)
        else:
            for row, (slot, end) in enumerate(
                zip(self._single_slots.tolist(), self._single_ends.tolist(), strict=True)
            ):
                start = max(0, end - window) if window else 0
                keys_1KLD, values_1KLD = (m[slot : slot + 1, :, start:end] for m in (keys_SKLD, values_SKLD))
                out_TKGD[row] = scoring(query_TKGD[row : row + 1], keys_1KLD, values_1KLD)[0]
        first = singles
        for slot, start, count in self._longer:
            end = start + count
            query_KGTD = query_TKGD[first : first + count].permute(1, 2, 0, 3)
            keys_KGLD, values_KGLD = (
                memory[slot, :, None, :end].expand(-1, shared[1], -1, -1) for memory in (keys_SKLD, values_SKLD)
            )
            mask_TL = self._causal(start, count, window, query_THD.dtype)
            found = scoring(query_KGTD, keys_KGLD, values_KGLD, mask_TL, heads_first=True)
            out_TKGD[first : first + count] = found.permute(2, 0, 1, 3)
            first += count
        return out_TKGD.view(tokens, heads, -1)

    def _attend_at_once(
        self,
        query_RKGD: torch.Tensor,
        keys_SKLD: torch.Tensor,
        values_SKLD: torch.Tensor,
        scoring: _Scoring,
        window: int | None,
        out_TKGD: torch.Tensor,
    ) -> None:
        query_SKGD = query_RKGD
        if self._index is not None:
            query_SKGD = query_RKGD.new_zeros(self._count, *query_RKGD.shape[1:]).index_copy_(
                0, self._index, query_RKGD
            )
        own = slice(self._first, self._first + self._count), slice(None), slice(self._reach)
        found_SKGD = scoring(query_SKGD, keys_SKLD[own], values_SKLD[own], self._seen(window, query_RKGD.dtype))
        out_TKGD[: len(query_RKGD)] = found_SKGD if self._index is None else found_SKGD[self._index]

    def _places_of(self, heads: int) -> torch.Tensor:
        """Rows of a layer's memory, seen as (S · K · L, D), that the new tokens are written to."""
        if heads not in self._places:
            head_K = torch.arange(heads, device=self._slots_T.device)
            rows_TK = (self._slots_T[:, None] * heads + head_K) * self._cache.tokens + self.positions_T[:, None]
            self._places[heads] = rows_TK.flatten()
        return self._places[heads]

    def _seen(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """0 where a sequence with one new token looks, else -inf: shape (S, 1, 1, L)."""
        key = ("seen", window, dtype)
        if key not in self._masks:
            ends = np.ones(self._count, np.int64)  # a slot without a sequence in this pass looks at some token too
            ends[self._single_slots - self._first] = self._single_ends
            ends_S1 = torch.from_numpy(ends)[:, None].to(self._cache.device)
            place_L = torch.arange(self._reach, device=self._cache.device)
            seen_SL = place_L < ends_S1
            if window:
                seen_SL &= place_L >= ends_S1 - window
            self._masks[key] = additive(seen_SL, dtype)[:, None, None]
        return self._masks[key]

    def _causal(self, start: int, count: int, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
        """0 where the new tokens of one sequence look, else -inf: shape (T, L). None when they are its first ones."""
        if not start and (window is None or count <= window):
            return None
        key = (start, count, window, dtype)
        if key not in self._masks:
            position_T1 = torch.arange(start, start + count, device=self._cache.device)[:, None]
            place_L = torch.arange(start + count, device=self._cache.device)
            seen_TL = place_L <= position_T1
            if window:
                seen_TL &= place_L > position_T1 - window
            self._masks[key] = additive(seen_TL, dtype)
        return self._masks[key]


@dataclass(frozen=True)
class _Scoring:
    """Softmax attention, with what some models add to it.

    Attributes:
        scale: Of the scores.
        softcap: Scores are squeezed into ± this.
        sinks_KG: Score of a token that has no value, for each head.
    """

    scale: float
    softcap: float | None
    sinks_KG: torch.Tensor | None

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None = None,
        *,
        heads_first: bool = False,
    ) -> torch.Tensor:
        """Attention in the shapes of `scaled_dot_product_attention`.

        Args:
            query: Shape (S, K, G, D), one token of each slot; with `heads_first` (K, G, T, D), tokens of one sequence.
            key: Shape (S, K, L, D) or (K, G, L, D).
            value: Likewise.
            mask: Added to the scores; None with `heads_first` for causality from the first token on.
            heads_first: Which of the two shapes.
        """
        is_causal = heads_first and mask is None
        if self.softcap is None and self.sinks_KG is None:
            return scaled_dot_product_attention(query, key, value, mask, is_causal=is_causal, scale=self.scale)
        scores = (query @ key.transpose(2, 3)).float() * self.scale
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if is_causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
        elif mask is not None:
            scores = scores + mask
        if self.sinks_KG is None:
            return scores.softmax(-1).to(value.dtype) @ value
        sinks = self.sinks_KG.float()
        sinks = sinks[:, :, None, None] if heads_first else sinks[None, :, :, None]
        scores = torch.cat((scores, sinks.expand(*scores.shape[:-1], 1)), -1)
        return scores.softmax(-1)[..., :-1].to(value.dtype) @ value


def flat_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    flat: FlatPass | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention of `transformers` that reads and writes slots.

    Args:
        module: The attention layer.
        query: Shape (1, H, T, D).
        key: Shape (1, K, T, D).
        value: Shape (1, K, T, D).
        attention_mask: None: what each token sees follows from `flat`.
        scaling: Of the scores; None is 1/√D.
        sliding_window: Tokens back that each sees.
        softcap: Of the scores.
        s_aux: Attention sinks, shape (H,).
        flat: The pass; it travels with the call.
        kwargs: What else the model wants of its attention: nothing that would change the result.

    Returns:
        Shape (1, T, H, D), and no attention weights.

    Raises:
        ValueError: The model wants more than this attention can do.
    """
    if flat is None or attention_mask is not None:
        raise ValueError("the model calls its attention in a way of its own")
    unknown = {name for name, given in kwargs.items() if given is not None and name not in _HARMLESS}
    if kwargs.get("is_causal", True):
        unknown.discard("is_causal")
    if unknown or kwargs.get("dropout"):
        raise ValueError(f"the attention cannot do without {', '.join(sorted(unknown)) or 'dropout'}")
    layer = int(module.layer_idx)
    kinds = getattr(module.config, "layer_types", None)
    kind = kinds[layer] if kinds else "full_attention"
    if kind not in ("full_attention", "sliding_attention") or (kind == "sliding_attention" and not sliding_window):
        raise ValueError(f"layer {layer} has {kind}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query_THD, key_TKD, value_TKD = (states[0].transpose(0, 1) for states in (query, key, value))
    out_THD = flat.attend(
        layer, query_THD, key_TKD, value_TKD, scale, window=sliding_window, softcap=softcap, sinks_H=s_aux
    )
    return out_THD[None], None


def register() -> None:
    """Make it known to `transformers`. Without a mask of its own, `transformers` makes none for it."""
    from transformers import AttentionInterface

    AttentionInterface.register(FLAT, flat_attention)


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask that is added to scores: 0 where a token is seen, else -inf."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
