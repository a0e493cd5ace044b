"""strategy=twice: every task two times in a row."""

from __future__ import annotations

from dataclasses import replace

from codctl.cod.strategies import Regular, Strategy
from codctl.envs.base import Pack


class Twice(Strategy):
    title = "every task two times in a row"

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        pack = regular(index)
        slots = tuple(pack.slots[position // 2] for position in range(length))
        return replace(pack, slots=slots, strategy="twice")
