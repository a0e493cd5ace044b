"""Rows of a finished suite as arrays. Shape suffixes: J sampling seeds, P packs, S positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codctl.errors import UsageError
from codctl.files import reader
from codctl.results.study import Played

_COLUMNS = ("arm", "seed", "number", "position", "foreign", "success")


def played(folder: Path, part: Mapping[str, Any]) -> Played:
    """Read one part of a suite, and no other, into memory.

    Args:
        folder: Of the suite's result.
        part: Of its result.json.

    Raises:
        UsageError: They cannot be read.
    """
    import pyarrow.parquet as pq

    mine = [("part", "==", part["name"]), ("foreign", "==", False)]
    path = folder / "rows.parquet"
    try:
        with reader.open_file(path) as file:
            table = pq.read_table(file, columns=list(_COLUMNS), filters=mine)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"its rows cannot be read: {error}", where=str(path)) from error
    rows = {name: table[name].to_numpy() for name in _COLUMNS}
    found = {}
    for arm in (*part["arms"], *part.get("ceiling_curves", {})):
        chosen = rows["arm"] == arm
        seeds, layer = np.unique(rows["seed"][chosen], return_inverse=True)
        column = np.searchsorted(part["positions"], rows["position"][chosen])
        success_JPS = np.full((len(seeds), part["packs"], len(part["positions"])), np.nan)
        success_JPS[layer, rows["number"][chosen], column] = rows["success"][chosen]
        found[arm] = success_JPS
    return Played(part, found)
