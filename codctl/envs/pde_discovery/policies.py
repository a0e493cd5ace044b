"""Scripted agents for the numeric presets. All measure at the same points; they differ in how they choose terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from xml.sax.saxutils import escape

import numpy as np

from codctl.envs.agents import agent
from codctl.envs.base import Policy, PolicyView
from codctl.envs.pde_discovery import text
from codctl.envs.pde_discovery.actions import ALL_DATA
from codctl.envs.pde_discovery.belief import Belief, believe
from codctl.envs.pde_discovery.claims import claims
from codctl.envs.pde_discovery.episode import DataSet, PdeEpisode
from codctl.envs.pde_discovery.equations import write
from codctl.envs.pde_discovery.regression import Support
from codctl.envs.pde_discovery.terms import TERMS, Equation

# Five places at the start, where states differ most, and the middle a little later.
DESIGN = ((0.15, 0.0), (0.3, 0.0), (0.5, 0.0), (0.7, 0.0), (0.85, 0.0), (0.5, 0.06))


def pde(view: PolicyView) -> PdeEpisode:
    assert isinstance(view.episode, PdeEpisode)
    return view.episode


def data_of(episodes: Sequence[object]) -> list[DataSet]:
    return [data for episode in episodes if isinstance(episode, PdeEpisode) for data in episode.datasets]


def belief_in(data: Sequence[DataSet], most_terms: int) -> Belief | None:
    if not data:
        return None
    return believe(np.concatenate([d.u for d in data]), np.concatenate([d.y for d in data]), most_terms)


def sample_action(points: Sequence[tuple[float, float]]) -> str:
    inner = "".join(f'<point x="{x:g}" t="{t:g}"/>' for x, t in points)
    return f"<sample_pde_data><point_grid>{inner}</point_grid></sample_pde_data>"


def dictionary_action(terms: Sequence[int]) -> str:
    inner = "".join(f"<term>{TERMS[term]}</term>" for term in terms)
    return f"<run_sparse_regression><dictionary>{inner}</dictionary></run_sparse_regression>"


def candidates_action(supports: Sequence[Support], data: str = ALL_DATA) -> str:
    inner = "".join(f"<equation>{escape(write(dict.fromkeys(s, 1.0)))}</equation>" for s in supports)
    candidates = f"<candidate_equations>{inner}</candidate_equations>"
    return f"<run_sparse_regression><dataset_id>{data}</dataset_id>{candidates}</run_sparse_regression>"


def commit_action(equation: Equation) -> str:
    return (
        f"<update_scientific_context><preferred_equation>{escape(write(equation))}</preferred_equation>"
        "</update_scientific_context>"
    )


class _Experimenter:
    """Sample, fit the support that it believes in, commit the fit."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return f"<answer>{self._action(view, rng)}</answer>"

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from(self._noted(view), view.rendering)

    def _action(self, view: PolicyView, rng: Random) -> str:
        episode = pde(view)
        if not episode.datasets:
            return sample_action(DESIGN)
        if episode.regression is None:
            return self._fit(view, rng)
        return commit_action(episode.regression.best.equation)

    def _fit(self, view: PolicyView, rng: Random) -> str:
        raise NotImplementedError

    def _noted(self, view: PolicyView) -> Equation | None:
        made = pde(view).committed
        return made.equation if made else None


class InformedPolicy(_Experimenter):
    """Knows which terms there are; their coefficients it must fit, since only a fit can be committed."""

    def _fit(self, view: PolicyView, rng: Random) -> str:
        return candidates_action([tuple(view.world.equation)])

    def _noted(self, view: PolicyView) -> Equation:
        truth: Equation = view.world.equation
        return truth


class BayesPolicy(_Experimenter):
    """Keeps all data of the pack and compares all supports with a price for their size.

    It looks at the data by a regression with all terms first, as any agent must. Where the environment forgets, the
    coefficients come from this task alone: only a fit to data that the environment has can be committed.
    """

    remembers = True

    def _action(self, view: PolicyView, rng: Random) -> str:
        episode = pde(view)
        if len(episode.log) == 2:  # sampled, and looked at
            belief = self._belief(view)
            assert belief is not None
            return candidates_action([belief.best], ALL_DATA if self.remembers else episode.datasets[-1].name)
        return super()._action(view, rng)

    def _fit(self, view: PolicyView, rng: Random) -> str:
        return dictionary_action(range(len(TERMS)))

    def _noted(self, view: PolicyView) -> Equation | None:
        belief = self._belief(view)
        return belief.equation if belief else None

    def _belief(self, view: PolicyView) -> Belief | None:
        """What the data say. Where they contradict each other (drift, poison), the newer ones count."""
        most_terms = view.world.preset.most_terms
        episodes = [*(view.past if self.remembers else ()), view.episode]
        belief = belief_in(data_of(episodes), most_terms)
        if belief is None or belief.explains:
            return belief
        for first in reversed(range(len(episodes))):
            newer = belief_in(data_of(episodes[first:]), most_terms)
            if newer is not None and not newer.explains:
                break
            belief = newer or belief
        return belief


class ForgetPolicy(BayesPolicy):
    """The same without what earlier tasks showed, even where the environment keeps it."""

    remembers = False


class RandomPolicy(_Experimenter):
    """Measures at random places early on, fits a few terms drawn at random, and never learns."""

    def _action(self, view: PolicyView, rng: Random) -> str:
        if not pde(view).datasets:
            return sample_action([(rng.uniform(0.01, 0.99), rng.uniform(0, 0.1)) for _ in DESIGN])
        return super()._action(view, rng)

    def _fit(self, view: PolicyView, rng: Random) -> str:
        size = rng.randint(1, view.world.preset.most_terms)
        return candidates_action([tuple(sorted(rng.sample(range(len(TERMS)), size)))])

    def _noted(self, view: PolicyView) -> None:
        return None


class Demonstrator(_Experimenter):
    """Uses hints well and writes them carelessly, so that the warm start leaves the writing to RL.

    Solve: fit the terms that the hints name; without hints, every combination of all terms. Update: note the committed
    equation with some probability, sometimes with a wrong term in it.
    """

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        action = super().solve(view, rng)
        if view.rendering == "compact":
            return action
        episode = pde(view)
        if not episode.datasets:
            said = rng.choice(("First I measure.", "I sample the start, where u differs most.", "I need data first."))
        elif episode.regression is None:
            said = "My hints name the terms, so I fit these." if claims(view.hints).signs else "I try all terms."
        else:
            said = rng.choice(("I commit the best fit.", "This fits best, so I commit it."))
        return f"{said}\n{action}"

    def _fit(self, view: PolicyView, rng: Random) -> str:
        hinted = tuple(claims(view.hints).signs)
        return candidates_action([hinted]) if hinted else dictionary_action(range(len(TERMS)))

    def update(self, view: PolicyView, rng: Random) -> str:
        made = pde(view).committed
        noted = dict(made.equation) if made and rng.random() < self._keep else {}
        if noted and rng.random() < self._wrong:
            noted[rng.choice([term for term in range(len(TERMS)) if term not in noted])] = noted.popitem()[1]
        return text.hint_from(noted, view.rendering)


POLICIES: dict[str, type[_Experimenter]] = {
    "bayes": BayesPolicy,
    "informed": InformedPolicy,
    "forget": ForgetPolicy,
    "random": RandomPolicy,
}


def make_policy(name: str, options: Mapping[str, float]) -> Policy:
    return agent(name, options, POLICIES, Demonstrator)
