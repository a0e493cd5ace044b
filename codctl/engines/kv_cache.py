"""Key-value memory of the transformers engine: blocks of tokens, as many as the live conversations need.

Shapes: H key-value heads, T tokens, D head size; R rows of a forward pass, Q new tokens per row; N blocks.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from codctl.engines.budget import BLOCK, blocks_allocated, blocks_for

_FEW = 32  # blocks that are not worth giving back
_PADDING = 0  # block that is written to and never read


@dataclass(eq=False)
class Content:
    """Tokens whose keys and values are kept.

    Attributes:
        ids: The tokens.
        blocks: Where their keys and values are, in order.
        wanted: Waiting requests whose prompt begins with these tokens.
    """

    ids: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    wanted: int = 0


def token_bytes(config: Any, number: int) -> int:
    """Bytes of the keys and values of one token in every layer.

    Args:
        config: Of the model.
        number: Bytes of a number.
    """
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * size * number)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Memory that goes back to the system at once when it is dropped.

    On a CPU it comes straight from the system: the C library would keep what was dropped, in holes that are too small
    for what comes next.
    """
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    count = math.prod(shape)
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=dtype, count=count).view(shape)


def _heads_size(states_RHQD: torch.Tensor) -> tuple[int, int]:
    return states_RHQD.shape[1], states_RHQD.shape[3]


