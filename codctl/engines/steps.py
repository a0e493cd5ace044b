"""Decoding steps of fixed shape: every slot of the cache reads one token, so that a GPU can replay what it did before.

A pass of a small model is bound by the launches of its kernels. A CUDA graph launches them all at once.

Shapes: S slots, K key-value heads, G heads that share one, D head size, L tokens of a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from codctl.engines.flat import additive
from codctl.engines.fused import FusedDecoder
from codctl.engines.kv_cache import Content, KvCache
from codctl.engines.picking import pick


class EverySlot:
    """As `FlatPass`, with one new token in every slot of the cache; what is read changes in place.

    A slot that has nothing to read writes behind its tokens, where the next one will be.
    """

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self.ids_T, self.positions_T = torch.zeros(2, cache.slots, dtype=torch.long, device=cache.device).unbind()
        self.last_R = self._slots_S = torch.arange(cache.slots, device=cache.device)
        self._places_L = torch.arange(cache.tokens, device=cache.device)
        self.longest = cache.tokens
        self._masks: dict[int | None, torch.Tensor] = {}

    def begin(self) -> None:
        """Forget what follows from positions."""
        self._masks = {}

    def attend(
        self,
        layer: int,
        query_THD: torch.Tensor,
        key_TKD: torch.Tensor,
        value_TKD: torch.Tensor,
        scale: float,
        *,
        window: int | None = None,
    ) -> torch.Tensor:
        """See `FlatPass.attend`."""
        keys_SKLD, values_SKLD = self._cache.layer(layer, key_TKD)
        slots, heads, size = query_THD.shape
        kv_heads = key_TKD.shape[1]
        for memory, new_SKD in ((keys_SKLD, key_TKD), (values_SKLD, value_TKD)):
            memory[self._slots_S, :, self.positions_T] = new_SKD.to(memory.dtype)
        query_SKGD = query_THD.to(keys_SKLD.dtype).reshape(slots, kv_heads, heads // kv_heads, size)
        mask = self._seen(window, keys_SKLD.dtype)
        return scaled_dot_product_attention(query_SKGD, keys_SKLD, values_SKLD, mask, scale=scale).view(
            slots, heads, -1
        )

    def _seen(self, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        if window not in self._masks:
            seen_SL = self._places_L <= self.positions_T[:, None]
            if window:
                seen_SL &= self._places_L > self.positions_T[:, None] - window
            self._masks[window] = additive(seen_SL, dtype)[:, None, None]
        return self._masks[window]


class Steps:
    """Decoding steps with one memory layout and one set of weights.

    Args:
        decoder: Computes the logits.
        cache: Holds keys and values; void when it is laid out anew (`KvCache.allocations`).
        capture: Makes a graph of a function and returns what replays it; `captured` on a GPU.
    """

    def __init__(
        self, decoder: FusedDecoder, cache: KvCache, capture: Callable[[Callable[[], None]], Callable[[], None]]
    ) -> None:
        self._decoder, self._cache = decoder, cache
        self.allocations = cache.allocations
        self._every = EverySlot(cache)
        self._drawn_S3 = torch.ones(cache.slots, 3, dtype=torch.float64, device=cache.device)
        self._picked_2S = torch.zeros(2, cache.slots, dtype=torch.float64, device=cache.device)
        self._numbers = np.zeros((2, cache.slots), np.int64)
        self._draws = np.ones((cache.slots, 3))
        self._capture = capture
        self._replay: Callable[[], None] | None = None

    def _compute(self) -> None:
        self._every.begin()
        logits_SV = self._decoder(self._every)
        self._picked_2S.copy_(pick(logits_SV.float(), self._drawn_S3, with_top_p=False))

    def __call__(self, contents: Sequence[Content], ids: Sequence[int], drawn_R3: np.ndarray[Any, Any]) -> torch.Tensor:
        """Draw the token that follows one new token of each content.

        Args:
            contents: That go on.
            ids: New token of each.
            drawn_R3: See `pick`.

        Returns:
            Tokens and their log-probs of every slot, shape (2, S), until the next step.
        """
        slots = [content.slot for content in contents]
        self._numbers[:] = 0
        for content in self._cache.contents:  # a full slot cannot go on: its last place is nobody's any more
            self._numbers[1, content.slot] = min(content.length, self._cache.tokens - 1)
        self._numbers[0, slots] = ids
        self._draws[slots] = drawn_R3
        numbers_2S = torch.from_numpy(self._numbers).to(self._cache.device, non_blocking=True)
        self._every.ids_T.copy_(numbers_2S[0])
        self._every.positions_T.copy_(numbers_2S[1])
        self._drawn_S3.copy_(torch.from_numpy(self._draws), non_blocking=True)
        if self._replay is None:  # not before it is known where each slot may be written to
            self._replay = self._capture(self._compute)
        self._replay()
        return self._picked_2S


def captured(compute: Callable[[], None]) -> Callable[[], None]:
    """A CUDA graph of what a function computes, after it has run as it is, so that libraries and tables are ready."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        compute()
    return graph.replay
