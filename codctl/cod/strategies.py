"""How the tasks of a pack are put together: the published orders, and those that make life hard.

Every strategy is a pure function of the regular packs of a family, so its packs are as stable as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from codctl.config.names import StrategyName
from codctl.config.nearest import unknown
from codctl.envs.base import Family, Pack, Slot
from codctl.errors import UsageError
from codctl.seeds import derive_seed

STRATEGIES: dict[StrategyName, str] = {
    "cod": "different tasks of one world",
    "ralph_full": "one task again and again; every task of the regular packs gets its turn",
    "ralph_sample": "one task again and again: the first one of each regular pack",
    "drift": "the hidden facts change at position `drift_at`, without notice",
    "distractor": "every other task is of another world",
    "poison": "the report of an episode that an update reads is false with probability `poison`",
    "long": "different tasks of one world, 16 or 32 of them",
}
RALPH = ("ralph_full", "ralph_sample")


@dataclass(frozen=True)
class Strategy:
    """A strategy with its numbers.

    Attributes:
        name: One of STRATEGIES.
        drift_at: First position at which the changed facts hold; None: the middle.
        poison: Probability that an account is false.
        foreign: Family of the distractors, with their preset.
    """

    name: StrategyName = "cod"
    drift_at: int | None = None
    poison: float = 0.0
    foreign: tuple[Family, str] | None = None


def draw_pack(
    family: Family, strategy: Strategy, split: str, index: int, length: int, preset: str, variant: str | None = None
) -> Pack:
    """Draw pack number `index` of a strategy.

    Raises:
        UsageError: The strategy does not exist or does not fit the length.
    """
    if strategy.name not in STRATEGIES:
        raise unknown("strategy", strategy.name, list(STRATEGIES), "strategy=cod")

    def regular(number: int) -> Pack:
        return family.pack(split, number, length, preset, variant)

    return _BUILDERS[strategy.name](strategy, regular, index, length)


Regular = Callable[[int], Pack]


def _plain(strategy: Strategy, regular: Regular, index: int, length: int) -> Pack:
    return replace(regular(index), strategy=strategy.name)


def _ralph_full(strategy: Strategy, regular: Regular, index: int, length: int) -> Pack:
    pack = regular(index // length)
    return replace(pack, index=index, slots=(pack.slots[index % length],) * length, strategy=strategy.name)


def _ralph_sample(strategy: Strategy, regular: Regular, index: int, length: int) -> Pack:
    pack = regular(index)
    return replace(pack, slots=pack.slots[:1] * length, strategy=strategy.name)


def _drift(strategy: Strategy, regular: Regular, index: int, length: int) -> Pack:
    drift_at = length // 2 if strategy.drift_at is None else strategy.drift_at
    if not 0 < drift_at < length:
        raise UsageError(
            f"strategy drift needs drift_at between 1 and {length - 1} for packs of {length}, got {drift_at}",
            hint=f"drift_at={length // 2}",
        )
    pack = regular(index)
    changed = pack.slots[0].family.redraw(pack.world, _rng(pack, "drift"))
    slots = [slot if s < drift_at else replace(slot, world=changed) for s, slot in enumerate(pack.slots)]
    return replace(pack, slots=tuple(slots), strategy=f"drift{drift_at}")


def _distractor(strategy: Strategy, regular: Regular, index: int, length: int) -> Pack:
    if strategy.foreign is None:
        raise UsageError("strategy distractor needs the family of the distractors", hint="foreign_family=NAME")
    pack = regular(index)
    family, preset = strategy.foreign
    others = family.pack(pack.split, index, length // 2 or 1, preset)
    slots = [slot if s % 2 == 0 else replace(others.slots[s // 2], foreign=True) for s, slot in enumerate(pack.slots)]
    return replace(pack, slots=tuple(slots), strategy=f"distractor-{family.name}-{preset}")


def _poison(strategy: Strategy, regular: Regular, index: int, length: int) -> Pack:
    pack = regular(index)
    rng = _rng(pack, "poison")

    def poisoned(slot: Slot) -> Slot:
        # Both draws every time: a higher probability poisons the same positions and more.
        other, lies = slot.family.redraw(slot.world, rng), rng.random() < strategy.poison
        return replace(slot, told_world=other) if lies else slot

    return replace(pack, slots=tuple(poisoned(slot) for slot in pack.slots), strategy=f"poison{strategy.poison:g}")


def _rng(pack: Pack, purpose: str) -> Random:
    return Random(derive_seed(purpose, pack.id))


_BUILDERS: dict[str, Callable[[Strategy, Regular, int, int], Pack]] = {
    "cod": _plain,
    "ralph_full": _ralph_full,
    "ralph_sample": _ralph_sample,
    "drift": _drift,
    "distractor": _distractor,
    "poison": _poison,
    "long": _plain,
}
