"""Demonstrations for the warm start: played by a scripted policy, or read from a folder of `codctl env demonstrate`.

They are trajectories of the very rollout that RL uses, so token ids and loss masks are the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from codctl.cod.context import Revision
from codctl.cod.conversation import Chat, converse
from codctl.cod.delta import text_of
from codctl.cod.mixture import Mixture
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import EpisodeRecord, Kind
from codctl.config.schema import Config
from codctl.envs.base import Episode, HintScore, Message, Pack, Rendering, UpdateRule
from codctl.envs.registry import check_world
from codctl.errors import PreflightError, RefusedError
from codctl.files.seal import read_hashes, read_info, why_not_sealed
from codctl.seeds import derive_seed, text_digest

_PACKS_AT_ONCE = 20  # between two signs of life


@dataclass(frozen=True)
class TrueHints:
    """A random part of the truth at every position, so that using hints well is shown from the first task on."""

    rendering: Any
    seed: int
    update: UpdateRule = "rewrite"
    updates: bool = True

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        rng = Random(derive_seed(self.seed, "demonstration hints", pack.id, position))
        slot = pack.slots[position]
        truth = slot.family.partial_truth(slot.world, self.rendering, rng)
        if self.update == "delta":
            return text_of(slot.family.items(truth, self.rendering), self.rendering)
        return truth


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
    hints = TrueHints(config.world.rendering, config.seed, settings.update)
    player = Player(ScriptedAgent(policy, chat), chat, settings, config.seed, hints)
    mixture, found = Mixture.of(config.world), list[EpisodeRecord]()
    for first in range(0, warm.packs, _PACKS_AT_ONCE):
        packs = mixture.packs("demonstration", config.seed, first, min(_PACKS_AT_ONCE, warm.packs - first))
        found += [e for trajectory in asyncio.run(play_all(player, packs, 1)) for e in trajectory.episodes]
        played(first + len(packs), warm.packs)
    return found


FILE, FORMAT = "demonstrations.parquet", 1
_NO_SCORE = HintScore(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Demonstration:
    """One episode that went well.

    Attributes:
        pack: Id of its pack.
        rollout: Which of the pack's trajectories it is of.
        kind: solve or update.
        position: In the pack.
        messages: System, user, assistant, user, assistant, …
        prompt: How many of them the first reply answers: more than two where the task began as a conversation.
    """

    pack: str
    rollout: int
    kind: Kind
    position: int
    messages: tuple[Message, ...]
    prompt: int = 2


def prompts_digest(family: str, preset: str, variant: str, rendering: Rendering) -> str:
    """Changes when the family writes other prompts: those of a few tasks are hashed."""
    found = check_world(family, preset, variant, rendering)
    packs = [found.pack("demonstration", number, 2, preset, variant) for number in range(3)]
    texts = [found.solve_prompt("", rendering, preset)]
    for episode in (slot.begin(rendering) for pack in packs for slot in pack.slots):
        texts += [message["content"] for message in episode.opening] or [episode.observation]
    return text_digest(json.dumps(texts))


def digest_of(folder: Path) -> str:
    """Tells demonstrations from others, whatever their folder is called."""
    return read_hashes(folder)[FILE][:16]


def other_source(folder: str) -> RefusedError:
    """Why a warm start that learned from other demonstrations does not go on."""
    return RefusedError(
        f"the run began with other demonstrations than {folder} holds now",
        where="warm_start.demonstrations",
        hint="put them back, or start over with --fresh or another --name",
    )


def check(config: Config) -> dict[str, Any]:
    """What `warm_start.demonstrations` was sealed with; it must suit the recipe.

    Raises:
        PreflightError: There are none, they are damaged, or are of other worlds or prompts.
    """
    folder, where = Path(str(config.warm_start.demonstrations)), "warm_start.demonstrations"
    rule = " --update delta" if config.context.update == "delta" else ""
    command = f"codctl env demonstrate {config.world.parts[0].family} --rendering {config.world.rendering}{rule} …"
    if problem := why_not_sealed(folder):
        raise PreflightError(f"no demonstrations in {folder}: {problem}", where=where, hint=command)
    info = read_info(folder)
    if info.get("format") != FORMAT or "spec" not in info:
        raise PreflightError(f"{folder} holds something else than demonstrations", where=where, hint=command)
    spec = info["spec"]
    families = [part.family for part in config.world.parts]
    if families != [spec["family"]] or config.world.rendering != spec["rendering"]:
        raise PreflightError(
            f"the demonstrations are of {spec['family']} in {spec['rendering']}, the recipe trains on "
            f"{' and '.join(families)} in {config.world.rendering}",
            where=where,
            hint=command,
        )
    if config.context.update != spec.get("update", "rewrite"):
        raise PreflightError(
            f"the demonstrations show updates by {spec.get('update', 'rewrite')}, the recipe has context.update: "
            f"{config.context.update}",
            where=where,
            hint=command,
        )
    if info["prompts"] != prompts_digest(spec["family"], spec["preset"], spec["variant"], spec["rendering"]):
        raise PreflightError(
            f"{spec['family']} writes other prompts than when the demonstrations in {folder} were made",
            where=where,
            hint=command,
        )
    return info


def read(folder: Path) -> list[Demonstration]:
    """In the order of packs."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / FILE).to_pylist()
    return [Demonstration(**{**row, "messages": tuple(row["messages"])}) for row in rows]


