"""Exact belief over the 24 mappings, and the best plan for one task under it.

A belief is a bit set over the permutations of four directions (bit i: PERMUTATIONS[i] is possible).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import permutations

from codctl.envs.frozen_lake.names import CODES, Cell
from codctl.envs.frozen_lake.world import LakeTask, Move

PERMUTATIONS = tuple(permutations(range(4)))
ANY = (1 << len(PERMUTATIONS)) - 1


@cache
def consistent(code: int, directions: int) -> int:
    """The permutations that send `code` to one of `directions` (a 4-bit set)."""
    return sum(1 << i for i, p in enumerate(PERMUTATIONS) if directions >> p[code] & 1)


def observe(belief: int, task: LakeTask, move: Move) -> int:
    """What remains possible after a move was seen."""
    directions = sum(1 << d for d in range(4) if task.move(move.before, d) == move.after)
    return belief & consistent(CODES.index(move.code), directions)


def believe(episodes: Iterable[tuple[LakeTask, list[Move]]], belief: int = ANY) -> int:
    """Fold all moves of some episodes into a belief."""
    for task, moves in episodes:
        for move in moves:
            belief = observe(belief, task, move)
    return belief


@cache
def known_facts(belief: int) -> dict[int, str]:
    """The facts that hold in every possible permutation: direction → code."""
    possible = [p for i, p in enumerate(PERMUTATIONS) if belief >> i & 1]
    return {possible[0][code]: CODES[code] for code in range(4) if possible and len({p[code] for p in possible}) == 1}


@cache
def _canonical(belief: int) -> int:
    """The smallest belief among all relabelings of the codes: they have the same value."""
    possible = [p for i, p in enumerate(PERMUTATIONS) if belief >> i & 1]
    index = {p: i for i, p in enumerate(PERMUTATIONS)}
    return min(sum(1 << index[(p[a], p[b], p[c], p[d])] for p in possible) for a, b, c, d in PERMUTATIONS)


class Planner:
    """Dynamic programme over (cell, belief, turns left) for one task: the most likely way to succeed in *this* task."""

    def __init__(self, task: LakeTask) -> None:
        self._task = task
        self._values: dict[tuple[Cell, int, int], float] = {}

    def value(self, cell: Cell, belief: int, turns: int) -> float:
        """Best probability of success."""
        if turns < self._task.distances.get(cell, turns + 1):
            return 0.0
        if belief & (belief - 1) == 0:  # one permutation left, and the goal is within reach
            return 1.0
        key = (cell, _canonical(belief), turns)
        if key not in self._values:
            self._values[key] = max(self.action_values(cell, key[1], turns))
        return self._values[key]

    def action_values(self, cell: Cell, belief: int, turns: int) -> list[float]:
        """Probability of success after each of the four codes, then acting best."""
        outcomes: dict[Cell, int] = {}
        for direction in range(4):
            after = self._task.move(cell, direction)
            outcomes[after] = outcomes.get(after, 0) | 1 << direction
        total = belief.bit_count()
        values = []
        for code in range(4):
            value = 0.0
            for after, directions in outcomes.items():
                rest = belief & consistent(code, directions)
                if rest:
                    value += rest.bit_count() / total * self._outcome(after, rest, turns - 1)
            values.append(value)
        return values

    def _outcome(self, cell: Cell, belief: int, turns: int) -> float:
        if cell == self._task.goal:
            return 1.0
        return 0.0 if cell in self._task.holes else self.value(cell, belief, turns)
