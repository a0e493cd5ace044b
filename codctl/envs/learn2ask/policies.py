"""Scripted agents: the oracles, those without memory or thought, and the demonstrator of the warm start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from codctl.envs.agents import agent
from codctl.envs.base import Policy, PolicyView
from codctl.envs.learn2ask import text
from codctl.envs.learn2ask.belief import Belief, after_reading, believe, best_reply, settled
from codctl.envs.learn2ask.claims import claims
from codctl.envs.learn2ask.world import STOP, Asked, AskEpisode


def _interview(view: PolicyView) -> AskEpisode:
    assert isinstance(view.episode, AskEpisode)
    return view.episode


def _hint(facts: Mapping[int, bool], view: PolicyView) -> str:
    return text.hint_from(dict(sorted(facts.items())), view.rendering)


class BayesPolicy:
    """Keeps the belief over all sets through the pack and takes the best reply for the current task.

    Args:
        reads: Whether it also learns from which points an interview has known: exact. Without it, it learns from the
            scores of its replies alone.
        remembers: Whether it keeps what earlier tasks told.
    """

    def __init__(self, *, reads: bool = True, remembers: bool = True) -> None:
        self._reads, self._remembers = reads, remembers

    def solve(self, view: PolicyView, rng: Random) -> str:
        task = _interview(view).task
        belief = self._belief(view)
        if self._reads:
            belief = after_reading(belief, task.known)
        return text.reply(best_reply(belief, task.points, task.known), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint(settled(self._belief(view), _interview(view).task.points), view)

    def _belief(self, view: PolicyView) -> Belief:
        """After all that was told in this trajectory; the newer counts where accounts contradict each other."""
        episode = _interview(view)
        told = (episode, *reversed(view.past)) if self._remembers else (episode,)
        done = [one for one in told if isinstance(one, AskEpisode) and one.done]  # others are distractors
        return believe(done, episode.task.points, episode.task.needed, reads=self._reads)


class InformedPolicy:
    """Knows what must be known, and asks for the first of it that is missing."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        needed = view.world.needed
        missing = [point for point in _interview(view).task.open if needed >> point & 1]
        return text.reply((missing[0],) if missing else STOP, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint({point: bool(view.world.needed >> point & 1) for point in range(view.world.points)}, view)


class StopPolicy:
    """Always ends the interview."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return text.reply(STOP, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint({}, view)


class RandomPolicy:
    """Asks about any open point, and never learns. It ends an interview in which none is open."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        task = _interview(view).task
        return text.reply((rng.choice(task.open),) if task.open else STOP, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint({}, view)


class Demonstrator:
    """Uses hints well and writes them carelessly, so that the warm start leaves the writing to RL.

    Solve: ask for an open point that is known to be needed; else stop where no open point can be needed, or ask about a
    point that may be. Update: keep each known fact with some probability, and sometimes add a wrong one.
    """

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        task, facts = _interview(view).task, _hinted(view)
        asked = self._reply(task.open, facts, task.needed, rng)
        answer = text.reply(asked, view.rendering)
        return answer if view.rendering == "compact" else f"{text.thought(task, asked, facts, rng)}\n{answer}"

    def _reply(self, open_points: tuple[int, ...], facts: Mapping[int, bool], needed: int, rng: Random) -> Asked:
        wanted = [point for point in open_points if facts.get(point)]
        if wanted:
            return (rng.choice(wanted),)
        unknown = [point for point in open_points if point not in facts]
        if not unknown or sum(facts.values()) >= needed or rng.random() < _STOPS:
            return STOP
        return (rng.choice(unknown),)

    def update(self, view: PolicyView, rng: Random) -> str:
        episode = _interview(view)
        seen = {} if episode.scores is None else text.learned(episode.task, episode.asked, episode.scores)
        known = {**_hinted(view), **seen}
        kept = {point: needed for point, needed in known.items() if rng.random() < self._keep}
        free = [point for point in range(episode.task.points) if point not in kept]
        if free and rng.random() < self._wrong:
            kept[rng.choice(free)] = rng.random() < 0.5
        return _hint(kept, view)


_STOPS = 0.35  # how often the demonstrator ends an interview without knowing whether it may: as often as it may


def _hinted(view: PolicyView) -> dict[int, bool]:
    """Facts from the hints in force; what they say both ways is not known."""
    stated = claims(view.hints)
    points = [point for point, _ in stated]
    return {point: needed for point, needed in sorted(stated) if points.count(point) == 1}


def make_policy(name: str, options: Mapping[str, float]) -> Policy:
    return agent(name, options, POLICIES, Demonstrator)


POLICIES: dict[str, Callable[[], Policy]] = {
    "bayes": BayesPolicy,
    "informed": InformedPolicy,
    "forget": partial(BayesPolicy, remembers=False),
    "scores_only": partial(BayesPolicy, reads=False),
    "stop": StopPolicy,
    "random": RandomPolicy,
}
