"""What elements are called: random names in prose, symbols by place in the compact rendering."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_RANGES = ("abcdefghijkl", "mnopqrstuvwxyz", "ABCDEFGHIJKLM", "NOPQRSTUVWXYZ")  # by tier


def draw_names(rng: Random, count: int) -> tuple[str, ...]:
    """Distinct names of three to five lower-case letters."""
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.choices(_LETTERS, k=rng.randint(3, 5)))] = None
    return tuple(names)


@cache
def symbols(sizes: Sequence[int]) -> tuple[str, ...]:
    """One symbol for each element, the same in every world: `a b c` base, `m n o` made of those, then `A B C`."""
    return tuple(
        _symbol(letters, place) for letters, size in zip(_RANGES, sizes, strict=False) for place in range(size)
    )


def _symbol(letters: str, place: int) -> str:
    again, index = divmod(place, len(letters))
    return letters[index] + (str(again) if again else "")
