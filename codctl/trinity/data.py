"""Data sets of Trinity-RFT: rows of Parquet or JSON lines, and whether they are the published ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.envs import trinity
from codctl.errors import UsageError

Row = Mapping[str, Any]
_MOST_LINE = 10_000_000  # characters
# Columns by which a family's rows are told, and those that make its worlds.
_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "frozen_lake": (("seed", "size", "p"), ("seed", "size", "p")),
    "optimal_control": (("x0", "v0", "x_target"), ("x0", "v0", "x_target")),
    "pde_discovery": (("seed", "task_desc"), ("seed",)),
    "learn2ask": (("cid", "messages", "decision_truth"), ()),
    "terminal": (("seed", "prompt"), ("seed",)),
    "grid_navigation": (("seed", "uid"), ("seed",)),
    "alchemy": (("seed", "uid"), ("seed",)),
}

_SEEDS = {"alchemy": trinity.alchemy_seeds, "grid_navigation": trinity.grid_seeds, "pde_discovery": trinity.pde_seeds}


@dataclass(frozen=True)
class DataSet:
    """One split of a data set.

    Attributes:
        path: The file.
        split: Which one.
        rows: In the order of the file: the place of a row, not its column `index`, is its number.
        family: Whose rows they are; empty where the columns do not tell.
    """

    path: Path
    split: str
    rows: Sequence[Row]
    family: str


def find_file(folder: Path, split: str) -> Path | None:
    """The file of a split: `train.parquet`, `train.jsonl`; or the path itself, where it is a file."""
    if folder.is_file():
        return folder
    for pattern in (f"{split}.parquet", f"{split}.jsonl", f"{split}-*.parquet", f"data/{split}-*.parquet"):
        found = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if found:
            return found[0]
    return None


def read_data(folder: Path, split: str) -> DataSet:
    """Read one split.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    path = find_file(folder, split)
    if path is None:
        raise UsageError(f"there is no {split}.parquet and no {split}.jsonl", where=str(folder))
    rows = list(_lines(path)) if path.suffix == ".jsonl" else _table(path)
    if not rows:
        raise UsageError("it has no rows", where=str(path))
    return DataSet(path, split, rows, _family(rows[0]))


def largest(data: DataSet, column: str) -> float:
    """The largest size of a number in a column.

    Raises:
        UsageError: A row has none.
    """
    try:
        return max(abs(float(row[column])) for row in data.rows)
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"a row has no number in the column {column}", where=str(data.path)) from None


def published(family: str, split: str, preset: str = "") -> Sequence[tuple[Any, ...]] | None:
    """What makes the worlds of the published rows; None where no list of them is known here."""
    if family == "frozen_lake":
        from codctl.envs.frozen_lake.trinity import rows_of

        return [(row.seed, row.size, row.p) for row in rows_of(split, preset or "easy")]
    if family == "optimal_control":
        from codctl.envs.optimal_control.generator import PRESETS

        bounds = PRESETS[preset or "hard"]
        return trinity.control_rows(split, bounds.x0, bounds.v0, bounds.x_target)
    seeds = {
        "alchemy": trinity.alchemy_seeds,
        "grid_navigation": trinity.grid_seeds,
        "pde_discovery": trinity.pde_seeds,
    }
    return [(seed,) for seed in seeds[family](split)] if family in seeds else None


def keys_of(data: DataSet) -> list[tuple[Any, ...]]:
    """What makes the world of each row.

    Raises:
        UsageError: A row lacks a column.
    """
    columns = _COLUMNS[data.family][1]
    try:
        return [tuple(row[name] for name in columns) for row in data.rows]
    except KeyError as error:
        raise UsageError(f"a row has no column {error}", where=str(data.path)) from None


def first_difference(data: DataSet, preset: str = "") -> int | None:
    """The first row that is not the published one, counted from 0; None where none is, -1 where that is not known."""
    known = published(data.family, data.split, preset)
    if known is None:
        return -1
    found = keys_of(data)
    for place, (one, other) in enumerate(zip(found, known, strict=False)):
        if one != other:
            return place
    return None if len(found) == len(known) else min(len(found), len(known))


def _family(row: Row) -> str:
    """Whose row it is: by its own name where it has one, else by its columns."""
    uid = str(row.get("uid", ""))
    for prefix, family in (("grid_navigation_", "grid_navigation"), ("alchemy_", "alchemy"), ("terminal_", "terminal")):
        if uid.startswith(prefix):
            return family
    return next((name for name, (marks, _) in _COLUMNS.items() if set(marks) <= set(row)), "")


def _table(path: Path) -> list[Row]:
    from pyarrow import ArrowException, parquet

    try:
        found: list[Row] = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise UsageError(
            f"no Parquet file that can be read: {' '.join(str(error).split())[:200]}", where=str(path)
        ) from error
    return found


def _lines(path: Path) -> Iterator[Row]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"it cannot be read: {error}", where=str(path)) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line) if len(line) <= _MOST_LINE else None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UsageError("expected a JSON object", where=f"{path}:{number}")
        yield row
