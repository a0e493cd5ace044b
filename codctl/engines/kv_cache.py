"""Key-value memory of the transformers engine: a slot for each live conversation, read and written in place.

On a CPU every slot has room for the longest sequence, and the system gives it memory page by page as tokens are
written. On a GPU the slots are as long as the longest sequence so far.

Shapes: S slots, K key-value heads, L tokens of a slot, D head size; T new tokens.
"""

from __future__ import annotations

import heapq
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from codctl.engines.budget import BLOCK, blocks_for, slot_tokens

_FEW = 32  # blocks that are not worth giving back
_SPARE = 16  # one slot in so many is allocated ahead on a GPU: each growth copies


@dataclass(eq=False)
class Content:
    """Tokens whose keys and values are kept.

    Attributes:
        ids: The tokens, and perhaps more of the same conversation.
        length: Of them, those that are kept.
        slot: Where.
        wanted: Waiting requests whose prompt begins with these tokens.
    """

    ids: list[int] = field(default_factory=list)
    length: int = 0
    slot: int = -1
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


class _Memory:
    """Keys or values of one layer."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self._pages: mmap.mmap | None = None
        if device.type != "cpu":
            self.states_SKLD = torch.zeros(shape, dtype=dtype, device=device)
            return
        count = math.prod(shape)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._pages = mmap.mmap(-1, count * dtype.itemsize, flags=flags)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            self._pages.madvise(mmap.MADV_NOHUGEPAGE)  # a huge page would be filled for one token
        self.states_SKLD = torch.frombuffer(self._pages, dtype=dtype, count=count).view(shape)

    def give_back(self, slot: int, length: int) -> None:
        """Give back what lies behind the first tokens of a slot, in whole pages."""
        if self._pages is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        _, heads, tokens, size = self.states_SKLD.shape
        of_token = size * self.states_SKLD.element_size()
        for head in range(heads if length else 1):
            begin = (slot * heads + head) * tokens * of_token
            start, end = begin + length * of_token, begin + (tokens if length else heads * tokens) * of_token
            start = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            if start < end:
                self._pages.madvise(mmap.MADV_DONTNEED, start, (end - start) // mmap.PAGESIZE * mmap.PAGESIZE)


class KvCache:
    """Keys and values of every layer.

    Args:
        layers: Of the model.
        most_tokens: Of the longest sequence that may come.
        device: Where the model is.
        dtype: Type that keys and values are kept in; by default the one that they come in.

    Attributes:
        contents: All that have a slot.
        slots: That are allocated.
        tokens: Room of each.
        layers: Keys and values of those that have been written to.
        allocations: How often the memory was laid out anew: what holds an address of the one before is void.
    """

    def __init__(self, layers: int, most_tokens: int, device: torch.device, dtype: torch.dtype | None = None) -> None:
        self._most_tokens, self.device, self._dtype = most_tokens, device, dtype
        self.layers: list[tuple[_Memory, _Memory] | None] = [None] * layers
        self.allocations = 0
        self.contents: set[Content] = set()
        self.clear()

    def clear(self) -> None:
        """Give all memory back."""
        for content in self.contents:
            content.slot, content.length = -1, 0
        self.contents = set()
        self.slots = self.tokens = 0
        self.layers = [None] * len(self.layers)
        self._free: list[int] = []
        self._numbered = 0  # slots that were ever taken
        self._written = np.zeros(0, np.int64)  # tokens of each slot that take memory
        self.allocations += 1

    def take(self, content: Content) -> None:
        """Give a content the lowest free slot: those in use lie close together, and are read as one."""
        if not self._free:
            self._free = [self._numbered]
            self._numbered += 1
        content.slot = heapq.heappop(self._free)
        self.contents.add(content)

    def release(self, content: Content) -> None:
        """Take a content's slot back."""
        if content.slot >= 0:
            heapq.heappush(self._free, content.slot)
            self.contents.discard(content)
        content.slot, content.length = -1, 0

    def prepare(self, contents: Sequence[Content], ends: Sequence[int], most: int | None) -> None:
        """Make room for new tokens, and give back what nothing needs: old tokens, or more than there may be.

        Args:
            contents: That get new tokens.
            ends: Tokens that each has with the new ones.
            most: Blocks that may take memory; None for no limit.
        """
        tokens = slot_tokens(max(ends), self._most_tokens, self.device.type)
        if self._numbered > self.slots or tokens > self.tokens:
            self._lay_out(max(tokens, self.tokens))
        if self.device.type == "cpu":
            slots = [content.slot for content in contents]
            self._written[slots] = np.maximum(self._written[slots], ends)
            if self._wastes(most):
                self._trim()
                self._written[slots] = ends

    def _lay_out(self, tokens: int) -> None:
        """Allocate anew, and close the gaps between slots."""
        contents = sorted(self.contents, key=lambda content: content.slot)
        count = len(contents)
        slots = 2 * count if self.device.type == "cpu" else count + count // _SPARE
        moves = [(content.slot, slot, content.length) for slot, content in enumerate(contents) if content.length]
        for layer, memories in enumerate(self.layers):
            if memories is not None:
                keys, values = (self._moved(memory, slots, tokens, moves) for memory in memories)
                self.layers[layer] = (keys, values)
        self._written = np.zeros(slots, np.int64)
        for slot, content in enumerate(contents):
            content.slot, self._written[slot] = slot, content.length
        self.slots, self.tokens, self._numbered, self._free = slots, tokens, count, []
        self.allocations += 1

    def _moved(self, memory: _Memory, slots: int, tokens: int, moves: list[tuple[int, int, int]]) -> _Memory:
        old_SKLD = memory.states_SKLD
        _, heads, _, size = old_SKLD.shape
        moved = _Memory((slots, heads, tokens, size), old_SKLD.dtype, old_SKLD.device)
        for before, after, length in moves:
            moved.states_SKLD[after, :, :length] = old_SKLD[before, :, :length]
        return moved

    def layer(self, number: int, new_TKD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of a layer, shape (S, K, L, D) each; allocated when the first tokens come."""
        memories = self.layers[number]
        if memories is None:
            shape = (self.slots, new_TKD.shape[1], self.tokens, new_TKD.shape[2])
            keys, values = (_Memory(shape, self._dtype or new_TKD.dtype, new_TKD.device) for _ in range(2))
            memories = self.layers[number] = (keys, values)
        return memories[0].states_SKLD, memories[1].states_SKLD

    @property
    def resident(self) -> int:
        """Blocks that take memory."""
        if self.device.type != "cpu":
            return self.slots * blocks_for(self.tokens)
        return int(((self._written + BLOCK - 1) // BLOCK).sum())

    def _wastes(self, most: int | None) -> bool:
        """Whether more than half of the memory is of old tokens, or it is more than there may be."""
        resident, used = self.resident, sum(blocks_for(content.length) for content in self.contents)
        return resident > 2 * used + _FEW or (most is not None and resident > most)

    def _trim(self) -> None:
        lengths = np.zeros_like(self._written)
        for content in self.contents:
            lengths[content.slot] = content.length
        for slot in np.flatnonzero(self._written > lengths).tolist():
            for memories in self.layers:
                for memory in memories or ():
                    memory.give_back(slot, int(lengths[slot]))
        self._written = lengths
