"""From a suite to its parts: which evaluations it means for a certain subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codctl.cod.arms import arm_class, check_arms
from codctl.cod.strategies import strategy_of
from codctl.config.evalspec import EvalSpec
from codctl.config.names import unknown
from codctl.config.schema import WorldRef
from codctl.config.suite_file import EntrySpec, SuiteSpec, WorldChoice
from codctl.envs.base import Family
from codctl.errors import UsageError

_USUAL_PRESET = "easy"


@dataclass(frozen=True)
class Defaults:
    """What a subject is at home with.

    Attributes:
        worlds: Of its training; FrozenLake easy for a subject that was never trained here.
        defaults: Keys of an evaluation that hold unless suite or command line say otherwise: rendering, budgets.
        arms: The arms that mean something to it; None for all.
    """

    worlds: tuple[WorldRef, ...] = (WorldRef(family="frozen_lake", preset=_USUAL_PRESET),)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    arms: tuple[str, ...] | None = None


def expand(suite: SuiteSpec, home: Defaults, known: Mapping[str, Family]) -> tuple[EvalSpec, ...]:
    """One part for each evaluation and world, in the order of the suite.

    Args:
        suite: With its overrides.
        home: What the subject is at home with.
        known: All families, in their order.

    Raises:
        UsageError: A family, preset, variant, arm or combination that does not exist, or no world for an evaluation.
    """
    return tuple(
        _part(suite, entry, world, home, known)
        for entry in suite.entries
        for world in _Chooser(entry, home, known).worlds()
    )


@dataclass(frozen=True)
class _Chooser:
    """The worlds of one evaluation. `family` given moves the subject's home there, `preset` given is taken as it is."""

    entry: EntrySpec
    home: Defaults
    known: Mapping[str, Family]

    def worlds(self) -> list[WorldRef]:
        given = self.entry.given
        found = self._moved(given["family"]) if "family" in given else self._wanted()
        if "preset" in given:
            found = list(dict.fromkeys(world.model_copy(update={"preset": given["preset"]}) for world in found))
        if "variant" in given:
            found = list(dict.fromkeys(_in_variant(world, given["variant"]) for world in found))
        if "options" in given:
            found = list(dict.fromkeys(world.model_copy(update={"options": given["options"]}) for world in found))
        for world in found:
            self._check(world)
        return found

    def _wanted(self) -> list[WorldRef]:
        """What the suite asks for."""
        if not isinstance(self.entry.worlds, str):
            return [self._chosen(choice) for choice in self.entry.worlds]
        if self.entry.worlds == "others":
            return self._others()
        return self._at(self.home.worlds)

    def _chosen(self, choice: WorldChoice) -> WorldRef:
        preset = choice.preset or self._preset(self._family(choice.family))
        return WorldRef(family=choice.family, preset=preset, variant=choice.variant, options=choice.options)

    def _moved(self, name: str) -> list[WorldRef]:
        family = self._family(name)
        trained = [world for world in self.home.worlds if world.family == name]
        return self._at(trained or [WorldRef(family=name, preset=self._preset(family))])

    def _at(self, home: Sequence[WorldRef]) -> list[WorldRef]:
        is_harder = self.entry.worlds == "harder" and "preset" not in self.entry.given
        return self._harder(home) if is_harder else list(home)

    def _harder(self, home: Sequence[WorldRef]) -> list[WorldRef]:
        found = []
        for world in home:
            self._check(world)
            presets = self._family(world.family).presets
            found += [
                world.model_copy(update={"preset": preset}) for preset in presets[presets.index(world.preset) + 1 :]
            ]
        if not found:
            names = ", ".join(f"{world.family} {world.preset}" for world in home)
            raise UsageError(
                f"{self.entry.name}: no preset is harder than {names}", hint="preset=NAME  (codctl env list)"
            )
        return found

    def _others(self) -> list[WorldRef]:
        familiar = {world.family for world in self.home.worlds}
        found = [
            WorldRef(family=f.name, preset=self._preset(f)) for name, f in self.known.items() if name not in familiar
        ]
        if not found:
            raise UsageError(f"{self.entry.name}: there is no family other than {', '.join(sorted(familiar))}")
        return found

    def _family(self, name: str) -> Family:
        if name not in self.known:
            raise unknown("family", name, list(self.known), "codctl env list")
        return self.known[name]

    def _preset(self, family: Family) -> str:
        return usual_preset(family, self.home)

    def _check(self, world: WorldRef) -> None:
        family = self._family(world.family)
        if world.preset not in family.presets:
            raise unknown(f"preset of {family.name}", world.preset, list(family.presets), "codctl env list")
        if world.variant is not None and world.variant not in family.variants:
            raise unknown(f"variant of {family.name}", world.variant, list(family.variants), "codctl env list")
        family.with_options(world.variant or family.variants[0], world.options)


