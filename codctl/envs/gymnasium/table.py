"""The transitions of a toy-text environment of Gymnasium, and its states in words."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from codctl.errors import UsageError

CODES = ("K", "Q", "X", "Z", "J", "V", "W", "H")  # what actions are hidden behind


@dataclass(frozen=True)
class Outcome:
    """Where an action leads in a state, and what the environment gives for it."""

    state: int
    reward: float
    terminated: bool


def drawing(env: Any, state: int) -> str:
    """A state as the environment draws it, without colours: enough where no colour carries meaning."""
    toy = env.unwrapped
    toy.s, toy.lastaction = state, None  # the drawing would name the last action
    return re.sub("\033\\[[0-9;]*m", "", str(toy.render())).strip()


@dataclass(frozen=True)
class ToyText:
    """An environment of Gymnasium, by what it takes to make it.

    Attributes:
        id: As in `gymnasium.make`.
        moves: A word for each of its actions, in its order.
        goal_reward: Least reward of a terminating step that counts as success.
        options: Further arguments of `gymnasium.make`, as pairs.
        draw: A state in words, from the environment and the number of the state.
    """

    id: str
    moves: tuple[str, ...]
    goal_reward: float
    options: tuple[tuple[str, Any], ...] = ()
    draw: Callable[[Any, int], str] = drawing

    @property
    def table(self) -> Table:
        return _table(self)

    def state_text(self, state: int) -> str:
        return _state_texts(self)[state]

    def make(self, render_mode: str | None = None) -> Any:
        import gymnasium

        return gymnasium.make(self.id, render_mode=render_mode, **dict(self.options))


class Table:
    """The transitions of an environment, and how far each state is from success.

    Raises:
        UsageError: It has no table of transitions, an action has several outcomes, or there are other numbers of
            actions than words for them.
    """

    def __init__(self, source: ToyText) -> None:
        table = getattr(source.make().unwrapped, "P", None)
        if table is None:
            raise UsageError(f"{source.id} has no transition table P: only toy-text environments can be wrapped")
        self._goal_reward = source.goal_reward
        self.moves: dict[int, tuple[Outcome, ...]] = {}
        for state, actions in table.items():
            ways = [{(int(s), float(r), bool(t)) for p, s, r, t in actions[a] if p > 0} for a in sorted(actions)]
            if any(len(way) != 1 for way in ways):
                raise UsageError(
                    f"{source.id} is not deterministic: an action in state {state} has several outcomes",
                    hint="for FrozenLake: options=(('is_slippery', False),)",
                )
            if len(ways) != len(source.moves) or len(ways) > len(CODES):
                raise UsageError(
                    f"{source.id} has {len(ways)} actions and {len(source.moves)} words for them",
                    hint=f"give `moves` one word for each action, at most {len(CODES)}",
                )
            self.moves[int(state)] = tuple(Outcome(*next(iter(way))) for way in ways)

    def succeeds(self, outcome: Outcome) -> bool:
        return outcome.terminated and outcome.reward >= self._goal_reward

    @cached_property
    def distances(self) -> dict[int, int]:
        """Fewest actions to success from each state that can reach it."""
        into: dict[int, list[int]] = {}
        found: dict[int, int] = {}
        for state, outcomes in self.moves.items():
            for outcome in outcomes:
                if self.succeeds(outcome):
                    found[state] = 1
                elif not outcome.terminated:
                    into.setdefault(outcome.state, []).append(state)
        queue = deque(sorted(found))
        while queue:
            state = queue.popleft()
            for before in into.get(state, []):
                if before not in found:
                    found[before] = found[state] + 1
                    queue.append(before)
        return found

    def left(self, outcome: Outcome) -> int | None:
        """Fewest actions to success after an outcome; None when there is no way."""
        if self.succeeds(outcome):
            return 0
        return None if outcome.terminated else self.distances.get(outcome.state)


@cache
def _table(source: ToyText) -> Table:
    return Table(source)


@cache
def _state_texts(source: ToyText) -> dict[int, str]:
    """Every state in words, written once: the environment that draws them keeps a state of its own."""
    env = source.make(render_mode="ansi")
    env.reset(seed=0)
    return {state: source.draw(env, state) for state in source.table.moves}
