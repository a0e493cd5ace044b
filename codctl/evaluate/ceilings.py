"""Reference policies on the very packs that a model is evaluated on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from codctl.cod.conversation import ByteChat
from codctl.cod.rollout import Player, RolloutSettings, play_all
from codctl.cod.trajectory import Trajectory
from codctl.engines.scripted import EachFamily, ScriptedEngine
from codctl.envs.base import Pack, Rendering

UNBOUNDED = 10**9  # tokens: a scripted policy has no budget
CEILINGS = ("bayes", "informed")


def play_policy(policy: str, packs: Sequence[Pack], rendering: Rendering, seed: int) -> list[Trajectory]:
    """Let a scripted policy play the packs once each."""
    chat = ByteChat()
    settings = RolloutSettings(rendering, solve_tokens=UNBOUNDED, update_tokens=UNBOUNDED, max_chars=UNBOUNDED)
    player = Player(ScriptedEngine(EachFamily(policy), chat), chat, settings, seed)
    return asyncio.run(play_all(player, packs, 1))


def ceilings(packs: Sequence[Pack], seed: int) -> dict[str, list[float]]:
    """Success by position of each reference policy."""
    found = {}
    for name in CEILINGS:
        trajectories = play_policy(name, packs, "compact", seed)
        found[name] = [
            sum(t.of("solve")[position].raw_reward for t in trajectories) / len(trajectories)
            for position in range(len(packs[0]))
        ]
    return found
