"""How many tokens a rollout step has, counted on a few packs that a scripted policy plays."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path

from codctl.cod.conversation import ByteChat, TemplateChat
from codctl.cod.mixture import Mixture
from codctl.cod.references import demonstrates, usual_policy
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import EpisodeRecord, Kind
from codctl.config.schema import Config, WorldConfig
from codctl.envs.base import UpdateRule
from codctl.envs.registry import family_of
from codctl.models import hub
from codctl.models.load import load_chat
from codctl.plan.rates import ASSUMED
from codctl.plan.sizes import built_chat

PACKS = 8  # rendered for each family
# With the marks of a chat template, where the tokenizer is not at hand: counted with SmolLM2's over all families.
BYTES_PER_TOKEN = {"full": 2.9, "terse": 2.85, "compact": 1.7}
BUILT = 3.9  # of `model.build`, whose tokenizer has the words of its worlds
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
        spread: Deviation of the chains of a step over their mean.
        context: Tokens before a sampled token, in the mean.
        row: Tokens of a mean training row.
        long_row: Of the longest row that is expected.
        longest_row: Of the longest row that the budgets allow.
        most: Tokens of a step when every row were that long.
        counted: How prompts were counted, in words.
        replies_like: Whose replies the sampled ones are taken to be as long as, in words.
    """

    trajectories: int
    episodes: int
    calls: float
    prompt: float
    reply: float
    chain: float
    spread: float
    context: float
    row: float
    long_row: int
    longest_row: int
    most: int
    counted: str = ""
    replies_like: str = ""

    @property
    def tokens(self) -> float:
        """All tokens of the training rows, expected."""
        return self.prompt + self.reply


@dataclass(frozen=True)
class _Counter:
    """Counts the tokens of rendered episodes.

    Attributes:
        config: Recipe.
        chat: In which they were played.
        per_token: Units of the chat in a token: 1 with the model's own tokenizer, else bytes.
        is_like_policy: Whether replies are as long as the policy's.
    """

    config: Config
    chat: ByteChat | TemplateChat
    per_token: float
    is_like_policy: bool

    def budget(self, kind: Kind) -> int:
        sampling = self.config.sampling
        return sampling.solve_tokens if kind == "solve" else sampling.update_tokens

    def prompt(self, episode: EpisodeRecord) -> float:
        return (len(episode.ids) - episode.loss_tokens) / self.per_token

    def reply(self, episode: EpisodeRecord) -> float:
        """All replies of an episode: as the policy gives them, or a share of their budgets."""
        most = self.budget(episode.kind) * len(episode.replies)
        if self.is_like_policy:
            return min(episode.loss_tokens / self.per_token, most)
        return REPLY_SHARE[self.config.world.rendering] * most

    def longest(self, episode: EpisodeRecord, turns: int) -> float:
        """With the longest hints, every turn played and every budget used up."""
        seen = [len(self.chat.encode(text)) / self.per_token for text in episode.observations]
        texts = sum(len(text.encode()) for text in episode.observations)
        hints = self.config.context.max_chars * sum(seen) / max(texts, 1)
        if episode.kind == "update":
            return self.prompt(episode) + hints + self.budget("update")
        return self.prompt(episode) - sum(seen) + hints + turns * (max(seen) + self.budget("solve"))


def measure(config: Config, context: int, reply_spread: float = ASSUMED["reply_spread"].value) -> Lengths:
    """Play a few packs of the recipe by a scripted policy and count.

    With the model's own tokenizer and chat template where they are here. A model that is warm-started replies as its
    demonstrations do; any other one is taken to use a share of its budgets.

    Args:
        config: Recipe.
        context: Longest sequence of the model.
        reply_spread: Deviation of a reply's length over the mean, where replies are not as the demonstrations'.
    """
    world = config.world
    chat, per_token, counted = _chat(config)
    families = [family_of(part) for part in world.parts]
    is_shown = config.warm_start.enabled and all(map(demonstrates, families))
    policy = "demonstrator" if is_shown else usual_policy(families)
    packs, turns, episodes = _play(world, config.context.update, config.seed, policy, chat)
    count = _Counter(config, chat, per_token, is_like_policy=is_shown)
    rows = [min(count.prompt(episode) + count.reply(episode), context) for episode in episodes]
    trajectories = config.train.packs * config.train.rollouts
    scale = trajectories / packs
    longest = round(min(max(count.longest(episode, turns) for episode in episodes), context))
    replies = [count.reply(episode) for episode in episodes]
    reply = sum(replies)
    before = sum(own * max(row - own / 2, 0) for own, row in zip(replies, rows, strict=True))
    calls = sum(len(episode.replies) for episode in episodes)
    share = REPLY_SHARE[world.rendering]
    return Lengths(
        trajectories=trajectories,
        episodes=trajectories * (2 * world.length - 1),
        calls=scale * calls,
        prompt=scale * sum(map(count.prompt, episodes)),
        reply=scale * reply,
        chain=reply / packs,
        spread=sqrt(_variance(replies, packs) + (0 if is_shown else reply_spread**2 * packs / calls)),
        context=before / reply,
        row=sum(rows) / len(rows),
        long_row=round(max(rows)),
        longest_row=longest,
        most=trajectories * (2 * world.length - 1) * longest,
        counted=counted,
        replies_like="as long as the demonstrations" if is_shown else f"assumed: {share:g} of their budgets",
    )


def _variance(replies: list[float], packs: int) -> float:
    """Of the packs' chains, relative to their squared mean: their tasks take more turns or fewer."""
    of_each = len(replies) // packs
    chains = [sum(replies[i : i + of_each]) for i in range(0, len(replies), of_each)]
    mean = sum(chains) / packs
    return sum((chain / mean - 1) ** 2 for chain in chains) / packs


def _chat(config: Config) -> tuple[ByteChat | TemplateChat, float, str]:
    """What counts: a chat, its units in a token, and how to say it."""
    model = config.model
    if model.path is None:
        built = built_chat(config)
        return (built, 1.0, "counted with the tokenizer that the model gets") if built else _guessed(BUILT)
    folder = hub.find(model.path, model.revision, weights=False)
    if folder and (folder / "tokenizer.json").is_file():
        return _chat_of(folder), 1.0, "counted with the model's tokenizer and chat template"
    return _guessed(BYTES_PER_TOKEN[config.world.rendering], ", as SmolLM2 has")


def _guessed(per_token: float, why: str = "") -> tuple[ByteChat, float, str]:
    return _BYTES, per_token, f"assumed: {per_token:g} bytes a token{why}"


@lru_cache(maxsize=8)
def _chat_of(folder: Path) -> TemplateChat:
    return load_chat(folder)


_BYTES = ByteChat()


@lru_cache(maxsize=8)
def _play(
    world: WorldConfig, update: UpdateRule, seed: int, policy: str, chat: ByteChat | TemplateChat
) -> tuple[int, int, list[EpisodeRecord]]:
    """How many packs were played, the turns that a task allows, and every episode."""
    settings = RolloutSettings(world.rendering, solve_tokens=10**6, update_tokens=10**6, update=update)
    player = Player(ScriptedAgent(EachFamily(policy), chat), chat, settings, seed=seed)
    packs = Mixture.of(world).packs("train", seed, 0, PACKS * len(world.parts))
    turns = max(slot.begin(world.rendering).max_turns for pack in packs for slot in pack.slots)
    return len(packs), turns, [e for t in asyncio.run(play_all(player, packs, 1)) for e in t.episodes]
