"""Scripted agents: references with and without knowledge of the world, a random one, and the demonstrator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from codctl.envs.agents import agent
from codctl.envs.base import Episode, Policy, PolicyView, Rendering
from codctl.envs.optimal_control import text
from codctl.envs.optimal_control.belief import best_law, newest_possible
from codctl.envs.optimal_control.claims import claims
from codctl.envs.optimal_control.claims import notes as laws_noted
from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.estimate import estimate, newest_consistent
from codctl.envs.optimal_control.generator import PRESETS, sample_task, sample_world
from codctl.envs.optimal_control.laws import LAWS, RESIDUALS, WORLDS, law_of, outcome, residual
from codctl.envs.optimal_control.optimum import best_pushes, feedback_gains
from codctl.envs.optimal_control.world import ControlEpisode, courses_of

Facts = dict[str, float | str]  # constants by name, or where laws ended

# The proportional-derivative gains that are best over all worlds where nothing is known, b taken to be positive.
BLIND = "0.3*(x_target - x) - 0.8*v"
KICK = "0.2 if t == 0 else 0"


def by_step(terms: Sequence[str]) -> str:
    """An expression that is another one in each step."""
    *first, last = terms
    return " else ".join([*(f"{term} if t == {t}" for t, term in enumerate(first)), last])


def optimum(world: ControlWorld, task: ControlTask) -> str:
    """The exact optimum of a known world: a push for each step."""
    return by_step([f"{u:.6g}" for u in best_pushes(world, task)])


def regulator(world: ControlWorld, task: ControlTask) -> str:
    """The linear feedback of a known world, with gains for each step."""
    gains = feedback_gains(world, task.horizon, task.effort)
    return by_step([_feedback(kx, kv) for kx, kv in gains])


def damped(a: float, b: float) -> str:
    """A short feedback that is nearly as good, for what can be said in a sentence."""
    return _feedback(0.35 / b, 0.9 * a / b)


def _feedback(of_place: float, of_velocity: float) -> str:
    return f"{of_place:.4g}*(x_target - x) {'-' if of_velocity >= 0 else '+'} {abs(of_velocity):.4g}*v"


class InformedPolicy:
    """Knows the constants: plays the exact optimum, or the best of the eight laws."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        task = _episode(view).task
        controller = best_law([view.world], task) if task.by_law else optimum(view.world, task)
        return text.reply(controller, task, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from(text.truth(view.world, view.rendering), view.rendering)


class RegulatorPolicy(InformedPolicy):
    """Knows the constants and plays the linear feedback for them."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        task = _episode(view).task
        controller = law_of(view.world) if task.by_law else regulator(view.world, task)
        return text.reply(controller, task, view.rendering)


class BayesPolicy:
    """Fits the constants to all tables seen and plays the feedback for them; needs no hints.

    Until they are known it plays `first`. In `tiny` it keeps the worlds that are possible and plays the law of the
    greatest expected reward.
    """

    def __init__(self, first: str = BLIND, *, remembers: bool = True) -> None:
        self._first = first
        self._remembers = remembers

    def solve(self, view: PolicyView, rng: Random) -> str:
        task = _episode(view).task
        past = view.past if self._remembers else ()
        if task.by_law:
            controller = best_law(newest_possible(past), task)
        else:
            world = _fitted(past)
            controller = regulator(world, task) if world else self._first
        return text.reply(controller, task, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint(_learned(view), view.rendering)


class RandomPolicy:
    """Any constant push, or any law; never learns."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        task = _episode(view).task
        controller = rng.choice(LAWS) if task.by_law else f"{rng.uniform(-1, 1):.3f}"
        return text.reply(controller, task, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return text.hint_from([], view.rendering)


class Demonstrator:
    """Uses hints well and writes them carelessly, so that the warm start leaves the writing to RL.

    Solve: the feedback for the constants in the hints, the blind one with its sign where only that is stated, else the
    blind one; in `tiny` the law that is said to be best, else one that the notes do not speak against. Update: keep
    each fact with some probability, and sometimes state a wrong one.
    """

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        task = _episode(view).task
        controller, said = _choose_law(view, rng) if task.by_law else _choose_feedback(view, rng)
        reply = text.reply(controller, task, view.rendering)
        return reply if view.rendering == "compact" else f"{said}\n{reply}"

    def update(self, view: PolicyView, rng: Random) -> str:
        episode = _episode(view)
        known = _laws_known(view) if episode.task.by_law else _constants_known(view)
        kept = {name: value for name, value in known.items() if rng.random() < self._keep}
        if rng.random() < self._wrong:
            kept |= _wrong_law(rng) if episode.task.by_law else _wrong_constant(rng)
        return _hint(kept, view.rendering)


def _episode(view: PolicyView) -> ControlEpisode:
    assert isinstance(view.episode, ControlEpisode)
    return view.episode


def _fitted(past: Sequence[Episode]) -> ControlWorld | None:
    return estimate(newest_consistent(courses_of(past))).world


def _learned(view: PolicyView) -> Facts:
    """All that the tables of this trajectory tell."""
    told = [*view.past, view.episode]
    if _episode(view).task.by_law:
        possible = newest_possible(told)
        return {law_of(possible[0]): "near"} if len(possible) == 1 else {}
    found = estimate(newest_consistent(courses_of(told)))
    values = {"a": found.a, "b": found.b}
    return {name: value for name, value in values.items() if name in found.known and value is not None}


def _choose_law(view: PolicyView, rng: Random) -> tuple[str, str]:
    """A law, and what is said about it."""
    best, notes = claims(view.hints).law, laws_noted(view.hints)
    if best:
        return best, text.thought(f"{best} is the best law", f"use {best}", view.rendering, rng)
    signs = {_sign(law) * (-1 if word == "far-short" else 1) for law, word in notes.items()}
    fitting = [law for law in LAWS if law not in notes and (len(signs) != 1 or _sign(law) in signs)]
    law = rng.choice(fitting or LAWS)
    return law, text.trial("the best law", law, rng)


def _sign(law: str) -> int:
    return 1 if WORLDS[LAWS.index(law)].b > 0 else -1


def _choose_feedback(view: PolicyView, rng: Random) -> tuple[str, str]:
    """An expression, and what is said about it."""
    stated = claims(view.hints)
    if stated.a is not None and stated.b:
        known = f"a = {stated.a:.3f} and b = {stated.b:.3f}"
        act = "aim at a third of the way in each step and take away what remains of v"
        return damped(stated.a, stated.b), text.thought(known, act, view.rendering, rng)
    if stated.sign:
        known = f"b is {'positive' if stated.sign > 0 else 'negative'}"
        expression = BLIND if stated.sign > 0 else f"-({BLIND})"
        return expression, text.thought(known, "push accordingly and brake", view.rendering, rng)
    return BLIND, text.trial("the sign of b", "a gentle push", rng)


def _laws_known(view: PolicyView) -> Facts:
    """What the hints say of laws, overruled by what was seen in this episode: how far from the target each ended."""
    episode = _episode(view)
    known: Facts = dict(laws_noted(view.hints))
    if best := claims(view.hints).law:
        known[best] = "near"
    if episode.course:
        known[episode.controller] = residual(episode.task, episode.course)
    return dict(sorted(known.items()))


def _constants_known(view: PolicyView) -> Facts:
    """The constants that the hints state, overruled by those that the table of this episode tells."""
    stated = claims(view.hints)
    hinted = {"a": stated.a, "b": stated.b}
    found = estimate(courses_of([view.episode]))
    seen = {name: value for name, value in (("a", found.a), ("b", found.b)) if name in found.known}
    return {name: value for name, value in {**hinted, **seen}.items() if value is not None}


def some_notes(world: ControlWorld, rendering: Rendering, rng: Random) -> list[str]:
    """What may be noted of a world of `tiny`: where some laws ended in tasks of their own, and often the best one."""
    best = law_of(world)
    laws = rng.sample([law for law in LAWS if law != best], rng.randint(0, 2)) + [best] * rng.randint(0, 1)
    facts: Facts = {}
    for law in sorted(laws):
        task = sample_task(rng, PRESETS["tiny"])
        word = "near" if law == best else residual(task, outcome(world, task, law))
        if word != "near" or law == best:
            facts[law] = word
    return _written(facts, rendering)


def _wrong_law(rng: Random) -> Facts:
    return {rng.choice(LAWS): rng.choice(RESIDUALS)}


def _wrong_constant(rng: Random) -> Facts:
    """A constant of another world."""
    other = sample_world(rng, PRESETS["easy"])
    return {"a": other.a} if rng.random() < 0.5 else {"b": other.b}


def _hint(facts: Facts, rendering: Rendering) -> str:
    return text.hint_from(_written(facts, rendering), rendering)


def _written(facts: Facts, rendering: Rendering) -> list[str]:
    """Facts in words: a law that ended near the target is written as the best."""
    written = []
    for name, value in facts.items():
        if isinstance(value, float):
            written.append(text.constant(name, value, rendering))
        else:
            written.append(text.best(name, rendering) if value == "near" else text.note(name, value, rendering))
    return written


def make_policy(name: str, options: Mapping[str, float]) -> Policy:
    policies: dict[str, Callable[[], Policy]] = {
        "bayes": BayesPolicy,
        "kick": lambda: BayesPolicy(KICK),
        "forget": lambda: BayesPolicy(remembers=False),
        "informed": InformedPolicy,
        "regulator": RegulatorPolicy,
        "random": RandomPolicy,
    }
    return agent(name, options, policies, Demonstrator)