def _in_variant(world: WorldRef, variant: str | None) -> WorldRef:
    """Options belong to the variant that they were given with."""
    options = world.options if variant == world.variant else {}
    return world.model_copy(update={"variant": variant, "options": options})


def usual_preset(family: Family, home: Defaults) -> str:
    """The preset of a family when none is named: that of the training, `easy`, or the first."""
    trained = [world.preset for world in home.worlds if world.family == family.name]
    return trained[0] if trained else _USUAL_PRESET if _USUAL_PRESET in family.presets else family.presets[0]


def _part(suite: SuiteSpec, entry: EntrySpec, world: WorldRef, home: Defaults, known: Mapping[str, Family]) -> EvalSpec:
    values = {**home.defaults, **entry.given, **world.keys}
    if home.arms is not None and "arms" not in suite.overridden:
        values["arms"] = home.arms
    values["rendering"] = _rendering(known[world.family], values, suite, entry)
    spec = EvalSpec(**{**values, "name": f"{entry.name}/{world.label}"})
    check_arms(spec.arms)
    if spec.packs == 1 and any(arm_class(arm).borrows for arm in spec.arms):
        spec = _without_borrowing(spec, is_wanted="arms" in suite.overridden)
    strategy = strategy_of(spec)
    if strategy.wants_another_family:
        return _with_distractors(spec, home, known)
    try:
        return spec.model_copy(update=strategy.completed(spec.length))
    except UsageError as error:
        raise UsageError(f"{spec.name}: {error.message}", hint=error.hint) from error


def _without_borrowing(spec: EvalSpec, *, is_wanted: bool) -> EvalSpec:
    """With a single pack there are no hints of another one."""
    left = tuple(arm for arm in spec.arms if not arm_class(arm).borrows)
    if is_wanted or not left:
        borrowing = next(arm for arm in spec.arms if arm not in left)
        raise UsageError(f"{spec.name}: the arm {borrowing} needs the hints of another pack", hint="packs=2 or more")
    return spec.model_copy(update={"arms": left})


def _rendering(family: Family, values: Mapping[str, Any], suite: SuiteSpec, entry: EntrySpec) -> str:
    """The rendering that was asked for; by default the usual one, or the family's first when it does not have that."""
    wanted = str(values.get("rendering", "full"))
    if wanted in family.renderings:
        return wanted
    if "rendering" in entry.given or "rendering" in suite.overridden:
        raise unknown(f"rendering of {family.name}", wanted, list(family.renderings), "codctl env list")
    return family.renderings[0]


def _with_distractors(spec: EvalSpec, home: Defaults, known: Mapping[str, Family]) -> EvalSpec:
    name = spec.distractor_family or next_family(spec.family, known)
    if name not in known:
        raise unknown("family", name, list(known), "codctl env list")
    preset = spec.distractor_preset or usual_preset(known[name], home)
    if preset not in known[name].presets:
        raise unknown(f"preset of {name}", preset, list(known[name].presets), "codctl env list")
    return spec.model_copy(update={"distractor_family": name, "distractor_preset": preset})


def next_family(name: str, known: Mapping[str, Family]) -> str:
    """The family after this one in their order; the first follows the last."""
    names = list(known)
    following = names[(names.index(name) + 1) % len(names)]
    if following == name:
        raise UsageError("strategy distractor needs a second family", hint="distractor_family=NAME")
    return following
