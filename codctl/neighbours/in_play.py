"""A pack played with a model that somebody else asks: requests come out as chats, replies go in as texts.

It is codctl's own player that plays. Its conversations are lists of messages here, one token id for each message, so
what is asked, how replies are read and what they lead to are the same as everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from codctl.cod.agent import Agent
from codctl.cod.arms import NoHints, OwnHints
from codctl.cod.engine import Generation, RequestTag, Sampling
from codctl.cod.prompts import solve_messages
from codctl.cod.rollout import Player
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import Kind, Trajectory
from codctl.envs.base import Message, Pack, PolicyView, Rendering, Split
from codctl.envs.registry import check_world, get_family
from codctl.errors import UsageError

_NO_END = 0  # the id that no message has


@dataclass(frozen=True)
class Series:
    """Which packs are played, and how.

    Attributes:
        family: Of the worlds.
        preset: The family's first one by default.
        variant: Likewise.
        rendering: How texts are written.
        length: Tasks in a pack.
        split: Which packs.
        own_hints: Whether the model writes hints for itself between the tasks.
        solve_tokens: Most tokens of an answer.
        update_tokens: Most tokens of an update.
    """

    family: str
    preset: str = ""
    variant: str = ""
    rendering: Rendering = "full"
    length: int = 4
    split: Split = "train"
    own_hints: bool = True
    solve_tokens: int = 512
    update_tokens: int = 1024

    def pack(self, number: int) -> Pack:
        """A pack by its number in the split.

        Raises:
            UsageError: There is no such world.
        """
        found = get_family(self.family)
        preset, variant = self.preset or found.presets[0], self.variant or found.variants[0]
        check_world(self.family, preset, variant, self.rendering)
        if self.length < 1:
            raise UsageError("a pack has at least one task", where="length")
        return found.pack(self.split, number, self.length, preset, variant)

    @property
    def settings(self) -> RolloutSettings:
        return RolloutSettings(self.rendering, solve_tokens=self.solve_tokens, update_tokens=self.update_tokens)


@dataclass(frozen=True)
class Asked:
    """What the model is to reply to.

    Attributes:
        messages: The whole conversation.
        kind: `solve` or `update`.
        position: Of the task in the pack.
        turn: Of the episode, from 0.
        max_tokens: Of the reply.
    """

    messages: tuple[Message, ...]
    kind: Kind
    position: int
    turn: int
    max_tokens: int


class MessageChat:
    """Conversations as messages, for models that take chats: each message is one token id."""

    stop_ids: tuple[int, ...] = (_NO_END,)
    appends = True

    def __init__(self) -> None:
        self._messages: list[Message] = [{"role": "", "content": ""}]

    def open(self, messages: Sequence[Message]) -> list[int]:
        return [self._id(message["role"], message["content"]) for message in messages]

    def follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        return [self._id("user", text)]

    def reply(self, text: str) -> list[int]:
        return [self._id("assistant", text)]

    def encode(self, text: str) -> list[int]:
        return list(text.encode())  # only its length is asked for

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self._messages[one]["content"] for one in ids)

    def show(self, ids: Sequence[int]) -> str:
        return "\n\n".join(f"[{one['role']}]\n{one['content']}" for one in self.messages(ids))

    def specials(self, ids: Sequence[int]) -> list[str]:
        return []

    def messages(self, ids: Sequence[int]) -> tuple[Message, ...]:
        """The conversation that the ids stand for."""
        return tuple(dict(self._messages[one]) for one in ids)

    def _id(self, role: str, content: str) -> int:
        self._messages.append({"role": role, "content": content})
        return len(self._messages) - 1


class PackInPlay:
    """One trajectory, request by request: `ask`, `answer`, and again, until there is nothing more to ask.

    Attributes:
        trajectory: What was played, once it is over.
    """

    def __init__(self, series: Series, number: int) -> None:
        self.pack = series.pack(number)
        self.trajectory: Trajectory | None = None
        chat = MessageChat()
        self._model = _Outside(chat)
        hints = OwnHints() if series.own_hints else NoHints()
        self._player = Player(self._model, chat, series.settings, 0, hints)
        self._playing: asyncio.Task[Trajectory] | None = None

    async def ask(self) -> Asked | None:
        """What the model is to reply to next; None when the pack is over.

        Raises:
            CodctlError: The world cannot be played.
        """
        if self._playing is None:
            self._playing = asyncio.create_task(self._player.play(self.pack, 0))
        asked = asyncio.create_task(self._model.asked.get())
        try:
            await asyncio.wait({asked, self._playing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not asked.done():
                asked.cancel()
        if asked.done() and not asked.cancelled():
            return asked.result()
        self.trajectory = self._playing.result()
        return None

    def answer(self, text: str, *, was_cut: bool = False) -> None:
        """Give the reply to what was asked last."""
        self._model.answer(text, was_cut)

    async def close(self) -> None:
        """End what is still played."""
        if self._playing and not self._playing.done():
            self._playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._playing


@dataclass
class _Outside(Agent):
    """An agent that waits for replies from outside. There is no deadline: who asks the model has one."""

    chat: MessageChat
    asked: asyncio.Queue[Asked] = field(default_factory=asyncio.Queue)
    _reply: asyncio.Future[Generation] | None = None

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        self._reply = asyncio.get_running_loop().create_future()
        messages = self.chat.messages(prompt_ids)
        await self.asked.put(Asked(messages, tag.kind, tag.position, tag.turn, sampling.max_new_tokens))
        return await self._reply

    def answer(self, text: str, was_cut: bool) -> None:
        assert self._reply is not None
        self._reply.set_result(Generation(self.chat.reply(text), [0.0], "length" if was_cut else "stop", 0))


def scores(trajectory: Trajectory) -> dict[str, float]:
    """The rewards of a trajectory by name: the mean of its tasks, then each by its position, and what else is known."""
    solves = trajectory.of("solve")
    found: dict[str, float] = {"reward": sum(one.raw_reward for one in solves) / len(solves)}
    for one in solves:
        found[f"reward_{one.position}"] = one.raw_reward
        found[f"solved_{one.position}"] = float(one.is_solved)
        found[f"turns_{one.position}"] = float(one.turns)
    return found


def first_messages(series: Series, number: int) -> list[Message]:
    """What the model is asked first in a pack."""
    slot = series.pack(number).slots[0]
    return solve_messages(slot, "", slot.begin(series.rendering).first, series.rendering)
