"""Cells, the ways between them, and how small models name them."""

from __future__ import annotations

from collections.abc import Mapping

Cell = tuple[int, int]  # row, column, from 0
Costs = Mapping[Cell, int]  # of the cells that are known
Guesses = Mapping[Cell, float]  # what they are thought to cost

ROWS = "abcdefghijklmnop"  # the largest grid has 16


def cell_name(cell: Cell) -> str:
    """As on a chess board, from the top: row letter, column number from 1."""
    return f"{ROWS[cell[0]]}{cell[1] + 1}"


def tens(cost: int) -> int:
    """A cost as one digit, which is all that `compact` tells."""
    return cost // 10


def entered_cells(start: Cell, end: Cell) -> list[Cell]:
    """All cells that a move along a row or a column enters, the last one included and the first one not."""
    if start[0] == end[0]:
        step = 1 if end[1] > start[1] else -1
        return [(start[0], column) for column in range(start[1] + step, end[1] + step, step)]
    step = 1 if end[0] > start[0] else -1
    return [(row, start[1]) for row in range(start[0] + step, end[0] + step, step)]
