"""Keypad: a door shows symbols, each symbol stands for a digit, and the digits open the door."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from random import Random
from types import MappingProxyType

from codctl.config.names import unknown
from codctl.envs.base import Episode, Family, HintScore, Policy, PolicyView, Rendering, Step
from codctl.envs.solve_prompt import ReplyForm

SYMBOLS = ("sun", "moon", "star", "tree", "fish")
DIGITS = tuple(range(1, 6))
TRIES = 3
SHOWN = {"easy": 3, "hard": 4}  # symbols on a door

RULES = """A door shows symbols. Each symbol stands for a different digit from 1 to 5. Which digit is hidden, but it is
the same for every door of this series. Type the digits in the order of the symbols; you have {tries} tries."""


# --8<-- world
@dataclass(frozen=True)
class Lock:
    """The world. Its hidden fact: the digit of each symbol."""

    digits: tuple[int, ...]


@dataclass(frozen=True)
class Door:
    """A task: some symbols, by number."""

    shown: tuple[int, ...]


# --8<-- world


class Visit(Episode):
    """An attempt at one door. `marks` keeps each digit that was tried, and whether it was right."""

    def __init__(self, lock: Lock, door: Door, rendering: Rendering) -> None:
        self._lock, self.door, self._rendering = lock, door, rendering
        super().__init__(TRIES)
        self.marks: list[tuple[int, int, bool]] = []  # symbol, digit, right
        names = " ".join(SYMBOLS[symbol] for symbol in door.shown)
        self.observation = f"door {names}" if rendering == "compact" else f"The door shows: {names}."

    # --8<-- act
    def act(self, action: str) -> Step:
        words = action.split()
        if len(words) != len(self.door.shown) or any(word not in "12345" or len(word) != 1 for word in words):
            return self.fail(f"{action[:40]!r} is not {len(self.door.shown)} digits from 1 to 5, separated by spaces")
        self.turns += 1
        tried = [(symbol, int(word)) for symbol, word in zip(self.door.shown, words, strict=True)]
        new = [(symbol, digit, self._lock.digits[symbol] == digit) for symbol, digit in tried]
        self.marks += new
        if all(right for *_, right in new):
            return self.end(1.0, "The door is open.")
        if self.turns == self.max_turns:
            return self.end(0.0, f"The door stays shut, there are no tries left. {self._told(new)}")
        return Step(self._told(new), 0.0, done=False)

    # --8<-- act

    def transcript(self) -> str:
        return self._told(self.marks) or "none"

    def _told(self, marks: Sequence[tuple[int, int, bool]]) -> str:
        if self._rendering == "compact":
            return " ".join(f"{SYMBOLS[symbol]}{'=' if right else '!'}{digit}" for symbol, digit, right in marks)
        return " ".join(f"{SYMBOLS[s]} is {'' if right else 'not '}{digit}." for s, digit, right in marks)


# --8<-- policies
class Bayes:
    """Tries the likeliest digits under the exact belief, which `past` and the episode in hand give."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        door = view.slot.task
        guesses = Counter(tuple(digits[symbol] for symbol in door.shown) for digits in self.belief(view))
        return answer(guesses.most_common(1)[0][0])

    def belief(self, view: PolicyView) -> list[tuple[int, ...]]:
        """What is possible. Where accounts contradict each other, the newer ones count."""
        possible = list(permutations(DIGITS))
        for visit in (view.episode, *reversed(view.past)):
            if isinstance(visit, Visit):  # others are distractors
                possible = possible_after([visit], possible) or possible
        return possible

    def update(self, view: PolicyView, rng: Random) -> str:
        return hint(known(self.belief(view)), view.rendering)


class Informed:
    """Knows the world."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return answer([view.world.digits[symbol] for symbol in view.slot.task.shown])

    def update(self, view: PolicyView, rng: Random) -> str:
        return hint(dict(enumerate(view.world.digits)), view.rendering)


# --8<-- policies


class Chance:
    """Types any digits and writes nothing."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return answer([rng.choice(DIGITS) for _ in view.slot.task.shown])

    def update(self, view: PolicyView, rng: Random) -> str:
        return hint({}, view.rendering)


# --8<-- family
class Keypad(Family):
    name = "keypad"
    title = "Keypad: open doors whose symbols hide digits"
    presets = tuple(SHOWN)
    reference = "exact belief over the 120 assignments, likeliest digits at each try"
    learnable = MappingProxyType({"paper": True})

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[Lock, tuple[Door, ...]]:
        lock = Lock(tuple(rng.sample(DIGITS, len(DIGITS))))
        return lock, tuple(Door(tuple(rng.sample(range(len(SYMBOLS)), SHOWN[preset]))) for _ in range(length))

    def redraw(self, world: Lock, rng: Random) -> Lock:
        while (other := Lock(tuple(rng.sample(DIGITS, len(DIGITS))))) == world:
            pass
        return other

    def begin(self, world: Lock, task: Door, rendering: Rendering) -> Visit:
        return Visit(world, task, rendering)

    # --8<-- family

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return "keypad" if rendering == "compact" else RULES.format(tries=TRIES)

    def reply_form(self, preset: str) -> ReplyForm:
        return ReplyForm(ask="type the digits, separated by spaces.", action="2 5 1")

    # --8<-- hints
    def facts(self, world: Lock) -> int:
        return len(world.digits)

    def truth(self, world: Lock, rendering: Rendering) -> str:
        return hint(dict(enumerate(world.digits)), rendering)

    def score_context(self, world: Lock, hints: str, seen: Sequence[Episode]) -> HintScore:
        claimed = {
            (SYMBOLS.index(s), int(d)) for s, d in re.findall(rf"\b({'|'.join(SYMBOLS)})(?:=| is )([1-5])", hints)
        }
        truth = set(enumerate(world.digits))
        right = {fact for fact in claimed & truth if sum(symbol == fact[0] for symbol, _ in claimed) == 1}
        visits = [visit for visit in seen if isinstance(visit, Visit)]
        knowable = set(known(possible_after(visits, list(permutations(DIGITS)))).items())
        return HintScore(len(right), len(claimed - right), len(truth - right), len(knowable), len(right & knowable))

    # --8<-- hints

    def policy(self, name: str, **options: float) -> Policy:
        policies: dict[str, type[Policy]] = {"bayes": Bayes, "informed": Informed, "random": Chance}
        if name not in policies:
            raise unknown(f"policy of {self.name}", name, list(policies), "codctl env list")
        return policies[name]()


def answer(digits: Sequence[int]) -> str:
    return f"<answer>{' '.join(map(str, digits))}</answer>"


def hint(facts: dict[int, int], rendering: Rendering) -> str:
    if rendering == "compact":
        return " ".join(f"{SYMBOLS[symbol]}={digit}" for symbol, digit in sorted(facts.items())) or "none"
    return "\n".join(f"{SYMBOLS[s]} is {digit}." for s, digit in sorted(facts.items())) or "Nothing is known yet."


def possible_after(visits: Sequence[Visit], possible: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The assignments that agree with every mark."""
    marks = {mark for visit in visits for mark in visit.marks}
    return [digits for digits in possible if all((digits[s] == digit) is right for s, digit, right in marks)]


def known(possible: list[tuple[int, ...]]) -> dict[int, int]:
    """The digits that all that is possible agrees on: symbol → digit."""
    columns = [set(column) for column in zip(*possible, strict=True)]
    return {symbol: digits.pop() for symbol, digits in enumerate(columns) if len(digits) == 1}