def write(path: Path, found: Sequence[Demonstration]) -> None:
    """Store demonstrations, in the order of packs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema(
        [
            ("pack", pa.string()),
            ("rollout", pa.int32()),
            ("kind", pa.string()),
            ("position", pa.int32()),
            ("messages", pa.list_(message)),
            ("prompt", pa.int32()),
        ]
    )
    pq.write_table(pa.Table.from_pylist([asdict(one) for one in found], schema), path, compression="zstd")


@dataclass(frozen=True)
class Tokenised:
    """Training rows, and how many demonstrations had a reply that is longer than the recipe's token budgets."""

    episodes: list[EpisodeRecord]
    too_long: int


def of_folder(config: Config, chat: Chat) -> Tokenised:
    """The demonstrations of a recipe's folder, as its model reads and writes them; of `warm_start.packs` at most."""
    found = read(Path(str(config.warm_start.demonstrations)))
    packs = set(list(dict.fromkeys(one.pack for one in found))[: config.warm_start.packs])
    chosen = [episode_of(one, chat) for one in found if one.pack in packs]
    budget = {"solve": config.sampling.solve_tokens, "update": config.sampling.update_tokens}
    fitting = [episode for episode in chosen if max(_reply_lengths(episode)) <= budget[episode.kind]]
    return Tokenised(fitting, len(chosen) - len(fitting))


def episode_of(one: Demonstration, chat: Chat) -> EpisodeRecord:
    """The tokens of an episode, with a loss on the replies."""
    first, rest = one.messages[: one.prompt], one.messages[one.prompt :]
    conversation = converse(chat, first)
    for message in rest:
        if message["role"] == "assistant":
            ids = chat.reply(message["content"])
            conversation.add_reply(ids, [0.0] * len(ids))
        else:
            conversation.add_observation(message["content"])
    replies = _contents(rest, "assistant")
    return EpisodeRecord(
        **conversation.arrays(),
        kind=one.kind,
        position=one.position,
        turn_ends=conversation.turn_ends,
        raw_reward=float(one.kind == "solve"),
        shaped_reward=float(one.kind == "solve"),
        turns=len(replies),
        hints="",
        hint_score=_NO_SCORE,
        replies=replies,
        observations=_contents([first[-1], *rest], "user"),
        rendered=not chat.appends,
    )


def _contents(messages: Sequence[Message], role: str) -> tuple[str, ...]:
    return tuple(message["content"] for message in messages if message["role"] == role)


def _reply_lengths(episode: EpisodeRecord) -> Iterator[int]:
    start = 0
    for end in episode.turn_ends:
        yield int(np.count_nonzero(episode.loss_mask[start:end]))
        start = end
