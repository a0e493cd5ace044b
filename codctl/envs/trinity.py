"""What identifies a pack and its rows in Trinity-RFT, for the variants named `trinity`.

A row is one task of a data set. The seed of a pack follows from the places of its rows alone: the split is no part of
it, so that packs of equal length whose rows have equal places share their hidden world, also between train and test.
Sources: `stable_pack_seed` in trinity/common/workflows/connect_the_dots/cod_utils.py and the data scripts
examples/research_cod/get_*_data.py of Trinity-RFT.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

TRAIN_ROWS = 50_000
TEST_ROWS = 4_000
TRAIN_PACK, TEST_PACK = 4, 8  # published lengths


def stable_pack_seed(rows: Sequence[tuple[int, int]]) -> int:
    """The seed of a pack: 64 bits of a hash of its (taskset, row) pairs, in whichever order they are played."""
    identity = json.dumps(sorted([taskset, row] for taskset, row in rows), separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")


def pack_rows(split: str, index: int, length: int) -> range:
    """Rows of a pack in the order of the file: as many as it has tasks. After the last full pack comes the first.

    What Trinity-RFT has no file for counts from the end: validation packs in the test file, demonstrations in the train
    file.
    """
    count = rows_of(split) // length
    number = index % count if split in ("train", "test") else -1 - index % count
    start = number % count * length
    return range(start, start + length)


def pack_seed(split: str, index: int, length: int, taskset: int = 0) -> int:
    """The seed of that pack."""
    return stable_pack_seed([(taskset, row) for row in pack_rows(split, index, length)])


def is_train(split: str) -> bool:
    """Whether a split's rows come from the train file; only evaluations read the test file."""
    return split not in ("test", "validation")


def rows_of(split: str) -> int:
    return TRAIN_ROWS if is_train(split) else TEST_ROWS


def grid_seeds(split: str) -> tuple[int, ...]:
    """Seeds of the published Grid Navigation rows, in the order of the file."""
    train, test = _drawn_seeds(42, 10_000_000, TRAIN_ROWS + TEST_ROWS, TRAIN_ROWS)
    return train if is_train(split) else test


def pde_seeds(split: str) -> tuple[int, ...]:
    """Seeds of the published PDE Discovery rows: those of training, or those of the evaluation of 4000 rows."""
    if is_train(split):
        return _drawn_seeds(42, 2**32, TRAIN_ROWS + 32, TRAIN_ROWS)[0]
    return _drawn_seeds(20260902, 2**32, 1 + TEST_ROWS, 1)[1]


@dataclass(frozen=True)
class LakeRow:
    """A FrozenLake row: seed of the map, side, and probability of ice."""

    seed: int
    size: int
    p: float


def lake_rows(split: str, sizes: tuple[int, int], ice: tuple[float, float]) -> tuple[LakeRow, ...]:
    """The published FrozenLake rows, with sides and ice within these bounds."""
    return _lake_rows(sizes, ice)[0 if is_train(split) else 1]


@cache
def _lake_rows(sizes: tuple[int, int], ice: tuple[float, float]) -> tuple[tuple[LakeRow, ...], tuple[LakeRow, ...]]:
    import numpy as np

    state = np.random.RandomState(42)  # as the published script does
    counts = (TRAIN_ROWS, TEST_ROWS)
    seeds = [state.randint(0, 100_000, count).tolist() for count in counts]
    sides = [state.randint(sizes[0], sizes[1] + 1, count).tolist() for count in counts]
    shares = [state.uniform(*ice, count).tolist() for count in counts]
    train, test = (tuple(map(LakeRow, *row)) for row in zip(seeds, sides, shares, strict=True))
    return train, test


def alchemy_seeds(split: str) -> tuple[int, ...]:
    """Seeds of the published Alchemy rows."""
    return _alchemy_seeds()[0 if is_train(split) else 1]


@cache
def _alchemy_seeds() -> tuple[tuple[int, ...], tuple[int, ...]]:
    import numpy as np

    state = np.random.RandomState(42)  # as the published script does
    drawn = tuple(state.choice(10_000_000, TRAIN_ROWS + TEST_ROWS, replace=False).tolist())
    return drawn[:TRAIN_ROWS], drawn[TRAIN_ROWS:]


def control_rows(split: str, x0: float, v0: float, x_target: float) -> tuple[tuple[float, float, float], ...]:
    """(x0, v0, x_target) of the published Optimal Control rows, drawn within these bounds around 0."""
    return _control_rows(is_train(split), (x0, v0, x_target))


@cache
def _control_rows(train: bool, bounds: tuple[float, float, float]) -> tuple[tuple[float, float, float], ...]:
    rows = rows_of("train" if train else "test")
    drawn = _generator(42 if train else 2024).uniform([-bound for bound in bounds], bounds, (rows, 3))
    return tuple((x0, v0, target) for x0, v0, target in drawn.tolist())


@cache
def _drawn_seeds(seed: int, most: int, count: int, train: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Seeds without replacement, of the train file and of the test file."""
    drawn = tuple(_generator(seed).choice(most, size=count, replace=False).tolist())
    return drawn[:train], drawn[train:]


def _generator(seed: int) -> Generator:
    import numpy as np

    return np.random.default_rng(seed)
