"""Axes of a sweep: `key=a,b` and `seed=0..2`, which no shell touches; what else Hydra's grammar knows; their product.

`range(3)` and `choice(a,b)` need quotes in a shell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from codctl.config.overrides import RANGES, Override, parse_overrides
from codctl.errors import Problem

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override as HydraOverride


_LONGEST = 10_000


@dataclass(frozen=True)
class Axis:
    """One key and the values that it takes.

    Attributes:
        key: Dotted key of a recipe.
        values: In the order typed, each once.
        text: As typed.
    """

    key: str
    values: tuple[Any, ...]
    text: str

    def overrides(self) -> list[Override]:
        """One for each value; a message about any of them names the axis as it was typed."""
        return [Override(self.text, self.key, value) for value in self.values]


@dataclass(frozen=True)
class Typed:
    """What a command line says of a sweep.

    Attributes:
        axes: Keys with several values, in the order typed.
        fixed: Keys with one value.
    """

    axes: tuple[Axis, ...] = ()
    fixed: tuple[Override, ...] = ()

    def take(self, *keys: str) -> tuple[dict[str, tuple[Any, ...]], Typed]:
        """Split off some keys: their values, a list counting as several, and the rest."""
        taken: dict[str, tuple[Any, ...]] = {axis.key: axis.values for axis in self.axes if axis.key in keys}
        for one in self.fixed:
            if one.key in keys:
                taken[one.key] = tuple(one.value) if isinstance(one.value, list) else (one.value,)
        rest = Typed(
            tuple(axis for axis in self.axes if axis.key not in keys),
            tuple(one for one in self.fixed if one.key not in keys),
        )
        return taken, rest


def parse_typed(texts: Sequence[str]) -> tuple[Typed, list[Problem]]:
    """Tell axes from single values, and say what is wrong with either."""
    axes: list[Axis] = []
    single: list[str] = []
    problems: list[Problem] = []
    for text in texts:
        found = _axis(text)
        if isinstance(found, Axis):
            axes.append(found)
        elif isinstance(found, Problem):
            problems.append(found)
        else:
            single.append(text)
    fixed, wrong = parse_overrides(single)
    problems += wrong
    keys = [axis.key for axis in axes] + [override.key for override in fixed]
    for axis in axes:
        if keys.count(axis.key) > 1:
            problems.append(Problem(f"{axis.key} is given twice", f"override {axis.text}"))
    return Typed(tuple(axes), tuple(fixed)), list(dict.fromkeys(problems))


def combinations(axes: Sequence[Axis]) -> Iterator[tuple[Override, ...]]:
    """Every combination of values, the last axis turning fastest."""
    return product(*(axis.overrides() for axis in axes))


def _axis(text: str) -> Axis | Problem | None:
    """The axis that a text describes, what is wrong with it, or None when it is no axis."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, _, value = text.partition("=")
    where, bare = f"override {text}", "".join(value.split())
    if "=" in text and bare in ("", "choice()"):
        return _empty(key, where)
    if RANGES.fullmatch(bare):
        return _ranges(key, bare, text)
    if bare.startswith(",") or bare.endswith(",") or ",," in bare:
        return Problem(f"{key}: a value is missing beside a comma", where, f"list the values: {key}=a,b")
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException:
        return None  # no override at all: the reader of single values says why
    if not parsed.is_sweep_override() or parsed.package is not None or parsed.is_delete():
        return None
    return _refusal(parsed, where) or _listed(parsed, text)


def _ranges(key: str, value: str, text: str) -> Axis | Problem:
    """`0..2` is 0, 1 and 2; several of these, and single numbers, may stand beside each other."""
    values: list[int] = []
    for part in value.split(","):
        first, _, last = part.partition("..")
        numbers = range(int(first), int(last or first) + 1)
        if len(numbers) + len(values) > _LONGEST:
            return Problem(f"{key}: an axis has at most {_LONGEST} values", f"override {text}")
        if not numbers:
            return Problem(f"{key}: the range {part} runs downwards", f"override {text}", f"{key}={last}..{first}")
        values += numbers
    return Axis(key, tuple(dict.fromkeys(values)), text)


def _listed(parsed: HydraOverride, text: str) -> Axis | Problem:
    key, where = parsed.key_or_group, f"override {text}"
    try:
        if parsed.is_range_sweep():
            values: list[Any] = list(islice(parsed.sweep_iterator(), _LONGEST + 1))
        else:
            values = [_plain(value) for value in islice(parsed.sweep_string_iterator(), _LONGEST + 1)]
    except ValueError as error:
        return Problem(f"{key}: {error}", where, f"{key}=0..2")
    if not values:
        return _empty(key, where)
    if len(values) > _LONGEST:
        return Problem(f"{key}: an axis has at most {_LONGEST} values", where)
    if parsed.is_range_sweep():
        values = [float(f"{value:.12g}") if isinstance(value, float) else value for value in values]  # 0.3, not 0.30…04
    return Axis(key, tuple(v for n, v in enumerate(values) if not _is_in(v, values[:n])), text)


def _plain(text: str) -> Any:
    """A value as Hydra's grammar reads it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(f"key={text}").value()


def _refusal(parsed: HydraOverride, where: str) -> Problem | None:
    key, kind = parsed.key_or_group, parsed.value_type.name if parsed.value_type else ""
    if key == "name":
        return Problem("name: trials are named after their values", where, "--name NAME names the sweep")
    if kind == "INTERVAL_SWEEP":
        hint = f"list them: {key}=0.1,0.2"
        return Problem(f"{key}: an interval holds infinitely many values", where, hint)
    if kind == "GLOB_CHOICE_SWEEP":
        return Problem(f"{key}: glob(…) has no meaning here", where, f"list the values: {key}=a,b")
    if getattr(parsed.value(), "shuffle", False):
        return Problem(f"{key}: the order of trials does not matter; leave shuffle(…) out", where)
    return None


def _empty(key: str, where: str) -> Problem:
    return Problem(f"{key}: the axis has no values", where, f"list them: {key}=a,b or {key}=0..2")


def _is_in(value: Any, others: Sequence[Any]) -> bool:
    """Whether it was given before; true is not 1, but 1 is 1.0."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in others)
