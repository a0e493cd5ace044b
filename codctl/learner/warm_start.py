"""Demonstrations for the warm start, played by a scripted policy.

They are trajectories of the very rollout that RL uses, so token ids and loss masks are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from codctl.cod.context import Revision
from codctl.cod.conversation import Chat
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, RolloutSettings, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.trajectory import EpisodeRecord
from codctl.config.schema import Config
from codctl.envs.base import Episode, Pack
from codctl.seeds import derive_seed

_PACKS_AT_ONCE = 20  # between two signs of life


@dataclass(frozen=True)
class TrueHints:
    """A random part of the truth at every position, so that using hints well is shown from the first task on."""

    rendering: Any
    seed: int
    updates: bool = True

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        rng = Random(derive_seed(self.seed, "demonstration hints", pack.id, position))
        slot = pack.slots[position]
        return slot.family.partial_truth(slot.world, self.rendering, rng)


def demonstrations(
    config: Config, chat: Chat, settings: RolloutSettings, played: Callable[[int, int], None] = lambda done, total: None
) -> list[EpisodeRecord]:
    """Episodes of the demonstrator, tokenised as RL tokenises them.

    Args:
        config: Recipe.
        chat: Of the model that learns from them.
        settings: How they are played.
        played: Called with packs done and in all.
    """
    warm = config.warm_start
    policy = EachFamily("demonstrator", keep_fact=warm.keep_fact, wrong_fact=warm.wrong_fact)
    hints = TrueHints(config.world.rendering, config.seed)
    player = Player(ScriptedAgent(policy, chat), chat, settings, config.seed, hints)
    mixture, found = Mixture.of(config.world), list[EpisodeRecord]()
    for first in range(0, warm.packs, _PACKS_AT_ONCE):
        packs = mixture.packs("demonstration", config.seed, first, min(_PACKS_AT_ONCE, warm.packs - first))
        found += [e for trajectory in asyncio.run(play_all(player, packs, 1)) for e in trajectory.episodes]
        played(first + len(packs), warm.packs)
    return found
