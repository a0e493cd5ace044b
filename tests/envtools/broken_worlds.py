"""Worlds that are each wrong in one way, for the check that must notice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Any, ClassVar

from codctl.envs.base import Episode, Family, HintScore, Pack, Policy, PolicyView, Rendering, Step
from tests.example_world.dial import Dial, Mark, Offset, RememberingDial, Setting
from tests.example_world.keypad import Bayes, Chance, Door, Informed, Keypad, Lock, Visit

_CHANCE = Random(1)


class Broken(Keypad):
    """A keypad with other visits, if `visit` says so, and other policies."""

    visit: type[Visit] = Visit
    agents: ClassVar[dict[str, type[Policy]]] = {}

    def begin(self, world: Lock, task: Door, rendering: Rendering) -> Visit:
        return self.visit(world, task, rendering)

    def policy(self, name: str, **options: float) -> Policy:
        return self.agents[name]() if name in self.agents else super().policy(name, **options)


# --- packs ------------------------------------------------------------------------------------------------------------


class TooShort(Broken):
    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[Lock, tuple[Door, ...]]:
        lock, doors = super().sample(rng, length, preset, variant)
        return lock, doors[1:]


class OwnGenerator(Broken):
    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[Lock, tuple[Door, ...]]:
        return super().sample(_CHANCE, length, preset, variant)


class Patient(Visit):
    """Never takes no for an answer."""

    def act(self, action: str) -> Step:
        self.turns = 0
        return super().act(action)


class Endless(Broken):
    visit = Patient


class Backwards(Broken):
    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[Lock, tuple[Door, ...]]:
        lock, doors = super().sample(rng, length, preset, variant)
        return lock, doors[::-1]


class OneSplit(Broken):
    def pack(self, split: str, index: int, length: int, preset: str, variant: str | None = None) -> Pack:
        return replace(super().pack("test", index, length, preset, variant), split=split)


class SameAgain(Broken):
    def redraw(self, world: Lock, rng: Random) -> Lock:
        return world


class Hashed(Broken):
    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[Lock, tuple[Door, ...]]:
        return super().sample(Random(rng.randrange(9) + hash("keypad")), length, preset, variant)


# --- references -------------------------------------------------------------------------------------------------------


class Jam(Visit):
    def end(self, reward: float, feedback: str, info: object = None) -> Step:
        return super().end(0.0, feedback)


class Jammed(Broken):
    visit = Jam


class Ignorant(Broken):
    agents: ClassVar = {"informed": Chance}


class Obvious(Broken):
    agents: ClassVar = {"bayes": Informed}


class Forgetful(Bayes):
    def belief(self, view: PolicyView) -> list[tuple[int, ...]]:
        return super().belief(replace(view, past=()))


class Unlearnable(Broken):
    agents: ClassVar = {"bayes": Forgetful}


class SecretlyLearnable(Broken):
    learnable = MappingProxyType({"paper": False})


class Gift(Visit):
    def end(self, reward: float, feedback: str, info: object = None) -> Step:
        return super().end(2 * reward, feedback)


class Generous(Broken):
    visit = Gift


# --- sharing ----------------------------------------------------------------------------------------------------------


class Gossip(Visit):
    """All visits share their marks."""

    everything: ClassVar[list[tuple[int, int, bool]]] = []

    def __init__(self, lock: Lock, door: Door, rendering: Rendering) -> None:
        super().__init__(lock, door, rendering)
        self.marks = self.everything


class Gossiping(Broken):
    visit = Gossip


class Wear(Visit):
    """Each try wears the lock."""

    def act(self, action: str) -> Step:
        object.__setattr__(self._lock, "worn", getattr(self._lock, "worn", 0) + 1)
        return super().act(action)


class Wearing(Broken):
    visit = Wear


class Counting(Broken):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def policy(self, name: str, **options: float) -> Policy:
        self.asked.append(name)
        return super().policy(name, **options)


class Dice(Visit):
    def act(self, action: str) -> Step:
        random.random()
        return super().act(action)


class Rolling(Broken):
    visit = Dice


# --- texts ------------------------------------------------------------------------------------------------------------


class Miscounting(Broken):
    def facts(self, world: Lock) -> int:
        return 6


class Credulous(Broken):
    def score_context(self, world: Lock, hints: str, seen: Sequence[Episode]) -> HintScore:
        return super().score_context(world, hints + self.truth(world, "compact") * (not hints), seen)


class Secretive(Broken):
    def solve_prompt(self, hints: str, rendering: Rendering, preset: str) -> str:
        return super().solve_prompt("", rendering, preset)


class Mute(Visit):
    def end(self, reward: float, feedback: str, info: object = None) -> Step:
        return super().end(reward, feedback if self.unreadable else "")


class Muted(Broken):
    visit = Mute


class Talkative(Broken):
    def solve_prompt(self, hints: str, rendering: Rendering, preset: str) -> str:
        return super().solve_prompt(hints, rendering, preset) + " Mind the gap." * 3000


# --- robustness -------------------------------------------------------------------------------------------------------


class Trusting(Visit):
    def act(self, action: str) -> Step:
        return super().act(" ".join(str(int(word)) for word in action.split()))


class Fragile(Broken):
    visit = Trusting


class Literal(Bayes):
    """Believes everything."""

    def belief(self, view: PolicyView) -> list[Any]:
        from tests.example_world.keypad import DIGITS, permutations, possible_after

        visits = [visit for visit in (view.episode, *view.past) if isinstance(visit, Visit)]
        return possible_after(visits, list(permutations(DIGITS)))


class Gullible(Broken):
    agents: ClassVar = {"bayes": Literal}


class Forgetful(Dial):
    """Its `bayes` does no better than one that forgets everything between tasks."""

    variants = ("hints_only",)

    def in_variant(self, variant: str) -> Family:
        return self

    def policy(self, name: str, **options: float) -> Policy:
        return super().policy("forget" if name == "bayes" else name)


class SharedMemory(RememberingDial):
    """Remembers what was set in a world, by whichever trajectory."""

    variants = ("environment",)

    def __init__(self) -> None:
        self._told: dict[Any, list[Episode]] = {}

    def in_variant(self, variant: str) -> Family:
        return self

    def begin_after(self, world: Offset, task: Mark, rendering: Rendering, past: Sequence[Episode]) -> Setting:
        told = self._told.setdefault(world, [])
        found = super().begin_after(world, task, rendering, told)
        told.append(found)
        return found
