"""Play a pack in a terminal, by hand or by a scripted policy: the worlds, texts and rules of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from codctl.cod.prompts import parse_answer
from codctl.envs.base import Episode, Family, Pack, Policy, Rendering, Situation
from codctl.seeds import derive_seed

Say = Callable[[str], None]
Ask = Callable[[str], str | None]  # None when the person has left


@dataclass(frozen=True)
class Game:
    """How a pack went, as far as it was played."""

    pack: str
    rewards: tuple[float, ...]
    hints: str

    def as_dict(self) -> dict[str, Any]:
        return {"pack": self.pack, "rewards": list(self.rewards), "hints": self.hints}


def play_by_hand(family: Family, pack: Pack, rendering: Rendering, *, ask: Ask, say: Say) -> Game:
    """Let a person play; notes written after each task are shown before the next, as a model's hints are."""
    rewards: list[float] = []
    hints = ""
    for position, slot in enumerate(pack.slots):
        episode = slot.begin(rendering)
        _announce(position, pack, say)
        say(family.solve_prompt(hints, rendering, pack.preset))
        say(f"\n{episode.observation}")
        while not episode.done:
            action = ask("answer> ")
            if action is None:
                return Game(pack.id, tuple(rewards), hints)
            step = episode.act(action)
            say(step.feedback or step.observation)
        rewards.append(episode.reward)
        if position < len(pack) - 1:
            written = ask("your hints for the next task (empty keeps them)> ")
            if written is None:
                break
            hints = written.strip() or hints
    say(f"\nThe truth was: {' '.join(family.truth(pack.world, rendering).split())}")
    return Game(pack.id, tuple(rewards), hints)


def play_by_policy(family: Family, pack: Pack, rendering: Rendering, name: str, *, say: Say) -> Game:
    """Watch a scripted policy, with what it would write as hints."""
    policy = family.policy(name)
    rng = Random(derive_seed("env play", name, pack.id))
    rewards: list[float] = []
    past: list[Episode] = []
    hints = ""
    for position, slot in enumerate(pack.slots):
        episode = slot.begin(rendering)
        situation = Situation(pack, position, episode, tuple(past), hints, rendering)
        _announce(position, pack, say)
        say(f"hints: {hints or '(none yet)'}\n\n{episode.observation}")
        _watch(policy, situation, rng, say)
        rewards.append(episode.reward)
        past.append(episode)
        hints = policy.update(situation, rng)
    say(f"\nhints at the end: {hints}\nthe truth:        {family.truth(pack.world, rendering)}")
    return Game(pack.id, tuple(rewards), hints)


def _watch(policy: Policy, situation: Situation, rng: Random, say: Say) -> None:
    episode = situation.episode
    while not episode.done:
        reply = policy.solve(situation, rng)
        say(f"> {' '.join(reply.split())}")
        answer = parse_answer(reply)
        step = episode.fail(answer.problem) if answer.problem else episode.act(answer.action)
        say(step.feedback or step.observation)


def _announce(position: int, pack: Pack, say: Say) -> None:
    say(f"\n=== task {position + 1} of {len(pack)} ({pack.id}) ===")
