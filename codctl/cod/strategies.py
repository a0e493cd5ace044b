"""How the tasks of a pack are put together: the published orders, and those that make life hard.

A strategy is a class; one outside this package is named by an entry point of the group `codctl.strategies` or by
`strategy=package.module:Class`. Its packs are a pure function of the regular packs of a family, so they are as stable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar, Literal

from codctl.config.evalspec import STRATEGY_KEYS, EvalSpec
from codctl.config.registries import STRATEGIES
from codctl.envs.base import Family, Pack, Slot
from codctl.envs.registry import get_family
from codctl.errors import PreflightError, UsageError
from codctl.quantities import position
from codctl.runs.eval_result import PartHead
from codctl.seeds import derive_seed

Regular = Callable[[int], Pack]
"""The regular pack of this number, of the length that is asked for."""


class Strategy(ABC):
    """A strategy with its parameters: keys of an evaluation (`STRATEGY_KEYS`) or of its `strategy_options`.

    Attributes:
        title: What it does, in one line for lists.
        kind: `plain`; `loop`: one task again and again, judged by attempt; `disturbed`: something goes wrong.
        has_ceiling: Whether no policy can do better than the references, which know nothing of a disturbance.
        wants_another_family: Whether `distractor_family` names a second family.
    """

    title: ClassVar[str]
    kind: ClassVar[Literal["plain", "loop", "disturbed"]] = "plain"
    has_ceiling: ClassVar[bool] = True
    wants_another_family: ClassVar[bool] = False

    @abstractmethod
    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        """Pack number `index`; `Pack.strategy` must tell it from those of other strategies and parameters."""

    def completed(self, length: int) -> dict[str, Any]:
        """Keys of an evaluation of packs of this length that are left out and get a value.

        Raises:
            UsageError: The parameters do not fit the length.
        """
        return {}

    def describe(self) -> str:
        """What is special about its packs, for results; empty for nothing."""
        return "" if self.kind == "plain" else self.title

    def packs_per_world(self, length: int) -> int:
        """How many packs in a row are of one world."""
        return 1


def strategy_class(name: str) -> type[Strategy]:
    """Look a strategy up.

    Raises:
        UsageError: There is none of this name.
        PreflightError: It cannot be used.
    """
    found: type[Strategy] = STRATEGIES.get(name)
    return found


def strategy_of(spec: EvalSpec) -> Strategy:
    """The strategy of an evaluation, with its parameters.

    Raises:
        UsageError: It does not exist, or takes no such parameters.
    """
    keys = {key: getattr(spec, key) for key, owner in STRATEGY_KEYS.items() if owner == spec.strategy}
    try:
        return strategy_class(spec.strategy)(**keys, **spec.strategy_options)
    except TypeError as error:
        raise UsageError(f"strategy {spec.strategy} cannot be made: {error}", where="strategy_options") from error


def of_result(part: PartHead) -> Strategy:
    """The strategy of a stored result, with its parameters."""
    mine = [key for key, owner in STRATEGY_KEYS.items() if owner == part.strategy]
    return stored_strategy(part.strategy, **{key: getattr(part, key) for key in mine if getattr(part, key, None)})


def stored_strategy(name: str, **parameters: object) -> Strategy:
    """A strategy that a file names; a plain one where it is not installed here."""
    try:
        return strategy_class(name)(**parameters)
    except (UsageError, PreflightError, TypeError):
        return Cod()


def draw_pack(
    family: Family, strategy: Strategy, split: str, index: int, length: int, preset: str, variant: str | None = None
) -> Pack:
    """Draw pack number `index` of a strategy.

    Raises:
        UsageError: The strategy does not fit the length.
    """

    def regular(number: int) -> Pack:
        return family.pack(split, number, length, preset, variant)

    return strategy.pack(regular, index, length)


class Cod(Strategy):
    title = "different tasks of one world"

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        return replace(regular(index), strategy="cod")


class Long(Strategy):
    title = "different tasks of one world, 16 or 32 of them"

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        return replace(regular(index), strategy="long")


class RalphFull(Strategy):
    title = "one task again and again; every task of the regular packs gets its turn"
    kind = "loop"

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        pack = regular(index // length)
        return replace(pack, index=index, slots=(pack.slots[index % length],) * length, strategy="ralph_full")

    def packs_per_world(self, length: int) -> int:
        return length


class RalphSample(Strategy):
    title = "one task again and again: the first one of each regular pack"
    kind = "loop"

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        pack = regular(index)
        return replace(pack, slots=pack.slots[:1] * length, strategy="ralph_sample")


@dataclass(frozen=True)
class Drift(Strategy):
    """`drift_at`: first position at which the changed facts hold; None is the middle."""

    title = "the hidden facts change at position `drift_at`, without notice"
    kind = "disturbed"
    has_ceiling = False
    drift_at: int | None = None

    def completed(self, length: int) -> dict[str, Any]:
        drift_at = length // 2 if self.drift_at is None else self.drift_at
        if not 0 < drift_at < length:
            raise UsageError(
                f"drift_at must be between 1 and {length - 1} for packs of {length}, got {drift_at}",
                hint=f"drift_at={max(1, length // 2)}",
            )
        return {"drift_at": drift_at}

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        drift_at = self.completed(length)["drift_at"]
        pack = regular(index)
        changed = pack.slots[0].family.redraw(pack.world, _rng(pack, "drift"))
        slots = [slot if s < drift_at else replace(slot, world=changed) for s, slot in enumerate(pack.slots)]
        return replace(pack, slots=tuple(slots), strategy=f"drift{drift_at}")

    def describe(self) -> str:
        where = "in the middle" if self.drift_at is None else f"at position {position(self.drift_at)}"
        return f"the hidden facts change {where}, without notice"


@dataclass(frozen=True)
class Distractor(Strategy):
    """`distractor_family` and `distractor_preset`: of the distractors; the preset is by default the family's first."""

    title = "every other task is of another world"
    kind = "disturbed"
    wants_another_family = True
    distractor_family: str | Family | None = None
    distractor_preset: str | None = None

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        if self.distractor_family is None:
            raise UsageError("strategy distractor needs the family of the distractors", hint="distractor_family=NAME")
        named = self.distractor_family
        family = get_family(named) if isinstance(named, str) else named
        preset = self.distractor_preset or family.presets[0]
        pack = regular(index)
        others = family.pack(pack.split, index, length // 2 or 1, preset)
        slots = [
            slot if s % 2 == 0 else replace(others.slots[s // 2], distractor=True) for s, slot in enumerate(pack.slots)
        ]
        return replace(pack, slots=tuple(slots), strategy=f"distractor-{family.name}-{preset}")


@dataclass(frozen=True)
class Poison(Strategy):
    """`poison`: probability that the report of an episode is false."""

    title = "the report of an episode that an update reads is false with probability `poison`"
    kind = "disturbed"
    has_ceiling = False
    poison: float = 0.0

    def pack(self, regular: Regular, index: int, length: int) -> Pack:
        pack = regular(index)
        rng = _rng(pack, "poison")

        def poisoned(slot: Slot) -> Slot:
            # Both draws every time: a higher probability poisons the same positions and more.
            other, lies = slot.family.redraw(slot.world, rng), rng.random() < self.poison
            return replace(slot, reported_world=other) if lies else slot

        return replace(pack, slots=tuple(poisoned(slot) for slot in pack.slots), strategy=f"poison{self.poison:g}")

    def describe(self) -> str:
        return f"the report of an episode that an update reads is false with probability {self.poison:g}"


def _rng(pack: Pack, purpose: str) -> Random:
    return Random(derive_seed(purpose, pack.id))
