"""Dial: a graded world that can remember. Marks on a dial are off by a hidden number; the nearer the better."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from codctl.config.names import unknown
from codctl.envs.base import Episode, Family, HintScore, Policy, PolicyView, Rendering, Step
from codctl.envs.solve_prompt import ReplyForm

MARKS = range(10)

RULES = """A dial has the levels 0 to 9 in a circle. A task shows a mark; the level that it stands for is the mark plus
a hidden offset, counted around the circle. The offset is the same for every task of this series. Set the dial once. The
reward is 1 at the right level, less 0.2 for each level that you are away from it."""


@dataclass(frozen=True)
class Offset:
    """The world. Its hidden fact: the offset."""

    value: int


@dataclass(frozen=True)
class Mark:
    """A task."""

    shown: int


def away(level: int, other: int) -> int:
    """How many levels lie between two, around the circle."""
    return min((level - other) % 10, (other - level) % 10)


class Setting(Episode):
    """One try. `told` is what a world that remembers shows of earlier tasks."""

    fail_reward = -0.1

    def __init__(self, world: Offset, task: Mark, rendering: Rendering, told: str = "") -> None:
        self._world, self.task = world, task
        super().__init__(1)
        self.level = self.error = -1
        shown = f"mark {task.shown}" if rendering == "compact" else f"The mark is {task.shown}."
        self.observation = f"{told} {shown}".strip()

    def act(self, action: str) -> Step:
        if action not in map(str, MARKS):
            return self.fail(f"{action[:40]!r} is not a level from 0 to 9")
        self.turns += 1
        self.level = int(action)
        self.error = away(self.level, (self.task.shown + self._world.value) % 10)
        return self.end(1.0 - self.error / 5, self.transcript(), solved=self.error == 0)

    def transcript(self) -> str:
        return f"{self.task.shown} {self.level} off {self.error}" if self.error >= 0 else "none"


class Bayes:
    """Sets the level of the first offset that agrees with all it has seen; with `forgets`, of this task only."""

    def __init__(self, *, forgets: bool = False) -> None:
        self._forgets = forgets

    def solve(self, view: PolicyView, rng: Random) -> str:
        return answer(view, (() if self._forgets else possible(view.past)) or MARKS)

    def update(self, view: PolicyView, rng: Random) -> str:
        return "" if self._forgets else hint(possible([*view.past, view.episode]))


class Informed:
    """Knows the world."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return answer(view, [view.world.value])

    def update(self, view: PolicyView, rng: Random) -> str:
        return hint([view.world.value])


class Chance:
    """Sets any level; as a demonstrator it follows a hint, if there is one, and writes down what is possible."""

    def __init__(self, *, follows: bool = False) -> None:
        self._follows = follows

    def solve(self, view: PolicyView, rng: Random) -> str:
        claimed = claims(view.hints) if self._follows else []
        return answer(view, [rng.choice(claimed or MARKS)])

    def update(self, view: PolicyView, rng: Random) -> str:
        return hint(possible([*view.past, view.episode])) if self._follows else "none"


class Dial(Family):
    name = "dial"
    title = "Dial: set levels whose marks are off by a hidden offset"
    presets = ("tiny",)
    variants = ("hints_only", "environment")
    renderings = ("full", "compact")
    policies = ("bayes", "informed", "forget", "random")
    reference = "the first offset that agrees with everything seen"
    learnable = MappingProxyType({"hints_only": True, "environment": True})
    graded = True
    reward_range = (-0.1, 1.0)
    turn_penalty = 0.0

    def in_variant(self, variant: str) -> Family:
        return RememberingDial() if variant == "environment" else Dial()

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[Offset, tuple[Mark, ...]]:
        return Offset(rng.randrange(10)), tuple(Mark(rng.randrange(10)) for _ in range(length))

    def redraw(self, world: Offset, rng: Random) -> Offset:
        return Offset((world.value + rng.randrange(1, 10)) % 10)

    def begin(self, world: Offset, task: Mark, rendering: Rendering) -> Setting:
        return Setting(world, task, rendering)

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return "dial" if rendering == "compact" else RULES

    def reply_form(self, preset: str) -> ReplyForm:
        return ReplyForm(ask="choose the level.", action="7")

    def facts(self, world: Offset) -> int:
        return 1

    def truth(self, world: Offset, rendering: Rendering) -> str:
        return hint([world.value])

    def score_context(self, world: Offset, hints: str, seen: Sequence[Episode]) -> HintScore:
        claimed, known = claims(hints), possible(seen)
        right = {world.value} if claimed == [world.value] else set()
        detail = {"levels_off": sum(away(one, world.value) for one in claimed) / len(claimed)} if claimed else {}
        return HintScore.of(set(claimed), right, {world.value}, {world.value} if len(known) == 1 else set(), detail)

    def policy(self, name: str, **options: float) -> Policy:
        made: dict[str, Policy] = {
            "bayes": Bayes(),
            "forget": Bayes(forgets=True),
            "informed": Informed(),
            "random": Chance(),
            "demonstrator": Chance(follows=True),
        }
        if name not in made:
            raise unknown(f"policy of {self.name}", name, list(made), "codctl env list")
        return made[name]


class RememberingDial(Dial):
    """Shows all that was set before: a pure function of the earlier episodes in this world."""

    remembers = True

    def begin_after(self, world: Offset, task: Mark, rendering: Rendering, past: Sequence[Episode]) -> Setting:
        told = " ; ".join(one.transcript() for one in past if isinstance(one, Setting) and one.error >= 0)
        return Setting(world, task, rendering, f"before {told} ;" if told else "")


def answer(view: PolicyView, offsets: Sequence[int]) -> str:
    return f"<answer>{(view.slot.task.shown + offsets[0]) % 10}</answer>"


def hint(offsets: Sequence[int]) -> str:
    return " ".join(f"offset={value}" for value in offsets) if 0 < len(offsets) < 10 else "none"


def claims(hints: str) -> list[int]:
    return list(dict.fromkeys(int(value) for value in re.findall(r"\boffset=([0-9])\b", hints)))


def possible(seen: Sequence[Episode]) -> list[int]:
    """The offsets that agree with what was seen; where accounts contradict each other, the newer ones count."""
    left = list(MARKS)
    for one in reversed(seen):
        if isinstance(one, Setting) and one.error >= 0:
            agree = [value for value in left if away(one.level, (one.task.shown + value) % 10) == one.error]
            left = agree or left
    return left
