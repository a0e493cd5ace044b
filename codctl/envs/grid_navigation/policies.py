"""Scripted agents: they plan the same way and differ in what they think that unseen cells cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from codctl.envs.agents import agent
from codctl.envs.base import Episode, Policy, PolicyView
from codctl.envs.grid_navigation import text
from codctl.envs.grid_navigation.claims import noted
from codctl.envs.grid_navigation.estimate import by_kernel, flat
from codctl.envs.grid_navigation.names import Cell, Guesses, entered_cells, tens
from codctl.envs.grid_navigation.planner import Array, can_reach, cheapest, costs_of
from codctl.envs.grid_navigation.world import GridEpisode

Estimate = Callable[[Guesses, int, float], Array]  # known costs, side, mean cost → cost of every cell


def remembered(view: PolicyView) -> dict[Cell, int]:
    """Costs seen in this trajectory.

    Where accounts contradict each other (the world changed, or someone lied), the newer ones count: from the newest
    back, an episode that contradicts what is known ends the memory.
    """
    known = dict(_grid(view.episode).known)
    for episode in reversed(view.past):
        if isinstance(episode, GridEpisode) and episode.side == _grid(view.episode).side:  # others are distractors
            if any(known.get(cell, cost) != cost for cell, cost in episode.seen.items()):
                break
            known |= episode.seen
    return known


def forgotten(view: PolicyView) -> dict[Cell, int]:
    """Costs seen in the task in hand alone."""
    return dict(_grid(view.episode).seen)


class MapPolicy:
    """Plans on a map of what was seen, filled up with an estimate; needs no hints and does not explore."""

    def __init__(self, estimate: Estimate, known: Callable[[PolicyView], dict[Cell, int]] = remembered) -> None:
        self._estimate, self._known = estimate, known

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = _grid(view.episode)
        known = dict(sorted(self._known(view).items()))  # sums of floats depend on the order
        costs_SS = self._estimate(known, episode.side, episode.settings.mean_cost)
        return text.reply(next_move(episode, costs_SS), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from(dict(sorted(self._known(view).items())), _grid(view.episode).side, view.rendering)


class InformedPolicy:
    """Knows the map and takes the best way."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return text.reply(next_move(_grid(view.episode), costs_of(view.world)), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        truth = {cell: view.world.cost(cell) for cell in view.world.cells}
        return text.hint_from(truth, view.world.side, view.rendering)


class RandomPolicy:
    """Any move after which the goal can still be reached."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return text.reply(rng.choice(open_moves(_grid(view.episode))), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from({}, _grid(view.episode).side, view.rendering)


class Demonstrator:
    """Uses hints well and writes them carelessly, so that the warm start leaves the writing to RL.

    Solve: plan with what the hints and this task have told, and the mean cost elsewhere. Update: copy the hints, then
    add each cell that is new with some probability, and its cost wrong with some probability.
    """

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = _grid(view.episode)
        costs_SS = flat(_told(view), episode.side, episode.settings.mean_cost)
        answer = text.reply(end := next_move(episode, costs_SS), view.rendering)
        return answer if view.rendering == "compact" else f"{_thought(episode, end, _told(view))}\n{answer}"

    def update(self, view: PolicyView, rng: Random) -> str:
        episode = _grid(view.episode)
        kept = {cell: round(cost) for cell, cost in noted(view.hints, episode.side).items()}
        for cell, cost in episode.seen.items():
            if cell not in kept and rng.random() < self._keep:
                kept[cell] = rng.randrange(100) if rng.random() < self._wrong else cost
        return text.hint_from(kept, episode.side, view.rendering)


def next_move(episode: GridEpisode, costs_SS: Array) -> Cell:
    """The first move of the best plan from where the episode stands."""
    left = episode.max_turns - episode.turns
    if not can_reach(episode.cell, episode.task.goal, left):
        return open_moves(episode)[0]
    plan = cheapest(costs_SS, episode.cell, episode.task.goal, left, episode.total, episode.entered)
    return plan.moves[0]


def open_moves(episode: GridEpisode) -> list[Cell]:
    """The moves that leave the goal within reach; all moves if none does."""
    (row, column), side, left = episode.cell, episode.side, episode.max_turns - episode.turns - 1
    moves = [(row, there) for there in range(side) if there != column]
    moves += [(there, column) for there in range(side) if there != row]
    return [move for move in moves if can_reach(move, episode.task.goal, left)] or moves


def _told(view: PolicyView) -> dict[Cell, float]:
    """Costs from the hints in force, overruled by what the observations of this task show, as exactly as they do."""
    episode = _grid(view.episode)
    compact = view.rendering == "compact"
    shown = {cell: 10 * tens(cost) + 4.5 if compact else float(cost) for cell, cost in episode.known.items()}
    return {**noted(view.hints, episode.side), **shown}


def _thought(episode: GridEpisode, end: Cell, told: Guesses) -> str:
    """A sentence about the move; it states no cost."""
    cells = entered_cells(episode.cell, end)
    known = sum(cell in told for cell in cells)
    last = episode.turns == episode.max_turns - 1
    aim = "to the target" if last else f"from {episode.cell[0]},{episode.cell[1]} to {end[0]},{end[1]}"
    if known == len(cells):
        return f"I know the cells on the way {aim}, and this way is the cheapest that I see."
    if known:
        return f"I know some of the cells on the way {aim}, and the others may be cheap."
    return f"I do not know the cells on the way {aim}, so I find out what they cost."


def _grid(episode: Episode) -> GridEpisode:
    assert isinstance(episode, GridEpisode)
    return episode


def make_policy(name: str, options: Mapping[str, float]) -> Policy:
    policies: dict[str, Callable[[], Policy]] = {
        "bayes": lambda: MapPolicy(by_kernel),
        "informed": InformedPolicy,
        "forget": lambda: MapPolicy(by_kernel, forgotten),
        "mean": lambda: MapPolicy(flat),
        "zero": lambda: MapPolicy(lambda known, side, _: flat(known, side, 0.0)),
        "random": RandomPolicy,
    }
    return agent(name, options, policies, Demonstrator, keep_fact=0.5, wrong_fact=0.2)
