"""The fastest ways to lay out a recipe on what it asks for: `codctl plan RECIPE --best`.

Every layout is planned, and what does not fit is left out. Only keys change that say where and how fast a recipe runs,
and `engine.lead`, as far as `engine.max_staleness` lets rows be old: a choice of its own, which is always said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from codctl.config import consistency
from codctl.config.consistency import MisfitError
from codctl.config.schema import Config
from codctl.engines.provider import provider_of
from codctl.errors import PreflightError
from codctl.plan.devices import uses_gpus
from codctl.plan.fit import problem, typed, with_value
from codctl.plan.plan import Known, Plan, known_of, plan_of
from codctl.plan.schedule import IDLE
from codctl.runs.machine import usable_cores

NAMED = 3
_ALIKE = 1.01  # steps whose times differ by less
_BATCHES = (64, 128, 256, 512, 1024)
_LEADS = 1  # more of it lets nobody wait less
_HOW = ("runtime.max_batch", "runtime.threads", "train.activation_checkpointing")  # beside where things are


@dataclass(frozen=True)
class Choice:
    """A way to lay out a recipe.

    Attributes:
        changes: Keys with other values than in the recipe.
        config: With these.
        plan: Of that.
        reasons: Why it is as fast as it is, beside the recipe as it stands.
    """

    changes: Mapping[str, Any]
    config: Config
    plan: Plan
    reasons: tuple[str, ...] = ()

    @property
    def overrides(self) -> list[str]:
        """What to type."""
        return [f"{key}={typed(value)}" for key, value in self.changes.items()]

    @property
    def where(self) -> tuple[tuple[str, Any], ...]:
        """The changes that move something, without those of how much is done at once."""
        return tuple((key, value) for key, value in self.changes.items() if key not in _HOW)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        speed = self.plan.speed
        return {
            "overrides": self.overrides,
            "step": speed.step,
            "engines": speed.engines,
            "learners": speed.learners,
            "hours": self.plan.hours,
            "gpu_hours": self.plan.hours * self.plan.gpus,
            "oldest": self.config.engine.oldest,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class Comparison:
    """A recipe as it stands, beside the fastest other layouts.

    Attributes:
        now: As it stands.
        fits: Whether that fits.
        best: The fastest others, which may be slower than `now`.
        tried: Layouts that fit.
    """

    now: Choice
    fits: bool
    best: tuple[Choice, ...]
    tried: int

    @property
    def is_best(self) -> bool:
        """Whether no layout is faster than the recipe as it stands."""
        return self.fits and all(self.now.plan.speed.step <= _ALIKE * choice.plan.speed.step for choice in self.best)


def compare(config: Config, main_memory: int = 0, own_rates: Mapping[str, Any] | None = None) -> Comparison:
    """Plan every layout of a recipe.

    Args:
        config: Recipe.
        main_memory: As for `make_plan`.
        own_rates: As for `make_plan`.

    Raises:
        UsageError: A rate that there is not.
        PreflightError: The model's shape is not known here, or the recipe itself cannot be placed.
    """
    known = known_of(config, own_rates)
    now = Choice({}, config, plan_of(config, known, main_memory))
    fits = problem(now.plan) is None
    fitting = [choice for changes in _layouts(config) if (choice := _planned(config, changes, known, main_memory))]
    others = [choice for choice in _one_of_each(fitting) if choice.changes]
    named = _named(sorted(others, key=_step), config)
    reasoned = (Choice(one.changes, one.config, one.plan, tuple(_reasons(now, one))) for one in named)
    return Comparison(now, fits, tuple(reasoned), len(fitting))


# --- what is tried ------------------------------------------------------------------------------------------------


def _layouts(config: Config) -> Iterator[dict[str, Any]]:
    """Changes to try; some cannot be placed."""
    for where, how in product(_wheres(config), _hows(config)):
        changes = {**where, **how}
        yield {key: value for key, value in changes.items() if value != _value(config, key)}


def _wheres(config: Config) -> Iterator[dict[str, Any]]:
    for placed, nodes, lead in product(_placements(config), range(1, config.cluster.nodes + 1), _leads(config)):
        yield {"cluster.nodes": nodes, **placed, "engine.lead": lead}


def _placements(config: Config) -> Iterator[dict[str, Any]]:
    gpus, provider = config.cluster.gpus_per_node, provider_of(config)
    if not uses_gpus(config) or not gpus:
        yield {}
    elif provider.in_process or not provider.takes_gpus(config):
        yield from ({"cluster.processes_per_node": processes} for processes in range(1, gpus + 1))
    else:
        for generating, split in product(range(1, gpus + 1), _splits(config)):
            together = generating == gpus
            yield {
                "engine.placement": "colocate" if together else "disjoint",
                "engine.gpus": 0 if together else generating,
                "engine.tensor_parallel": split,
                "cluster.processes_per_node": gpus if together else gpus - generating,
            }


def _splits(config: Config) -> list[int]:
    return [split for split in (1, 2, 4, 8) if split <= config.cluster.gpus_per_node]


def _leads(config: Config) -> list[int]:
    engine = config.engine
    return list(range(engine.lead, max(engine.lead, _LEADS) + 1)) if engine.overlap else [engine.lead]


def _hows(config: Config) -> Iterator[dict[str, Any]]:
    threads = config.runtime.threads
    cores = [threads] if uses_gpus(config) else sorted({threads, max(threads, usable_cores())})
    again = [True, False] if config.train.activation_checkpointing else [False]
    given = config.runtime.max_batch
    batches = sorted({given, *(batch for batch in _BATCHES if batch > given or provider_of(config).in_process)})
    for values in product(batches, cores, again):
        yield dict(zip(_HOW, values, strict=True))


def _planned(config: Config, changes: Mapping[str, Any], known: Known, main_memory: int) -> Choice | None:
    """With these changes; None where they do not fit or do not go together."""
    for key, value in changes.items():
        config = with_value(config, key, value)
    heads = known.model.shape.heads
    if heads % config.engine.tensor_parallel or config.engine.oldest > config.engine.max_staleness:
        return None
    try:
        consistency.check(config)
        plan = plan_of(config, known, main_memory)
    except (MisfitError, PreflightError):
        return None
    return Choice(changes, config, plan) if problem(plan) is None else None


# --- what is named ------------------------------------------------------------------------------------------------


def _step(choice: Choice) -> float:
    return choice.plan.speed.step


def _one_of_each(choices: list[Choice]) -> list[Choice]:
    """Of those that put everything in the same places the one with the fewest changes, if it is as fast as any."""
    groups: dict[tuple[tuple[str, Any], ...], list[Choice]] = {}
    for choice in choices:
        groups.setdefault(choice.where, []).append(choice)
    found = []
    for group in groups.values():
        least = min(map(_step, group))
        found.append(min((c for c in group if _step(c) <= _ALIKE * least), key=lambda c: (len(c.changes), _step(c))))
    return found


def _named(fastest: list[Choice], config: Config) -> list[Choice]:
    """The first ones; one among them samples the same as the recipe, if any does."""
    named = fastest[:NAMED]
    if all(choice.config.engine.oldest != config.engine.oldest for choice in named):
        alike = [choice for choice in fastest if choice.config.engine.oldest == config.engine.oldest]
        named[NAMED - 1 :] = alike[:1]
    return named


def _reasons(now: Choice, choice: Choice) -> Iterator[str]:
    """Why a choice takes the time that it takes, beside the recipe as it stands."""
    before, after = now.plan, choice.plan
    engine = choice.config.engine
    if (split := engine.tensor_parallel) != now.config.engine.tensor_parallel or _replicas(before) != _replicas(after):
        yield (
            f"{_replicas(after)} × {split} GPUs generate instead of {_replicas(before)} × "
            f"{now.config.engine.tensor_parallel}: the longest trajectory takes {_longest(after):,.0f} s of a wave "
            f"instead of {_longest(before):,.0f}"
        )
    if engine.lead != now.config.engine.lead:
        yield (
            f"engines wait {after.speed.engines[IDLE]:,.1f} s for newer weights instead of "
            f"{before.speed.engines[IDLE]:,.1f}: rows are up to {choice.config.engine.oldest} steps old instead of "
            f"{now.config.engine.oldest}, of {engine.max_staleness} that are allowed"
        )
    learn = {name: plan.speed.learners["learn"] for name, plan in (("before", before), ("after", after))}
    if abs(learn["after"] - learn["before"]) > 0.01 * learn["before"]:
        yield (
            f"{after.layout.split.processes} learner processes instead of {before.layout.split.processes} take "
            f"{learn['after']:,.1f} s of a step instead of {learn['before']:,.1f}"
        )
    yield _limit(after)


def _limit(plan: Plan) -> str:
    """Who decides how long a step takes."""
    speed = plan.speed
    if speed.engines == speed.learners:
        return "engine and learner take turns on the same devices"
    idle = {"engines": speed.engines[IDLE] / speed.step, "learners": speed.learners[IDLE] / speed.step}
    least = min(idle, key=lambda who: idle[who])
    if idle[least] < 0.01:
        other = "learners" if least == "engines" else "engines"
        return f"{least} never wait, {other} {idle[other]:.0%} of the time"
    return f"engines wait {idle['engines']:.0%} of the time, learners {idle['learners']:.0%}"


def _replicas(plan: Plan) -> int:
    return plan.layout.placement.replicas


def _longest(plan: Plan) -> float:
    """Seconds of a wave that its longest trajectory takes without any other beside it."""
    wave = plan.speed.wave
    return wave.decoding * wave.alone


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config
