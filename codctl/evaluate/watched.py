"""Lets a person watch a trajectory while it is played: an engine that shows what it is asked and what it replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from codctl.cod.context import parse_update
from codctl.cod.conversation import Chat
from codctl.cod.engine import Asker, Engine, EngineError, Generation, Sampling, Weights
from codctl.cod.prompts import parse_answer, without_reasoning
from codctl.cod.rollout import Player, RolloutSettings
from codctl.envs.base import Pack, Situation
from codctl.results.transcript import Turn


class Show(Protocol):
    """Turns what happens into text."""

    def trajectory(self, arm: str, pack: str) -> str: ...

    def episode(self, kind: str, situation: Situation) -> str: ...

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
        engine = _Watched(player.engine, player.chat, player.settings, self)
        self._held[engine] = []
        self.hear(engine, self.show.trajectory(arm, pack.id))
        return replace(player, engine=engine)

    def hear(self, engine: _Watched, text: str) -> None:
        """Show it now, or once those that began earlier have ended."""
        if engine is next(iter(self._held)):
            self.seen = True
            self.say(text)
        else:
            self._held[engine].append(text)

    def ends(self, engine: _Watched) -> None:
        """Let the next one be shown."""
        self._ended.add(engine)
        while self._held and (first := next(iter(self._held))) in self._ended:
            del self._held[first]
            for text in self._held[following] if (following := next(iter(self._held), None)) else ():
                self.say(text)


@dataclass(eq=False)
class _Watched:
    """One trajectory's engine."""

    engine: Engine
    chat: Chat
    settings: RolloutSettings
    watch: Watch
    _last: Asker | None = None
    _ids: list[int] = field(default_factory=list)  # of the conversation so far
    _turns: int = 0

    def take_seat(self) -> None:
        self.engine.take_seat()

    def leave_seat(self) -> None:
        self.engine.leave_seat()
        self._end_episode()
        self.watch.ends(self)

    async def update_weights(self, weights: Weights) -> None:
        await self.engine.update_weights(weights)

    async def aclose(self) -> None:
        await self.engine.aclose()

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        self._begin_episode(asker)
        before = len(self._ids) if list(prompt_ids[: len(self._ids)]) == self._ids else 0
        new = list(prompt_ids[before:])
        self._turns += 1
        asked = Turn(self.chat.show(new), None, None, "", len(new), 0)
        self._say(self.watch.show.prompt(asked, self.chat.specials(new), self._turns))
        try:
            made = await self.engine.generate(prompt_ids, sampling, seed=seed, asker=asker)
        except EngineError as error:
            self._say(self.watch.show.reply(replace(asked, answer=str(error)), (), was_cut=False))
            raise
        self._ids = [*prompt_ids, *made.token_ids]
        read, problem = self._read(asker, self.chat.decode(made.token_ids))
        reply = self.chat.show(made.token_ids)
        said = replace(asked, reply=reply, read=read, answer=problem, reply_tokens=len(made.token_ids))
        was_cut = made.finish_reason == "length"
        self._say(self.watch.show.reply(said, self.chat.specials(made.token_ids), was_cut=was_cut))
        return made

    def _begin_episode(self, asker: Asker) -> None:
        last = self._last
        if last and (last.kind, last.situation.position) == (asker.kind, asker.situation.position):
            return
        self._end_episode()
        self._last, self._ids, self._turns = asker, [], 0
        self._say(self.watch.show.episode(asker.kind, asker.situation))

    def _end_episode(self) -> None:
        if self._last and self._last.kind == "solve" and self._last.situation.episode.done:
            episode = self._last.situation.episode
            self._say(self.watch.show.end(episode.feedback, episode.reward))
        self._last = None

    def _read(self, asker: Asker, reply: str) -> tuple[str | None, str]:
        """What the rollout will read from a reply, or why it will read nothing."""
        strict = self.settings.reads_strictly
        if asker.kind == "solve":
            answer = parse_answer(reply, strict=strict)
            return (None if answer.problem else answer.action), ""  # the problem is said at the end of the episode
        update = parse_update(reply if strict else without_reasoning(reply), self.settings.max_chars)
        return (None, update.problem) if update.problem else (update.text, "")

    def _say(self, text: str) -> None:
        self.watch.hear(self, text)
