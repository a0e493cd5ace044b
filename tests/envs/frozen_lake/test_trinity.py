"""The variant `trinity` draws what Trinity-RFT draws; the maps were made by a separate writing of its generator."""

from __future__ import annotations

import pytest

from codctl.envs.base import Pack
from codctl.envs.frozen_lake.names import CODES, DIRECTIONS
from codctl.envs.frozen_lake.world import LakeTask
from codctl.envs.registry import get_family

EASY = ["FHFFF", "HGFFF", "FFFFS", "HFHHF", "FFFFF"]
HARD = ["FHFFFHH", "FFFFFFF", "HHFHHFF", "FFFFHFH", "HSHFHFF", "FFFGFFF", "FFFFHFF"]


def pack(split: str, index: int, length: int, preset: str) -> Pack:
    return get_family("frozen_lake").pack(split, index, length, preset, "trinity")


def board(task: LakeTask) -> list[str]:
    marks = dict.fromkeys(task.holes, "H") | {task.start: "S", task.goal: "G"}
    return ["".join(marks.get((i, j), "F") for j in range(task.size)) for i in range(task.size)]


@pytest.mark.parametrize(("length", "directions"), [(8, "up right left down"), (4, "up left down right")])
def test_codes_of_the_first_pack(length: int, directions: str) -> None:
    world = pack("test", 0, length, "easy").world
    assert [DIRECTIONS[direction] for direction in world.mapping] == directions.split()
    assert len(world.mapping) == len(CODES)


def test_maps_of_the_first_rows() -> None:
    easy, hard = pack("test", 0, 4, "easy").tasks, pack("test", 0, 4, "hard").tasks
    assert board(easy[0]) == EASY  # type: ignore[arg-type]
    assert board(hard[0]) == HARD  # type: ignore[arg-type]
    assert {task.max_turns for task in easy} == {8}  # type: ignore[attr-defined]
    assert {task.max_turns for task in hard} == {10}  # type: ignore[attr-defined]


def test_tiny_has_no_holes_and_no_longer_ways_than_elsewhere() -> None:
    for index in range(20):
        for task in pack("train", index, 4, "tiny").tasks:
            assert isinstance(task, LakeTask)
            assert (task.size, task.holes, task.max_turns - task.shortest_path) == (4, frozenset(), 2)
            assert 2 <= task.shortest_path <= 5
