"""Maps of the variant `paper` against 6,000 maps of the published generator."""

from __future__ import annotations

from functools import cache
from math import sqrt
from statistics import mean, stdev

import pytest

from codctl.envs.frozen_lake.generator import PRESETS, is_found_depth_first
from codctl.envs.frozen_lake.world import LakeTask
from codctl.envs.registry import get_family

LAKE = get_family("frozen_lake")
MAPS, REFERENCE_MAPS = 3000, 6000


@cache
def maps(preset: str, variant: str) -> list[LakeTask]:
    packs = [LAKE.pack("test", index, 1, preset, variant) for index in range(MAPS)]
    return [task for pack in packs for task in pack.tasks]  # type: ignore[misc]


def agrees(values: list[float], published: float, rounding: float) -> bool:
    error = stdev(values) * sqrt(1 / len(values) + 1 / REFERENCE_MAPS)
    return mean(values) == pytest.approx(published, abs=3 * error + rounding)


@pytest.mark.parametrize(("preset", "length"), [("easy", 2.89), ("hard", 4.01)])
def test_shortest_paths_are_as_long_as_published(preset: str, length: float) -> None:
    assert agrees([float(task.shortest_path) for task in maps(preset, "paper")], length, 0.005)


@pytest.mark.parametrize(("preset", "longest", "share"), [("easy", 7, 0.023), ("hard", 9, 0.029)])
def test_one_move_more_than_the_limit_is_as_rare_as_published(preset: str, longest: int, share: float) -> None:
    lengths = [task.shortest_path for task in maps(preset, "paper")]
    assert max(lengths) == longest == PRESETS[preset].shortest_path[1] + 1
    assert agrees([float(length == longest) for length in lengths], share, 0.0005)
    assert max(task.shortest_path for task in maps(preset, "default")) == longest - 1


@pytest.mark.parametrize(("preset", "share"), [("easy", 0.297), ("hard", 0.320)])
def test_holes_are_as_many_as_published(preset: str, share: float) -> None:
    assert agrees([len(task.holes) / task.size**2 for task in maps(preset, "paper")], share, 0.0005)


def test_the_search_misses_a_short_path_behind_a_longer_one() -> None:
    """It goes left and down first, and comes from below, too late, to cells that the short path needs."""
    task = LakeTask(4, frozenset({(3, 2), (2, 0), (2, 2)}), (0, 2), (3, 3), 8)
    assert task.shortest_path == 4
    assert not is_found_depth_first(task, PRESETS["easy"])
    assert is_found_depth_first(task, PRESETS["hard"])


@pytest.mark.parametrize(("length", "share"), [(4, 0.95), (6, 0.76)])
def test_as_many_solvable_maps_are_missed_as_published(length: int, share: float) -> None:
    found = [is_found_depth_first(t, PRESETS["easy"]) for t in maps("easy", "default") if t.shortest_path == length]
    assert mean(found) == pytest.approx(share, abs=3 * sqrt(2 * share * (1 - share) / len(found)) + 0.005)


def test_a_path_of_one_move_more_is_accepted_and_of_two_more_is_not() -> None:
    corridor = [LakeTask(9, frozenset((1, c) for c in range(9)), (0, 0), (0, end), 8) for end in (7, 8)]
    assert [task.shortest_path for task in corridor] == [7, 8]
    assert [is_found_depth_first(task, PRESETS["easy"]) for task in corridor] == [True, False]


def test_tiny_is_drawn_by_one_rule() -> None:
    for task in (t for i in range(100) for t in LAKE.pack("test", i, 4, "tiny", "paper").tasks):
        assert 2 <= task.shortest_path <= 5  # type: ignore[attr-defined]
