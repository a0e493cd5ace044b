"""arms=[own,lie]: the truth about another world as a hint."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from codctl.cod.arms import Arm
from codctl.cod.context import Revision
from codctl.envs.base import Episode, Pack


class Lie(Arm):
    title = "a false hint"

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        slot = pack.slots[position]
        return slot.family.truth(slot.family.redraw(slot.world, Random(position)), self.rendering)