class _Layer(CacheLayerMixin):  # type: ignore[misc]  # untyped library
    """Keys and values of one layer."""

    is_sliding = False

    def __init__(self, cache: KvCache) -> None:
        super().__init__()
        # The cache holds its layers. A strong reference back would keep all of this memory alive, after the cache is
        # dropped, until Python's garbage collector happens to run.
        self._cache = cast("KvCache", weakref.proxy(cache))
        self.clear()

    def clear(self) -> None:
        self.keys_THD: torch.Tensor | None = None
        self.values_THD: torch.Tensor | None = None
        self._is_written = False

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the rows' new tokens to their places; return all that these rows may look at."""
        keys_THD, values_THD = self._with_room(key_states, value_states)
        self._write(keys_THD, key_states)
        self._write(values_THD, value_states)
        self._is_written = True
        if self._cache.are_fresh:
            return key_states, value_states
        return self._read(keys_THD), self._read(values_THD)

    def _with_room(self, keys_RHQD: torch.Tensor, values_RHQD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values, for as many tokens as the cache has blocks for.

        On a CPU all layers get their memory at the same time. One after the other they would each leave a hole among
        the numbers of the forward pass, which the C library never gives back: as much as twice the keys and values.
        """
        if not self._is_written and self.keys_THD is not None and self.keys_THD.shape[1:] != _heads_size(keys_RHQD):
            self.clear()  # another layer made room, and has another shape
        if self.keys_THD is None or self.keys_THD.shape[0] < self._cache.capacity * BLOCK:
            for layer in self._cache.layers if keys_RHQD.device.type == "cpu" else (self,):
                layer.make_room(keys_RHQD, values_RHQD)
        assert self.keys_THD is not None
        assert self.values_THD is not None
        return self.keys_THD, self.values_THD

    def make_room(self, keys_RHQD: torch.Tensor, values_RHQD: torch.Tensor) -> None:
        """Grow to what the cache has blocks for; what has no shape of its own yet gets that of these."""
        self.keys_THD = self._grown(self.keys_THD, keys_RHQD)
        self.values_THD = self._grown(self.values_THD, values_RHQD)

    def _grown(self, memory_THD: torch.Tensor | None, like_RHQD: torch.Tensor) -> torch.Tensor:
        room = self._cache.capacity * BLOCK
        heads_size = _heads_size(like_RHQD) if memory_THD is None else memory_THD.shape[1:]
        grown_THD = _zeros((room, *heads_size), self._cache.dtype or like_RHQD.dtype, like_RHQD.device)
        if memory_THD is not None and self._is_written:
            grown_THD[: memory_THD.shape[0]] = memory_THD
        return grown_THD

    def _write(self, memory_THD: torch.Tensor, new_RHQD: torch.Tensor) -> None:
        memory_THD[self._cache.places_RQ] = new_RHQD.transpose(1, 2).to(memory_THD.dtype)

    def _read(self, memory_THD: torch.Tensor) -> torch.Tensor:
        cache = self._cache
        blocks = memory_THD.view(cache.capacity, -1).index_select(0, cache.blocks_RN.flatten())
        rows_RTHD = blocks.view(cache.blocks_RN.shape[0], -1, *memory_THD.shape[1:])
        return rows_RTHD[:, : cache.reach].transpose(1, 2)

    def keep(self, blocks_N: torch.Tensor) -> None:
        """Keep these blocks only, in this order."""
        if not self._is_written:
            self.clear()
        for name in ("keys_THD", "values_THD"):
            memory = getattr(self, name)
            if memory is not None:
                heads_size = memory.shape[1:]
                kept = _zeros((len(blocks_N) * BLOCK, *heads_size), memory.dtype, memory.device)
                blocks = memory.view(-1, BLOCK, *heads_size), kept.view(-1, BLOCK, *heads_size)
                torch.index_select(blocks[0], 0, blocks_N.to(memory.device), out=blocks[1])
                setattr(self, name, kept)

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.reach, 0


class KvCache(Cache):  # type: ignore[misc]  # untyped library
    """A `transformers` cache whose rows are chosen anew for each forward pass.

    Args:
        layers: Of the model.
        dtype: Type that keys and values are kept in; by default the one that they come in.

    Attributes:
        capacity: Blocks that are allocated.
        used: Blocks that hold contents.
        places_RQ: Where each new token of a row is written.
        blocks_RN: Blocks of each row.
        reach: Tokens, from the start of a row, that the rows may look at.
        are_fresh: Whether the rows hold nothing but the new tokens.
    """

    def __init__(self, layers: int, dtype: torch.dtype | None = None) -> None:
        self.dtype = dtype
        self.capacity = 1
        self.used = self.reach = 0
        self.are_fresh = False
        self.places_RQ = self.blocks_RN = torch.zeros(0, 0, dtype=torch.long)
        self._free: list[int] = []
        super().__init__(layers=[_Layer(self) for _ in range(layers)])

    def extend(self, content: Content, tokens: int) -> None:
        """Give a content as many blocks as it takes to hold so many tokens."""
        missing = blocks_for(tokens) - len(content.blocks)
        if missing <= 0:
            return
        if missing > len(self._free):
            grown = max(self.capacity, blocks_allocated(self.used + missing))
            self._free = [*range(grown - 1, self.capacity - 1, -1), *self._free]
            self.capacity = grown
        content.blocks += [self._free.pop() for _ in range(missing)]
        self.used += missing

    def release(self, content: Content) -> None:
        """Take a content's blocks back."""
        self._free += reversed(content.blocks)
        self.used -= len(content.blocks)
        content.blocks = []

    def shrink(self, contents: Iterable[Content]) -> None:
        """Give memory back when less than half of it is used.

        Args:
            contents: All that have blocks.
        """
        if self.used * 2 + _FEW >= self.capacity:
            return
        if not self.used:
            self.clear()
            return
        kept = [_PADDING]
        for content in contents:
            first = len(kept)
            kept += content.blocks
            content.blocks = list(range(first, len(kept)))
        for layer in self.layers:
            layer.keep(torch.tensor(kept))
        self.capacity, self._free = len(kept), []

    def clear(self) -> None:
        """Give all memory back."""
        for layer in self.layers:
            layer.clear()
        self.capacity, self.used, self._free = 1, 0, []

    def aim(self, rows: Sequence[Content], starts: Sequence[int], ends: Sequence[int], device: torch.device) -> None:
        """Choose the rows of the next forward pass, which writes their tokens from `starts` to `ends`."""
        self.reach, self.are_fresh = max(ends), not any(starts)
        longest = max(end - start for start, end in zip(starts, ends, strict=True))
        wide = max(len(row.blocks) for row in rows)
        blocks_RN = torch.tensor([row.blocks + [_PADDING] * (wide - len(row.blocks)) for row in rows])
        tokens_RQ = torch.tensor(starts)[:, None] + torch.arange(longest)
        blocks_RQ = blocks_RN.gather(1, (tokens_RQ // BLOCK).clamp(max=wide - 1))
        is_new_RQ = tokens_RQ < torch.tensor(ends)[:, None]
        self.places_RQ = torch.where(is_new_RQ, blocks_RQ * BLOCK + tokens_RQ % BLOCK, _PADDING * BLOCK).to(device)
        self.blocks_RN = blocks_RN.to(device)
