"""Rows of a finished suite as arrays. Shape suffixes: J sampling seeds, P packs, S positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from codctl.errors import UsageError
from codctl.results.rows import ROWS, read_rows
from codctl.results.study import Played
from codctl.runs.eval_result import PartResult

_COLUMNS = ("arm", "seed", "number", "position", "success")


def played(folder: Path, part: PartResult) -> Played:
    """Read one part of a suite, and no other, into memory.

    Args:
        folder: Of the suite's result.
        part: Of its result.json.

    Raises:
        UsageError: They cannot be read.
    """
    table = read_rows(folder, part.name, _COLUMNS)
    rows = {name: table[name].to_numpy() for name in _COLUMNS}
    found = {}
    for arm in (*part.arms, *part.ceiling_curves):
        chosen = rows["arm"] == arm
        seeds, layer = np.unique(rows["seed"][chosen], return_inverse=True)
        column = np.searchsorted(part.positions, rows["position"][chosen])
        success_JPS = np.full((len(seeds), part.packs, len(part.positions)), np.nan)
        try:
            success_JPS[layer, rows["number"][chosen], column] = rows["success"][chosen]
        except IndexError:
            raise UsageError("its rows are not those of its result", where=str(folder / ROWS)) from None
        found[arm] = success_JPS
    return Played(part, found)
