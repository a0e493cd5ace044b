"""Play a pack in a terminal. A person sits where a model sits: same rollout, same prompts, same score."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from codctl.cod.conversation import ByteChat
from codctl.cod.engine import Asker, EngineError, Generation, Sampling, Weights
from codctl.cod.prompts import Message, update_reply
from codctl.cod.rollout import Player, RolloutSettings
from codctl.cod.trajectory import Trajectory
from codctl.engines.scripted import EachFamily
from codctl.envs.base import Pack, Policy, Rendering
from codctl.evaluate.ceilings import UNBOUNDED, play_policy, references
from codctl.evaluate.positions import position_metrics

Say = Callable[[str], None]
Ask = Callable[[str], str | None]  # None when the person has left
_SEED = 0


@dataclass(frozen=True)
class Game:
    """How a pack went, as far as it was played. Values by position; None where there is none.

    Attributes:
        pack: Its id.
        finished: Whether the last task was played to its end.
        success: Raw reward.
        reward: Less the price of turns: what a model in training gets.
        hint_correctness: Share of the knowable facts that the hints in force state.
        ceilings: Success of `bayes` and `informed` on this very pack.
        hints: In force at each position.
    """

    pack: str
    finished: bool
    success: list[float | None]
    reward: list[float | None]
    hint_correctness: list[float | None]
    ceilings: dict[str, list[float]]
    hints: list[str]

    @property
    def score(self) -> float | None:
        """Mean success over the tasks that were played."""
        played = [value for value in self.success if value is not None]
        return sum(played) / len(played) if played else None

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "score": self.score}


def play_by_hand(pack: Pack, rendering: Rendering, *, ask: Ask, say: Say) -> Game:
    """Let a person play; what they write after each task is shown before the next, as a model's hints are."""
    return _play(pack, rendering, _Person(ask, say), say)


def play_by_policy(pack: Pack, rendering: Rendering, name: str, *, say: Say) -> Game:
    """Watch a scripted policy.

    Raises:
        UsageError: A family in the pack has no policy of this name.
    """
    for slot in pack.slots:
        slot.family.policy(name)
    return _play(pack, rendering, _Watched(EachFamily(name), say), say)


class _Ears(ByteChat):
    """Keeps the newest texts of a conversation, as they are."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def open(self, messages: Sequence[Message]) -> list[int]:
        self.heard = [message["content"] for message in messages]
        return super().open(messages)

    def follow_up(self, text: str, *, stopped: bool) -> list[int]:
        self.heard = [text]
        return super().follow_up(text, stopped=stopped)


class _Table:
    """An engine whose replies come from `reply`, and who says aloud what a model would read."""

    def __init__(self, say: Say) -> None:
        self.chat = _Ears()
        self._say = say
        self._left = False

    def take_seat(self) -> None: ...

    def leave_seat(self) -> None: ...

    async def update_weights(self, weights: Weights) -> None: ...

    async def aclose(self) -> None: ...

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        if self._left:
            raise EngineError("the player left")
        situation = asker.situation
        if asker.kind == "update":
            self._say(f"\n{_ending(situation.episode.reward, situation.episode.feedback)}")
        else:
            if situation.episode.turns == 0:
                self._say(f"\n=== task {situation.position + 1} of {len(situation.pack)} ({situation.pack.id}) ===")
            self._say("\n\n".join(self.chat.heard))
        ids = self.chat.encode(self.reply(asker, seed))
        return Generation(ids, [0.0] * len(ids), "stop", 0)

    def reply(self, asker: Asker, seed: int) -> str:
        raise NotImplementedError


class _Person(_Table):
    def __init__(self, ask: Ask, say: Say) -> None:
        super().__init__(say)
        self._ask = ask

    def reply(self, asker: Asker, seed: int) -> str:
        if asker.kind == "solve":
            answer = self._answer("answer> ")
            return answer if "<answer>" in answer else f"<answer>{answer}</answer>"
        hints = self._answer("your hints for the next tasks (empty keeps them)> ").strip()
        return update_reply(hints or asker.situation.hints, asker.situation.rendering)

    def _answer(self, question: str) -> str:
        answer = self._ask(question)
        if answer is None:
            self._left = True
            raise EngineError("the player left")
        # What a terminal could not decode arrives as half characters, which no text may hold.
        return answer.encode(errors="replace").decode()


class _Watched(_Table):
    def __init__(self, policy: Policy, say: Say) -> None:
        super().__init__(say)
        self._policy = policy

    def reply(self, asker: Asker, seed: int) -> str:
        rng = Random(seed)
        if asker.kind == "solve":
            reply = self._policy.solve(asker.situation, rng)
            self._say(f"> {' '.join(reply.split())}")
            return reply
        hints = self._policy.update(asker.situation, rng)
        self._say(f"hints> {' / '.join(hints.splitlines())}")
        return update_reply(hints, asker.situation.rendering)


def _play(pack: Pack, rendering: Rendering, engine: _Table, say: Say) -> Game:
    settings = RolloutSettings(
        rendering, solve_tokens=UNBOUNDED, update_tokens=UNBOUNDED, max_chars=UNBOUNDED, deadline_s=UNBOUNDED
    )
    player = Player(engine, engine.chat, settings, _SEED)
    # Not asyncio.run: its handler for Ctrl-C would wait for the person to type on.
    loop = asyncio.new_event_loop()
    try:
        trajectory = loop.run_until_complete(player.play(pack, 0))
    finally:
        loop.close()
    last = trajectory.of("solve")[-1]
    if not last.failed:
        say(f"\n{_ending(last.raw_reward, last.feedback)}")
    return _game(pack, trajectory)


def _game(pack: Pack, trajectory: Trajectory) -> Game:
    metrics = position_metrics([trajectory])
    episodes = trajectory.of("solve")

    def by_position(measure: str) -> list[float | None]:
        return [metrics.get(f"{measure}/position_{position}") for position in range(len(pack))]

    return Game(
        pack=pack.id,
        finished=not episodes[-1].failed,
        success=by_position("success"),
        reward=by_position("reward"),
        hint_correctness=by_position("hint_correctness"),
        ceilings=_ceilings(pack),
        hints=[episode.hints for episode in episodes],
    )


def _ceilings(pack: Pack) -> dict[str, list[float]]:
    names = references(slot.family for slot in pack.slots)
    played = {name: play_policy(name, [pack], "compact", _SEED)[0] for name in names}
    return {name: [episode.raw_reward for episode in trajectory.of("solve")] for name, trajectory in played.items()}


def _ending(reward: float, feedback: str) -> str:
    return f"{feedback} Reward {reward:g}."
