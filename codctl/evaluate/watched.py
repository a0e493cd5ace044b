"""Lets a person watch a trajectory while it is played: an agent that shows what it is asked and what it replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from codctl.cod.agent import Agent, agent_of
from codctl.cod.conversation import Chat
from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling
from codctl.cod.prompts import parse_answer
from codctl.cod.rollout import Player
from codctl.cod.settings import RolloutSettings
from codctl.envs.base import Pack, PolicyView
from codctl.results.transcript import Turn


class Show(Protocol):
    """Turns what happens into text."""

    def trajectory(self, arm: str, pack: str) -> str: ...

    def episode(self, kind: str, view: PolicyView) -> str: ...

    def prompt(self, turn: Turn, specials: Sequence[str], number: int) -> str: ...

    def reply(self, turn: Turn, specials: Sequence[str], *, was_cut: bool) -> str: ...

    def end(self, feedback: str, reward: float) -> str: ...


@dataclass
class Watch:
    """Shows the first pack of each arm; of arms that are played at the same time one after the other.

    Attributes:
        show: Turns what happens into text.
        say: Prints.
        seen: Whether anything was shown.
    """

    show: Show
    say: Callable[[str], None]
    seen: bool = False
    _held: dict[_Watched, list[str]] = field(default_factory=dict)  # the first one is shown as it is played
    _ended: set[_Watched] = field(default_factory=set)

    def __call__(self, arm: str, pack: Pack, player: Player) -> Player:
        """The same player, watched."""
        agent = _Watched(agent_of(player.engine), player.chat, player.settings, self)
        self._held[agent] = []
        self.hear(agent, self.show.trajectory(arm, pack.id))
        return replace(player, engine=agent)

    def hear(self, agent: _Watched, text: str) -> None:
        """Show it now, or once those that began earlier have ended."""
        if agent is next(iter(self._held)):
            self.seen = True
            self.say(text)
        else:
            self._held[agent].append(text)

    def ends(self, agent: _Watched) -> None:
        """Let the next one be shown."""
        self._ended.add(agent)
        while self._held and (first := next(iter(self._held))) in self._ended:
            del self._held[first]
            for text in self._held[following] if (following := next(iter(self._held), None)) else ():
                self.say(text)


@dataclass(eq=False)
class _Watched(Agent):
    """One trajectory's agent."""

    agent: Agent
    chat: Chat
    settings: RolloutSettings
    watch: Watch
    _last: PolicyView | None = None  # of the episode that is being played
    _kind: str = ""
    _ids: list[int] = field(default_factory=list)  # of the conversation so far
    _turns: int = 0

    def open_session(self) -> None:
        self.agent.open_session()

    def close_session(self) -> None:
        self.agent.close_session()
        self._end_episode()
        self.watch.ends(self)

    async def reply(
        self, view: PolicyView, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        self._begin_episode(view, tag.kind)
        before = len(self._ids) if list(prompt_ids[: len(self._ids)]) == self._ids else 0
        new = list(prompt_ids[before:])
        self._turns += 1
        asked = Turn(self.chat.show(new), None, None, "", len(new), 0)
        self._say(self.watch.show.prompt(asked, self.chat.specials(new), self._turns))
        try:
            made = await self.agent.reply(view, prompt_ids, sampling, seed=seed, tag=tag)
        except EngineError as error:
            self._say(self.watch.show.reply(replace(asked, answer=str(error)), (), was_cut=False))
            raise
        self._ids = [*prompt_ids, *made.token_ids]
        read, problem = self._read(tag.kind, self.chat.decode(made.token_ids))
        reply = self.chat.show(made.token_ids)
        said = replace(asked, reply=reply, read=read, answer=problem, reply_tokens=len(made.token_ids))
        was_cut = made.finish_reason == "length"
        self._say(self.watch.show.reply(said, self.chat.specials(made.token_ids), was_cut=was_cut))
        return made

    def _begin_episode(self, view: PolicyView, kind: str) -> None:
        if self._last and (self._kind, self._last.position) == (kind, view.position):
            return
        self._end_episode()
        self._last, self._kind, self._ids, self._turns = view, kind, [], 0
        self._say(self.watch.show.episode(kind, view))

    def _end_episode(self) -> None:
        if self._last and self._kind == "solve" and self._last.episode.done:
            self._say(self.watch.show.end(self._last.episode.feedback, self._last.episode.reward))
        self._last = None

    def _read(self, kind: str, reply: str) -> tuple[str | None, str]:
        """What the rollout will read from a reply, or why it will read nothing."""
        strict = self.settings.reads_strictly
        if kind == "solve":
            answer = parse_answer(reply, strict=strict)
            return (None if answer.problem else answer.action), ""  # the problem is said at the end of the episode
        update = self.settings.read_update(reply, self._last.hints if self._last else "")
        if update.problem:
            return None, update.problem
        return (update.text, "") if update.edits is None else (update.edits, f"The hints are now: {update.text}")

    def _say(self, text: str) -> None:
        self.watch.hear(self, text)
