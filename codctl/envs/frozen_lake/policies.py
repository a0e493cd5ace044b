"""Scripted agents: the two oracles, a random one, and the demonstrator of the warm start with its thoughts."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Literal

from codctl.envs.agents import agent
from codctl.envs.base import Policy, PolicyView, Rendering
from codctl.envs.frozen_lake import terse, text
from codctl.envs.frozen_lake.belief import ANY, Planner, believe, known_facts
from codctl.envs.frozen_lake.claims import claims
from codctl.envs.frozen_lake.names import CODES, DIRECTIONS, Cell
from codctl.envs.frozen_lake.world import LakeEpisode, LakeWorld

Source = Literal["seen", "hints", "none"]

_AWAY = {"up": "above me", "down": "below me", "left": "to my left", "right": "to my right"}
_SAID = {
    "seen": (
        "In this task {code} has moved me {way}, so I use it again.",
        "I have seen that {code} moves {way}.",
        "{code} took me {way} before, so it will again.",
    ),
    "hints": (
        "My hints say that {code} moves {way}.",
        "According to my hints, {code} moves {way}.",
        "The hints give {code} for {way}.",
    ),
    "none": (
        "I do not know which code moves {way}, so I try {code}.",
        "The code for {way} is not known yet, and I try {code}.",
        "Nothing tells me how to move {way}; {code} may do it, so I try it.",
    ),
}


def thought(here: Cell, goal: Cell, way: str, code: str, source: Source, rendering: Rendering, rng: Random) -> str:
    """A sentence or two; one that calls a try a try."""
    if rendering == "terse":
        return terse.thought(way, code, known=source != "none", rng=rng)
    return f"{_aim(here, goal, way, rng)} {rng.choice(_SAID[source]).format(code=code, way=way)}"


def _aim(here: Cell, goal: Cell, way: str, rng: Random) -> str:
    away = terse.offsets(here, goal)
    where = " and ".join(f"{_count(count, direction)} {_AWAY[direction]}" for direction, count in away.items())
    if way in away:
        wants = (f"so I want to move {way}", f"so I go {way}")
    else:
        wants = (f"but the direct way is blocked, so I go {way}", f"but holes are in the way, so I go around: {way}")
    return f"The goal is {where}, {rng.choice(wants)}."


def _count(count: int, direction: str) -> str:
    noun = "row" if direction in ("up", "down") else "column"
    return f"{count} {noun}{'' if count == 1 else 's'}"


def belief_of(view: PolicyView) -> int:
    """The exact belief after all that was told in this trajectory.

    Where accounts contradict each other (the world changed, or someone lied), the newer ones count: from the newest
    back, an episode that leaves nothing possible ends the memory.
    """
    belief = ANY
    for episode in (view.episode, *reversed(view.past)):
        if isinstance(episode, LakeEpisode):  # others are distractors
            narrowed = believe([(episode.task, episode.moves)], belief)
            if not narrowed:
                break
            belief = narrowed
    return belief


def _lake(view: PolicyView) -> tuple[LakeEpisode, LakeWorld]:
    assert isinstance(view.episode, LakeEpisode)
    return view.episode, view.world


class BayesPolicy:
    """Keeps the exact belief through the pack and plans for the current task only; needs no hints."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode, _ = _lake(view)
        belief = belief_of(view)
        planner = Planner(episode.task)
        values = planner.action_values(episode.cell, belief, episode.max_turns - episode.turns)
        best = max(range(4), key=lambda code: values[code])
        if belief & (belief - 1) == 0:  # all is known: take a shortest way, not just any way within the budget
            best = _shortest(episode, known_facts(belief))
        return text.reply(None, CODES[best], view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from(dict(sorted(known_facts(belief_of(view)).items())), view.rendering)


class InformedPolicy:
    """Knows the mapping and walks a shortest path."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode, world = _lake(view)
        truth = {direction: world.code_of(direction) for direction in range(4)}
        return text.reply(None, CODES[_shortest(episode, truth)], view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from({d: _lake(view)[1].code_of(d) for d in range(4)}, view.rendering)


class RandomPolicy:
    """Plays any code and never learns."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return text.reply(None, rng.choice(CODES), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from({}, view.rendering)


class Demonstrator:
    """Uses hints well and writes them carelessly, so that the warm start leaves the writing to RL.

    Solve: want a direction that brings the goal nearer, one whose code is known if there is one; answer with the known
    code, else with a random code that no known direction owns. Update: keep each known fact with some probability, and
    sometimes add a wrong one.
    """

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode, _ = _lake(view)
        known, seen = self._known(view), _seen(episode)
        wanted = nearer(episode)
        if not wanted:  # nothing leads nearer (closed in by holes): any direction is as good
            wanted = list(range(4))
        sure = [direction for direction in wanted if direction in known]
        direction = rng.choice(sure or wanted)
        unused = [code for code in CODES if code not in known.values()]
        code = known.get(direction) or rng.choice(unused or list(CODES))
        if view.rendering == "compact":
            return text.reply(DIRECTIONS[direction], code, "compact")
        source: Source = "seen" if direction in seen else "hints" if direction in known else "none"
        way = DIRECTIONS[direction]
        said = thought(episode.cell, episode.task.goal, way, code, source, view.rendering, rng)
        return f"{said}\n{text.reply(None, code, view.rendering)}"

    def update(self, view: PolicyView, rng: Random) -> str:
        known = self._known(view)
        kept = {direction: code for direction, code in known.items() if rng.random() < self._keep}
        free = [direction for direction in range(4) if direction not in kept]
        if free and rng.random() < self._wrong:
            kept[rng.choice(free)] = rng.choice(CODES)
        return text.hint_from(dict(sorted(kept.items())), view.rendering)

    def _known(self, view: PolicyView) -> dict[int, str]:
        """Facts from the hints in force, overruled by what was seen in this episode."""
        seen = _seen(_lake(view)[0])
        # Sorted: the order of a set of texts differs between processes, and random draws follow it.
        hinted = {DIRECTIONS.index(direction): code for code, direction in sorted(claims(view.hints))}
        merged = {d: c for d, c in hinted.items() if c not in seen.values() and d not in seen}
        return {**merged, **seen}


def _seen(episode: LakeEpisode) -> dict[int, str]:
    return {move.direction: move.code for move in episode.moves if move.direction is not None}


def nearer(episode: LakeEpisode) -> list[int]:
    """Directions that bring the goal nearer."""
    task, here = episode.task, episode.task.distances.get(episode.cell, 0)
    return [d for d in range(4) if task.distances.get(task.move(episode.cell, d), here) < here]


def _shortest(episode: LakeEpisode, codes: Mapping[int, str]) -> int:
    return CODES.index(codes[nearer(episode)[0]])


def make_policy(name: str, options: Mapping[str, float]) -> Policy:
    policies: dict[str, type[Policy]] = {"bayes": BayesPolicy, "informed": InformedPolicy, "random": RandomPolicy}
    return agent(name, options, policies, Demonstrator)
