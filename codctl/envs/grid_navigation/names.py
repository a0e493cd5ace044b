"""Cells and how small models name them."""

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
