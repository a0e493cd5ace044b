"""Key-value memory of the transformers engine: one slot per live conversation, kept from turn to turn.

Shapes: N slots, H key-value heads, T tokens, D head size; R rows of a forward pass, Q new tokens per row.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # untyped library
    """Keys and values of one layer for all slots; grows when longer sequences come."""

    is_sliding = False

    def __init__(self, view: SlotCache) -> None:
        super().__init__()
        self._view = view
        self.keys_NHTD: torch.Tensor | None = None
        self.values_NHTD: torch.Tensor | None = None

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new tokens of the rows in hand at their own places; return all that these rows may look at."""
        view = self._view
        self.keys_NHTD = self._fit(self.keys_NHTD, key_states)
        self.values_NHTD = self._fit(self.values_NHTD, value_states)
        rows_R1, places_RQ = view.rows_R[:, None], view.places_RQ
        self.keys_NHTD[rows_R1, :, places_RQ] = key_states.transpose(1, 2)
        self.values_NHTD[rows_R1, :, places_RQ] = value_states.transpose(1, 2)
        return self.keys_NHTD[view.rows_R, :, : view.reach], self.values_NHTD[view.rows_R, :, : view.reach]

    def _fit(self, memory: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
        need = self._view.reach + 1  # one place more: padding of ragged rows is written there
        if memory is not None and memory.shape[2] >= need:
            return memory
        room = 1 << (need - 1).bit_length()
        grown = new.new_zeros(self._view.slots, new.shape[1], room, new.shape[3])
        if memory is not None:
            grown[:, :, : memory.shape[2]] = memory
        return grown

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._view.reach, 0


class SlotCache(Cache):  # type: ignore[misc]  # untyped library
    """A `transformers` cache whose rows are chosen anew for each forward pass.

    Attributes:
        rows_R: Slot of each row.
        places_RQ: Where each new token of a row is written.
        reach: Tokens, from the start of a slot, that the rows may look at.
    """

    def __init__(self, layers: int, slots: int) -> None:
        self.slots = slots
        self.rows_R = torch.zeros(0, dtype=torch.long)
        self.places_RQ = torch.zeros(0, 0, dtype=torch.long)
        self.reach = 0
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])

    def aim(self, rows_R: torch.Tensor, places_RQ: torch.Tensor, reach: int) -> None:
        """Choose rows and places for the next forward pass."""
        self.rows_R, self.places_RQ, self.reach = rows_R, places_RQ, reach
