"""A training in discrete events, with drawn lengths: what the formulas of `codctl.plan` are compared with."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from codctl.plan.waves import Pace


@dataclass(frozen=True)
class World:
    """How lengths are drawn.

    Attributes:
        episodes: Of a trajectory, each a sequence of its own.
        turns: Most replies of an episode; as many as not are drawn.
        reply: Tokens of a mean reply.
        sigma: Of the log-normal lengths of replies, which are cut at four times the mean.
        prompt: Tokens before the first reply of an episode.
    """

    episodes: int = 7
    turns: int = 6
    reply: float = 500
    sigma: float = 0.6
    prompt: int = 800

    def trajectory(self, rng: Random) -> list[int]:
        """Sampled tokens of each episode."""
        return [self._episode(rng) for _ in range(self.episodes)]

    def _episode(self, rng: Random) -> int:
        replies = 1 + sum(rng.random() < 0.5 for _ in range(self.turns - 1))
        mean = self.reply / 2.718281828 ** (self.sigma**2 / 2)
        return sum(round(min(4 * self.reply, 1 + rng.lognormvariate(0, self.sigma) * mean)) for _ in range(replies))


@dataclass
class Engine:
    """One engine on a wave: its sequences decode side by side, and the others wait in order.

    Attributes:
        pace: How fast it is.
        waiting: Trajectories, by number, with the tokens of their episodes.
    """

    pace: Pace
    prompt: int
    waiting: deque[tuple[int, list[int]]] = field(default_factory=deque)

    def play(self) -> Iterator[tuple[float, int]]:
        """The second in which each trajectory is there, and its number."""
        now, step, tokens = 0.0, 0, 0  # seconds, decoding steps, tokens in all live sequences
        live: list[tuple[int, int, int, list[int]]] = []  # step at which it ends, number, start, later episodes

        def begin(number: int, episodes: list[int]) -> None:
            nonlocal now, tokens
            now += self.prompt * self.pace.prompt
            tokens += self.prompt
            heapq.heappush(live, (step + episodes[0], number, step, episodes[1:]))

        while live or self.waiting:
            while self.waiting and len(live) < self.pace.seats:
                begin(*self.waiting.popleft())
            until = live[0][0]
            passed = until - step
            now += passed * (self.pace.step + len(live) * self.pace.row)
            now += self.pace.token * (passed * tokens + len(live) * passed * (passed - 1) / 2)
            tokens += passed * len(live)
            step = until
            _, number, began, later = heapq.heappop(live)
            tokens -= self.prompt + step - began
            if later:
                begin(number, later)
            else:
                yield now, number


def wave(
    pace: Pace, world: World, rng: Random, *, trajectories: int, steps: int, engines: int
) -> tuple[list[float], list[float]]:
    """When the trajectories of each rollout step of a wave are there, and the tokens of each step."""
    drawn = [world.trajectory(rng) for _ in range(trajectories * steps)]
    there = [0.0] * len(drawn)
    for first in range(engines):
        own = deque((i, drawn[i]) for i in range(first, len(drawn), engines))
        for second, number in Engine(pace, world.prompt, own).play():
            there[number] = second
    parts = [slice(i * trajectories, (i + 1) * trajectories) for i in range(steps)]
    return [max(there[part]) for part in parts], [float(sum(map(sum, drawn[part]))) for part in parts]


@dataclass(frozen=True)
class Costs:
    """Seconds beside playing: as `codctl.plan.schedule.Durations` has them, `learn` for each sampled token."""

    learn: float
    publish: float
    load: float
    validate: float
    save: float


def side_by_side(
    pace: Pace, world: World, costs: Costs, *, trajectories: int, steps: int, engines: int, lead: int, waves: int
) -> float:
    """Seconds of a rollout step, in rhythm, of a training whose engines and learners have devices of their own.

    Rollout step s (from 1) is played with the weights of version `version(s)`, as in codctl.train: the learner's after
    that many steps.
    """
    rng = Random(0)

    def version(step: int) -> int:
        return max(0, (step - 2) // steps * steps - lead * steps)

    free = {"engines": 0.0, "learner": 0.0}
    learned = {0: 0.0}  # when a version can be loaded
    step, held = 1, 0
    while step < waves * steps:
        group = [step]
        while version(group[-1] + 1) == version(step) and len(group) < steps:
            group.append(group[-1] + 1)
        start = max(free["engines"], learned[version(step)])
        if version(step) != held:
            start += costs.load
            held = version(step)
        complete, tokens = wave(pace, world, rng, trajectories=trajectories, steps=len(group), engines=engines)
        free["engines"] = start + max(complete) + costs.validate * len(group)
        for number, there, size in zip(group, complete, tokens, strict=True):
            free["learner"] = max(free["learner"], start + there) + costs.learn * size + costs.save
            if number % steps == 0:
                free["learner"] += costs.publish
            learned[number] = free["learner"]
        step = group[-1] + 1
    first, last = waves // 4 * steps, step - 1
    return (learned[last] - learned[first + 1]) / (last - first - 1)
