"""Scripted agents for the preset `tiny`."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from codctl.envs.agents import agent
from codctl.envs.base import Policy, PolicyView
from codctl.envs.pde_discovery import tiny
from codctl.envs.pde_discovery.tiny import NAMES, TinyEpisode


def _episode(view: PolicyView) -> TinyEpisode:
    assert isinstance(view.episode, TinyEpisode)
    return view.episode


class _Chooser:
    """Answers with one of the terms that it holds possible, and notes them."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return answer(rng.choice(self._possible(view)), view)

    def update(self, view: PolicyView, rng: Random) -> str:
        return tiny.hint_from(self._possible(view), view.rendering)

    def _possible(self, view: PolicyView) -> list[int]:
        return list(_episode(view).fitting)


class InformedPolicy(_Chooser):
    def _possible(self, view: PolicyView) -> list[int]:
        return [view.world.true]


class BayesPolicy(_Chooser):
    """Exact: what fitted in all tasks is equally likely."""

    def _possible(self, view: PolicyView) -> list[int]:
        return tiny.surviving([*view.past, view.episode])


class ForgetPolicy(_Chooser):
    """Knows the current task alone."""


class RandomPolicy(_Chooser):
    """As the one that forgets, and notes nothing."""

    def update(self, view: PolicyView, rng: Random) -> str:
        return tiny.hint_from([], view.rendering)


class Demonstrator(_Chooser):
    """Uses hints well and writes them carelessly: each term with some probability, and sometimes a wrong one."""

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        reply = super().solve(view, rng)
        if view.rendering == "compact":
            return reply
        told = set(tiny.listed(view.hints)) & set(_episode(view).fitting)
        said = "It fitted before, and fits again." if told else "Nothing tells them apart, so I take one of the three."
        return f"{said}\n{reply}"

    def update(self, view: PolicyView, rng: Random) -> str:
        kept = [term for term in self._possible(view) if rng.random() < self._keep]
        others = [term for term in range(len(NAMES)) if term not in kept]
        if rng.random() < self._wrong:
            kept.append(rng.choice(others))
        return tiny.hint_from(kept, view.rendering)

    def _possible(self, view: PolicyView) -> list[int]:
        fitting, hinted = _episode(view).fitting, tiny.listed(view.hints)
        return [term for term in fitting if term in hinted] or list(fitting)


def answer(term: int, view: PolicyView) -> str:
    return f"<answer> {NAMES[term]} </answer>" if view.rendering == "compact" else f"<answer>{NAMES[term]}</answer>"


POLICIES: dict[str, type[_Chooser]] = {
    "bayes": BayesPolicy,
    "informed": InformedPolicy,
    "forget": ForgetPolicy,
    "random": RandomPolicy,
}


def make_policy(name: str, options: Mapping[str, float]) -> Policy:
    return agent(name, options, POLICIES, Demonstrator)
