"""Which cell costs how much, as a hint states it: in a map with labels, in pairs, or in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from codctl.envs.grid_navigation.names import ROWS, Cell, tens
from codctl.envs.wording import is_hedged, is_negated, plain

NEAR = 2  # by how much a stated cost may be off

_CLAUSE = re.compile(r";|\.(?=\s|$)")
_IS = r"\s{0,9}(?:=|:|->|→|≈|\b(?:is|costs?|has(?: a)? cost(?: of)?)\b)\s{0,9}"
_VALUE = r"([0-9]{1,3})(?![\d.,]*\d)"
_PAIR = r"\(?\b([0-9]{1,3})\s{0,9},\s{0,9}([0-9]{1,3})\s{0,9}\)?"
_WORDS = r"\brow\s{0,9}([0-9]{1,3})\W{1,9}col(?:umn)?\s{0,9}([0-9]{1,3})\)?"
_FACTS = (re.compile(rf"{_PAIR}{_IS}{_VALUE}"), re.compile(rf"{_WORDS}{_IS}{_VALUE}", re.IGNORECASE))
_NAMED = re.compile(rf"\b([{ROWS}])([0-9]{{1,2}}){_IS}{_VALUE}")
_ROW = re.compile(r"\W*\b([0-9]{1,2})\s*[|:](.*)")
_ENTRY = re.compile(r"[0-9]{1,3}|\?")


@dataclass(frozen=True)
class Claim:
    """A cost that a hint states: exactly, or in tens as `compact` does."""

    value: int
    in_tens: bool = False

    def is_right(self, cost: int) -> bool:
        return self.value == tens(cost) if self.in_tens else abs(self.value - cost) <= NEAR

    @property
    def cost(self) -> float:
        """The cost that is meant: the middle of what one digit may stand for."""
        return 10 * self.value + 4.5 if self.in_tens else float(self.value)


@lru_cache(maxsize=1024)  # an update and the task after it are scored with the same hints
def claims(hints: str, side: int) -> Mapping[Cell, frozenset[Claim]]:
    """All that a hint says of each cell of a grid; of one cell it may say several things.

    What is denied or left open claims nothing.
    """
    found: dict[Cell, set[Claim]] = {}
    for cell, claim in _read(plain(hints), side):
        if 0 <= cell[0] < side and 0 <= cell[1] < side:
            found.setdefault(cell, set()).add(claim)
    return MappingProxyType({cell: frozenset(stated) for cell, stated in found.items()})


def noted(hints: str, side: int) -> dict[Cell, float]:
    """The costs that a hint states without contradicting itself, in its order."""
    return {cell: next(iter(said)).cost for cell, said in claims(hints, side).items() if len(said) == 1}


def _read(text: str, side: int) -> Iterator[tuple[Cell, Claim]]:
    columns = list(range(side))
    for line in text.split("\n"):
        if header := _header(line):
            columns = header
        elif row := _row(line, columns):
            yield from row
        elif any(map(str.isalnum, line)):
            columns = list(range(side))
            yield from _stated(line)


def _header(line: str) -> list[int]:
    """The columns of a map that begins here; empty if none does."""
    labels = line.replace("|", " ").split()
    columns = [int(label) for label in labels if label.isascii() and label.isdecimal() and len(label) <= 2]
    counts_up = columns == list(range(columns[0], columns[0] + len(columns))) if columns else False
    return columns if len(columns) == len(labels) > 1 and counts_up else []


def _row(line: str, columns: list[int]) -> list[tuple[Cell, Claim]]:
    """The entries of one row of a map; `?` states nothing."""
    found = _ROW.fullmatch(line)
    entries = found[2].replace("|", " ").replace(",", " ").split() if found else []
    if not found or len(entries) != len(columns) or not all(map(_ENTRY.fullmatch, entries)):
        return []
    row = int(found[1])
    pairs = zip(columns, entries, strict=True)
    return [((row, column), Claim(int(entry))) for column, entry in pairs if entry != "?"]


def _stated(line: str) -> Iterator[tuple[Cell, Claim]]:
    for clause in _CLAUSE.split(line):
        if is_negated(clause) or is_hedged(clause):
            continue
        for pattern in _FACTS:
            for row, column, value in pattern.findall(clause):
                yield (int(row), int(column)), Claim(int(value))
        for letter, column, value in _NAMED.findall(clause):
            yield (ROWS.index(letter), int(column) - 1), Claim(int(value), in_tens=len(value) == 1)
