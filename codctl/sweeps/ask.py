"""What a command line asks for: `codctl sweep [STUDY|RECIPE] key=a,b …`, as a plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from codctl.config.names import NAME, did_you_mean, why_reserved
from codctl.config.overrides import Override
from codctl.config.problems import usage_error
from codctl.config.recipes import find_recipe
from codctl.errors import UsageError
from codctl.sweeps.axes import Axis, Typed, parse_typed
from codctl.sweeps.plan import Base, Plan, Suite, base_identities, make_trials
from codctl.sweeps.study_file import StudyRef, find_study, load_study
from codctl.sweeps.suites import check_suites, suite_of

_CHOICES = ("size", "seeds", "seed", "train", "ablations", "evaluate")  # of a study, on the command line
_COMMAND_LINE = "the command line"
_Item = TypeVar("_Item")
EarlierAxes = Callable[[str], Sequence[str]]  # name of a sweep → keys that were axes when it was made


def ask(
    source: str | None,
    texts: Sequence[str],
    *,
    name: str | None = None,
    suites: Sequence[str] = (),
    limit: int | None = None,
    earlier_axes: EarlierAxes = lambda _: (),
) -> Plan:
    """Work out what is asked for. Nothing is written.

    Args:
        source: A study, a recipe, or None for the usual study.
        texts: `key=value` and `key=a,b` each.
        name: Of the sweep; that of recipe or study otherwise.
        suites: Further suites that every trained model plays.
        limit: Packs of each evaluation of a suite.
        earlier_axes: Tells which keys were axes under this name before: one value of them adds to it.

    Raises:
        UsageError: All that is wrong.
    """
    if name is not None and not re.fullmatch(NAME, name):
        raise UsageError(f"--name: {name!r} cannot be the name of a folder", hint="letters, digits, '.', '_', '-'")
    if name is not None and (why := why_reserved(name)):
        raise UsageError(f"--name: {name!r} is reserved: {why}", hint="choose another name")
    study = find_study(source)
    typed, problems = parse_typed(texts)
    if problems:
        raise usage_error(_COMMAND_LINE, problems)
    extra = [suite_of(suite) for suite in suites]
    if study is not None:
        plan = _of_study(study, typed, name, extra, earlier_axes)
    else:
        assert source is not None
        plan = _of_recipe(source, typed, name, extra, earlier_axes)
    if limit is not None:
        plan = replace(plan, suites=tuple(_limited(suite, limit) for suite in plan.suites))
    check_suites(plan)
    return plan


def _of_recipe(recipe: str, typed: Typed, name: str | None, suites: Sequence[Suite], earlier_axes: EarlierAxes) -> Plan:
    name = name or f"{find_recipe(recipe).name.replace('/', '-')}-sweep"
    typed = _with_earlier(typed, earlier_axes(name))
    return _plan(name, "sweep", recipe, [Base({}, recipe, typed.fixed)], typed.axes, suites)


def _of_study(
    found: StudyRef, typed: Typed, name: str | None, suites: Sequence[Suite], earlier_axes: EarlierAxes
) -> Plan:
    chosen, typed = typed.take(*_CHOICES)
    sizes = chosen.get("size", (None,))
    if len(sizes) != 1 or not isinstance(sizes[0], str | None):
        raise UsageError("size takes one name", where="override size", hint="one sweep for each size")
    study = load_study(found.path, found.shown, sizes[0])
    seeds = [*chosen.get("seeds", ()), *chosen.get("seed", ())] if {"seeds", "seed"} & set(chosen) else study.seeds
    if not seeds:
        raise UsageError("seeds: the axis has no values", where="override seeds=[]", hint="seeds=0,1 or seeds=0..2")
    name = name or (study.name if study.is_default_size else f"{study.name}-{study.size}")
    typed = _with_earlier(typed, [key for key in earlier_axes(name) if key != "seed"])
    trainings = _select("train", study.trainings, chosen)
    ablations = _select("ablations", study.ablations, chosen)
    evaluations = _select("evaluate", study.evaluations, chosen)
    bases = [
        Base(
            {"train": t, "ablation": a}, training.recipe, (*training.overrides, *ablation, *typed.fixed), training.place
        )
        for a, ablation in ablations.items()
        for t, training in trainings.items()
    ]
    axes = [*typed.axes, Axis("seed", tuple(dict.fromkeys(seeds)), f"seeds={list(seeds)}")]
    own = [Suite(key, one.suite, one.overrides) for key, one in evaluations.items()]
    taken = {suite.name for suite in own}
    plan = _plan(name, "study", found.shown, bases, axes, [*own, *(s for s in suites if s.name not in taken)])
    return replace(plan, description=study.description, size=study.size)


def _plan(
    name: str, kind: str, source: str, bases: Sequence[Base], axes: Sequence[Axis], suites: Sequence[Suite]
) -> Plan:
    trials, repeated = make_trials(bases, axes, source)
    keys = [axis.key for axis in axes]
    return Plan(
        name=name,
        kind=kind,
        source=source,
        axes={axis.key: list(axis.values) for axis in axes},
        trials=trials,
        suites=tuple({suite.name: suite for suite in suites}.values()),
        bases=base_identities(trials, keys),
        repeated=repeated,
    )


def _with_earlier(typed: Typed, earlier: Sequence[str]) -> Typed:
    """A single value of what was an axis before is an axis of one value."""
    more = [Axis(one.key, (one.value,), one.text) for one in typed.fixed if one.key in earlier]
    return Typed((*typed.axes, *more), tuple(one for one in typed.fixed if one.key not in earlier))


def _select(key: str, items: Mapping[str, _Item], chosen: Mapping[str, Sequence[object]]) -> dict[str, _Item]:
    """The named items; all when none is named."""
    if key not in chosen:
        return dict(items)
    for name in chosen[key]:
        if name not in items:
            guess = did_you_mean(str(name), items)
            raise UsageError(f"{key}: the study has no {name!r}{guess}", hint=f"it has {', '.join(items)}")
    return {name: item for name, item in items.items() if name in chosen[key]}


def _limited(suite: Suite, limit: int) -> Suite:
    others = [override for override in suite.overrides if override.key != "packs"]
    return replace(suite, overrides=(*others, Override(f"packs={limit}", "packs", limit)))
