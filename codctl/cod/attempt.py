"""One solve episode in play: the replies that are asked of the model and the actions that are played in the world.

The rollout plays an attempt turn by turn. A performer does it in another way: a real agent program stands between the
model and the world, asks for replies through a model proxy and acts through a tool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from codctl.cod.conversation import Chat, Conversation, converse
from codctl.cod.engine import EngineError, Generation
from codctl.cod.prompts import ParsedAnswer, parse_answer, solve_messages
from codctl.cod.settings import RolloutSettings
from codctl.envs.base import Episode, Message, PolicyView, Step
from codctl.outcomes import ReplyFault


class WorldError(Exception):
    """A world that waits for something has not answered; says why on one line."""


Ask = Callable[[Conversation, int], Awaitable[Generation]]  # the conversation so far, and which reply is asked for


@dataclass
class Attempt:
    """One solve episode while it is played.

    Attributes:
        view: Pack, position, episode and the hints in force.
        settings: Of the rollout.
        chat: How conversations are written.
        rollout: Which one of its pack.
        replies: What the model said, in order.
        observations: What it was told: the first one and those that followed.
        actions: What was played.
        fault: What was wrong with the reply that ended the episode, or why there was none.
        version: Of the weights that gave the last reply.
    """

    view: PolicyView
    settings: RolloutSettings
    chat: Chat
    rollout: int
    make: Ask
    replies: list[str] = field(default_factory=list)
    observations: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    fault: ReplyFault | None = None
    version: int = 0
    _conversation: Conversation | None = None

    def __post_init__(self) -> None:
        self.observations.append(self.episode.observation)

    @property
    def episode(self) -> Episode:
        return self.view.episode

    @property
    def conversation(self) -> Conversation:
        """What the model read and wrote so far; as it would begin where nothing was asked of it yet."""
        return self._conversation or self._opened(self.view.hints, self.episode.first)

    def open(self, hints: str, first: str | Sequence[Message]) -> None:
        """Begin the conversation in the form that the model was trained on, with these hints and this observation."""
        self._conversation = self._opened(hints, first)

    def _opened(self, hints: str, first: str | Sequence[Message]) -> Conversation:
        slot, settings = self.view.slot, self.settings
        return converse(self.chat, solve_messages(slot, hints, first, settings.rendering, settings.suggested_tokens))

    async def ask(self, observation: str | None = None) -> ParsedAnswer:
        """The model's next answer. One that cannot be read, or no reply at all, ends the episode.

        Args:
            observation: What the last action led to, as the model is told; None for the first answer.
        """
        if self._conversation is None:
            self.open(self.view.hints, self.episode.first)
        conversation = self.conversation
        if observation is not None:
            conversation.add_observation(observation)
        try:
            generation = await self.make(conversation, len(self.replies))
        except EngineError as error:
            self.lose(error.fault, "the engine gave no reply")
            return ParsedAnswer("", "the engine gave no reply", "no_answer")
        self.version = generation.weight_version
        self.replies.append(conversation.add_reply(generation.token_ids, generation.logprobs))
        strict = self.settings.reads_strictly
        answer = parse_answer(self.replies[-1], strict=strict)
        if answer.problem:
            self.fault = fault_of(generation, self.replies[-1])
            self.episode.fail(answer.problem, answer.kind or "no_answer")
            return answer
        return answer if strict else ParsedAnswer(self.view.slot.family.answered(self.episode, answer.action))

    async def act(self, action: str) -> Step:
        """Play an action."""
        self.actions.append(action)
        try:
            step = await play_action(self.episode, action)
        except WorldError as error:
            self.lose(ReplyFault("lost", str(error)), "the world gave no answer")
            return Step("", self.episode.reward, True, self.episode.feedback)
        if not step.done:
            self.observations.append(step.observation)
        return step

    def lose(self, fault: ReplyFault, reason: str) -> None:
        """End the episode without a score: nobody is to blame who is evaluated here."""
        self.fault = fault
        self.episode.fail(reason)


@dataclass(frozen=True)
class Performance:
    """How an agent program went through one episode.

    Attributes:
        agent: Its name.
        version: Its version.
        protocol: `answer` where the model was shown the form that it was trained on, `tools` where it read what the
            agent wrote.
        ended: How the program ended: `ended`, `turn_cap`, `timeout`, `model_error` or `crashed`.
        model_calls: Requests of the agent that reached the model proxy.
        tool_calls: Calls that reached the world.
        wall_s: Seconds from its start to its end.
        peak_mb: Most memory that it and its children held, in MB; 0 where it is not known.
        context: Whether the hints in force stood in its requests: `whole`, `cut`, `absent`, or `none` where there
            were no hints.
        session: Folder with all that it left behind, below the evaluation's.
    """

    agent: str
    version: str
    protocol: str
    ended: str
    model_calls: int = 0
    tool_calls: int = 0
    wall_s: float = 0.0
    peak_mb: float = 0.0
    context: str = "none"
    session: str = ""


@dataclass(frozen=True)
class Rewritten:
    """The hints that an agent program keeps after an update, and how it went."""

    text: str
    performance: Performance


class Performer(Protocol):
    """Plays episodes in its own way."""

    @property
    def rewrites(self) -> bool:
        """Whether it also writes the hints, in a session and with a memory of its own.

        Otherwise the model is asked for them with codctl's update prompt.
        """

    def within(self, name: str, seed: int) -> Performer:
        """The same one with this sampling seed; what its sessions leave behind carries the name."""

    async def perform(self, attempt: Attempt) -> Performance:
        """Play an episode until the program ends; `attempt.lose` where it could not be played."""

    async def rewrite(self, view: PolicyView, rollout: int, messages: Sequence[Message]) -> Rewritten:
        """The hints that the agent keeps after reading these messages of an update.

        Raises:
            EngineError: It gave none, for no reason of the model's.
        """


async def by_turns(attempt: Attempt) -> None:
    """Play an episode as models are trained: an answer, an action, an observation, and again."""
    observation: str | None = None
    while not attempt.episode.done:
        answer = await attempt.ask(observation)
        if not attempt.episode.done:
            observation = (await attempt.act(answer.action)).observation


async def play_action(episode: Episode, action: str) -> Step:
    """Play one action, and wait for what it leads to where the world does.

    Raises:
        WorldError: It gave no answer.
    """
    step = episode.act(action)
    if isinstance(step, Step):
        return step
    try:
        async with asyncio.timeout(episode.deadline_s):
            return await step
    except TimeoutError as error:
        raise WorldError(f"the world gave no answer within {episode.deadline_s:g} s") from error
    except OSError as error:
        raise WorldError(f"the world gave no answer: {' '.join(str(error).split())}") from error


def fault_of(generation: Generation, text: str) -> ReplyFault | None:
    """What was wrong with a reply that could not be read; None when it is only unreadable."""
    if generation.fault:
        return generation.fault
    if generation.finish_reason == "length":
        return ReplyFault("cut")
    return None if text.strip() else ReplyFault("empty")
