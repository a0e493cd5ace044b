"""The preset `tiny`: the same question without numbers, for models of half a million parameters.

One of twelve terms is the true one. The data of a task fit three terms: the true one and two others, drawn anew. The
agent commits one of them, and is not told whether it is right: only what fits in task after task stays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from codctl.envs.base import Episode, HintScore, Rendering, Step
from codctl.envs.solve_prompt import ReplyForm
from codctl.envs.wording import is_negated, plain

TERMS = 12
FITTING = 3
NAMES = tuple(f"p{number}" for number in range(1, TERMS + 1))
_NAME = re.compile(r"(?<!\w)p(?:1[0-2]|[1-9])(?!\w)", re.ASCII | re.IGNORECASE)
_CLAUSE = re.compile(r"[;\n.]")

_RULES = """\
One of the twelve terms p1 to p12 is in the equation. Which one is hidden; it is the same in all tasks of this series.

In each task data were measured, and three terms fit them: the true one and two others, drawn anew in each task. \
Commit one of the three. It counts if it is the true one, and you are not told whether it was.

What fits in several tasks is more likely to be true: note for the later tasks which terms are still \
possible.{memory}"""
FORM = ReplyForm(ask="choose.", action="p4", thought="Of the terms that fit, p4 also fitted before.")


@dataclass(frozen=True)
class TinyWorld:
    """The hidden fact: the place of the true term in NAMES."""

    true: int


@dataclass(frozen=True)
class TinyTask:
    """What fits besides the true term.

    Attributes:
        others: Places in NAMES, more than are needed: the true term is left out.
        place: Where the true one stands among those that fit.
    """

    others: tuple[int, ...]
    place: int

    def fitting(self, world: TinyWorld) -> tuple[int, ...]:
        wrong = [term for term in self.others if term != world.true][: FITTING - 1]
        return (*wrong[: self.place], world.true, *wrong[self.place :])


class TinyEpisode(Episode):
    """One commit. Reward 1 if it is the true term."""

    shows_reward = False

    def __init__(
        self, world: TinyWorld, task: TinyTask, rendering: Rendering, past: Sequence[TinyEpisode] = ()
    ) -> None:
        """Begin, after earlier episodes that the environment remembers."""
        super().__init__(1)
        self.fitting = task.fitting(world)
        self.rendering = rendering
        self.committed: int | None = None
        self._true = world.true
        self.observation = _observation(self.fitting, [episode.fitting for episode in past], rendering)

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        name = action.strip().lower()
        if name not in NAMES:
            return self.fail(f"{action[:40]!r} is not a term; the terms are p1 to p12")
        self.turns += 1
        self.committed = NAMES.index(name)
        right = self.committed == self._true
        return self.end(float(right), self._feedback(name), {"committed": name})

    def transcript(self) -> str:
        if self.rendering == "compact":
            return names(self.fitting)
        return f"These fit: {names(self.fitting)}."

    def _feedback(self, name: str) -> str:
        return f"{name} of {names(self.fitting)}" if self.rendering == "compact" else f"You committed {name}."


def draw(rng: Random, length: int) -> tuple[TinyWorld, tuple[TinyTask, ...]]:
    world = TinyWorld(rng.randrange(TERMS))
    return world, tuple(
        TinyTask(tuple(rng.sample(range(TERMS), FITTING)), rng.randrange(FITTING)) for _ in range(length)
    )


def redraw(world: TinyWorld, rng: Random) -> TinyWorld:
    return TinyWorld((world.true + rng.randrange(1, TERMS)) % TERMS)


def rules(rendering: Rendering, *, remembers: bool) -> str:
    if rendering == "compact":
        return "pde"
    memory = " What fitted in earlier tasks is shown with each task." if remembers else ""
    return _RULES.format(memory=memory)


def names(terms: Sequence[int]) -> str:
    return " ".join(NAMES[term] for term in terms)


def hint_from(terms: Sequence[int], rendering: Rendering) -> str:
    """Terms that are still possible."""
    if rendering == "compact":
        return names(terms) or "none"
    return f"Still possible: {names(terms)}." if terms else "Nothing is known yet."


def listed(hints: str) -> list[int]:
    """The terms that a hint calls possible, in its order, each once."""
    found: dict[int, None] = {}
    for clause in _CLAUSE.split(plain(hints)):
        if not is_negated(clause):
            found |= dict.fromkeys(NAMES.index(name.lower()) for name in _NAME.findall(clause))
    return list(found)


def surviving(episodes: Sequence[Episode]) -> list[int]:
    """What fitted in all of these. Where nothing did (the world changed, or someone lied), newer ones count."""
    left: list[int] = []
    for episode in reversed(episodes):
        if isinstance(episode, TinyEpisode):
            both = [term for term in left if term in episode.fitting] if left else sorted(episode.fitting)
            if not both:
                break
            left = both
    return left


def score(world: TinyWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
    """One fact: which term. A hint that lists more leaves it open; one that leaves the true term out is wrong."""
    claimed = listed(hints)
    right = claimed == [world.true]
    is_known = surviving(seen) == [world.true]
    return HintScore(
        right=int(right),
        wrong=int(bool(claimed) and world.true not in claimed),
        missing=int(not right),
        knowable=int(is_known),
        knowable_right=int(is_known and right),
        detail={"listed": float(len(claimed)), "true_listed": float(world.true in claimed)},
    )


def _observation(fitting: Sequence[int], before: Sequence[Sequence[int]], rendering: Rendering) -> str:
    if rendering == "compact":
        return " ".join([f"fit {names(fitting)}", *(f"before {names(earlier)}" for earlier in before)])
    told = [f"Earlier, these fitted: {names(earlier)}." for earlier in before]
    return "\n".join([*told, f"The data of this task fit: {names(fitting)}."])
