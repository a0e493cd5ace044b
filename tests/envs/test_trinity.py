"""Identities of Trinity-RFT's packs and rows, against vectors made by independent code."""

from __future__ import annotations

import pytest

from codctl.envs import trinity


@pytest.mark.parametrize(
    ("index", "length", "taskset", "seed"),
    [
        (0, 8, 0, 16109384123688988985),
        (0, 4, 0, 15069623396018555611),
        (0, 4, 1, 12364894710210466142),
        (0, 4, 2, 18207819604649881731),
    ],
)
def test_seeds_of_packs(index: int, length: int, taskset: int, seed: int) -> None:
    assert trinity.pack_seed("test", index, length, taskset) == seed
    rows = [(taskset, row) for row in trinity.pack_rows("test", index, length)]
    assert trinity.stable_pack_seed(rows[::-1]) == seed  # the order of play is no part of it


def test_after_the_last_full_pack_comes_the_first() -> None:
    assert trinity.pack_rows("test", 499, 8) == range(3992, 4000)
    assert trinity.pack_rows("test", 500, 8) == range(8)


def test_what_trinity_has_no_file_for_counts_from_the_end() -> None:
    assert trinity.pack_rows("validation", 0, 8) == range(3992, 4000)
    assert trinity.pack_rows("demonstration", 1, 4) == range(49_992, 49_996)


def test_seeds_of_grid_rows() -> None:
    assert trinity.grid_seeds("train")[:4] == (786788, 646660, 8348274, 2238693)
    assert trinity.grid_seeds("test")[:4] == (9316220, 7213, 2133818, 887946)
    assert (len(trinity.grid_seeds("train")), len(trinity.grid_seeds("test"))) == (50_000, 4_000)


def test_seeds_of_pde_rows() -> None:
    assert trinity.pde_seeds("test")[:3] == (1011653606, 1637861226, 1847195150)
    assert (len(trinity.pde_seeds("train")), len(trinity.pde_seeds("test"))) == (50_000, 4_000)


def test_control_rows() -> None:
    hard = (2.0, 1.5, 8.0)
    train, test = trinity.control_rows("train", *hard), trinity.control_rows("test", *hard)
    assert train[0] == pytest.approx((1.095824, -0.183365, 5.737567), abs=1e-6)
    assert train[1] == pytest.approx((0.789472, -1.217468, 7.609958), abs=1e-6)
    assert test[2] == pytest.approx((-1.685098, -0.957529, -2.245650), abs=1e-6)
    assert (len(train), len(test)) == (50_000, 4_000)
