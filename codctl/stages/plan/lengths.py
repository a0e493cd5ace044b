"""How many tokens a rollout step has: prompts measured on rendered packs, replies assumed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache

from codctl.cod.conversation import ByteChat
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, RolloutSettings, play_all
from codctl.cod.trajectory import EpisodeRecord, Kind
from codctl.config.schema import Config, WorldConfig
from codctl.engines.scripted import EachFamily, ScriptedEngine

PACKS = 8  # rendered for each family
BYTES_PER_TOKEN = {
    "full": 4.0,
    "terse": 3.0,
    "compact": 2.5,
}  # English with a large vocabulary; short words with their own tokens
REPLY_SHARE = {"full": 0.25, "terse": 0.5, "compact": 0.5}  # of its budget that a reply is assumed to use


@dataclass(frozen=True)
class Lengths:
    """Tokens of a rollout step.

    Attributes:
        trajectories: Packs times rollouts.
        episodes: Solves and updates of all of them.
        calls: Replies, expected.
        prompt: Prompt and observation tokens, expected, each counted once.
        reply: Sampled tokens, expected.
        chain: Sampled tokens of one trajectory, one after the other, expected.
        row: Tokens of a mean training row.
        long_row: Of the longest row that is expected.
        longest_row: Of the longest row that the budgets allow.
        most: Tokens of a step when every row were that long.
    """

    trajectories: int
    episodes: int
    calls: float
    prompt: float
    reply: float
    chain: float
    row: float
    long_row: int
    longest_row: int
    most: int

    @property
    def tokens(self) -> float:
        """All tokens of the training rows, expected."""
        return self.prompt + self.reply


@dataclass(frozen=True)
class _Counter:
    """Turns the bytes of rendered episodes into tokens of the recipe."""

    config: Config

    @property
    def per_token(self) -> float:
        return BYTES_PER_TOKEN[self.config.world.rendering]

    def budget(self, kind: Kind) -> int:
        sampling = self.config.sampling
        return sampling.solve_tokens if kind == "solve" else sampling.update_tokens

    def prompt(self, episode: EpisodeRecord) -> float:
        return (len(episode.ids) - sum(episode.loss_mask)) / self.per_token

    def reply(self, episode: EpisodeRecord) -> float:
        return REPLY_SHARE[self.config.world.rendering] * self.budget(episode.kind) * len(episode.replies)

    def longest(self, episode: EpisodeRecord, turns: int) -> float:
        """With the longest hints, every turn played and every budget used up."""
        hints = self.config.context.max_chars / self.per_token
        if episode.kind == "update":
            return self.prompt(episode) + hints + self.budget("update")
        seen = [len(text.encode()) / self.per_token for text in episode.observations]
        return self.prompt(episode) - sum(seen) + hints + turns * (max(seen) + self.budget("solve"))


def measure(config: Config, context: int) -> Lengths:
    """Play a few packs of the recipe by the `bayes` policy and count.

    Args:
        config: Recipe.
        context: Longest sequence of the model.
    """
    world, count = config.world, _Counter(config)
    packs, turns, episodes = _play(world, config.seed)
    rows = [min(count.prompt(episode) + count.reply(episode), context) for episode in episodes]
    trajectories = config.train.packs * config.train.rollouts
    scale = trajectories / packs
    longest = round(min(max(count.longest(episode, turns) for episode in episodes), context))
    reply = sum(map(count.reply, episodes))
    return Lengths(
        trajectories=trajectories,
        episodes=trajectories * (2 * world.length - 1),
        calls=scale * sum(len(episode.replies) for episode in episodes),
        prompt=scale * sum(map(count.prompt, episodes)),
        reply=scale * reply,
        chain=reply / packs,
        row=sum(rows) / len(rows),
        long_row=round(max(rows)),
        longest_row=longest,
        most=trajectories * (2 * world.length - 1) * longest,
    )


@lru_cache(maxsize=8)
def _play(world: WorldConfig, seed: int) -> tuple[int, int, list[EpisodeRecord]]:
    """How many packs were played, the turns that a task allows, and every episode."""
    chat = ByteChat()
    settings = RolloutSettings(world.rendering, solve_tokens=10**6, update_tokens=10**6)
    player = Player(ScriptedEngine(EachFamily("bayes"), chat), chat, settings, seed=seed)
    packs = Mixture.of(world).packs("train", seed, 0, PACKS * len(world.parts))
    turns = max(slot.begin(world.rendering).max_turns for pack in packs for slot in pack.slots)
    return len(packs), turns, [e for t in asyncio.run(play_all(player, packs, 1)) for e in t.episodes]
