"""What a hint claims of the map, and how right it is."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.envs.base import Rendering
from codctl.envs.grid_navigation.claims import Claim, claims, noted
from codctl.envs.grid_navigation.names import Cell
from codctl.envs.grid_navigation.world import GridEpisode, GridTask, GridWorld
from codctl.envs.registry import get_family

FAMILY = get_family("grid_navigation")
EXAMPLES = int(os.environ.get("CODCTL_FUZZ_EXAMPLES", "100"))
WORLD = GridWorld(((0, 10, 20, 30), (5, 99, 99, 40), (5, 99, 99, 50), (5, 7, 9, 11)), "tiny")


def stated(hint: str) -> dict[Cell, set[tuple[int, bool]]]:
    return {cell: {(c.value, c.in_tens) for c in said} for cell, said in claims(hint, 4).items()}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("", {}),
        ("none", {}),
        ("(0,1)=10", {(0, 1): 10}),
        ("(0, 1) = 10, (0,2)=20", {(0, 1): 10, (0, 2): 20}),
        ("0,1: 10\n0,2: 20", {(0, 1): 10, (0, 2): 20}),
        ("- **(3,3)** costs 11; (3, 2) is 9.", {(3, 3): 11, (3, 2): 9}),
        ("Row 3, column 2 costs 9. Row 1, col 1: 99", {(3, 2): 9, (1, 1): 99}),
        ("cell (3,2) has a cost of 9", {(3, 2): 9}),
        ("(3,2) → 9", {(3, 2): 9}),
        ("b2=99", {(1, 1): 99}),
        # maps, whole or in part
        ("   |  0  1  2  3\n 0 |  ? 10 20  ?\n 3 |  5  ?  ? 11", {(0, 1): 10, (0, 2): 20, (3, 0): 5, (3, 3): 11}),
        ("| | 2 | 3 |\n|---|---|---|\n| 1 | 99 | 40 |", {(1, 2): 99, (1, 3): 40}),
        ("0: ? 10 20 30\n1: 5, ?, ?, 40", {(0, 1): 10, (0, 2): 20, (0, 3): 30, (1, 0): 5, (1, 3): 40}),
        # what is denied, left open, cut or elsewhere is no claim
        ("(0,1) is not 10", {}),
        ("(0,1) may cost 10; (0,2)=20", {(0, 2): 20}),
        ("I guess (0,1)=10", {}),
        ("(0,4)=10 (9,9)=1 e1=3", {}),
        ("0 | 1 2", {}),
        ("0: 1 2 3", {}),
        ("Upper left is dear; go along row 3.", {}),
        ("(0,1) costs 10.5", {}),
        ("(0,1)=1000", {}),
        ("²,³: ¹", {}),
    ],
)  # fmt: skip
def test_claims(hint: str, expected: dict[Cell, int]) -> None:
    assert stated(hint) == {cell: {(cost, False)} for cell, cost in expected.items()}


def test_a_digit_of_a_named_cell_stands_for_ten_costs() -> None:
    assert stated("a1=0 d4=1 b2: 9") == {(0, 0): {(0, True)}, (3, 3): {(1, True)}, (1, 1): {(9, True)}}
    assert Claim(9, in_tens=True).is_right(99)
    assert not Claim(9, in_tens=True).is_right(89)
    assert (Claim(12).is_right(10), Claim(13).is_right(10)) == (True, False)
    assert noted("a1=0 d4=1 d4=2", 4) == {(0, 0): 4.5}


def test_scores() -> None:
    episode = GridEpisode(WORLD, GridTask((0, 0), (3, 3), 2), "full")
    episode.act("0,2")
    score = FAMILY.score_context(WORLD, "(0,1)=10 (0,2)=25 (3,3)=12", [episode])
    assert (score.right, score.wrong, score.missing) == (2, 1, 14)
    assert (score.knowable, score.knowable_right) == (2, 1)
    assert score.detail == pytest.approx({"coverage": 3 / 16, "absolute_error": 2.0})
    score = FAMILY.score_context(WORLD, "(0,1)=10 (0,1)=90", [episode])  # says two things
    assert (score.right, score.wrong, score.knowable_right) == (0, 2, 0)
    assert FAMILY.score_context(WORLD, "", []).detail == {"coverage": 0.0}


@pytest.mark.parametrize("rendering", FAMILY.renderings)
@pytest.mark.parametrize("preset", FAMILY.presets)
def test_what_is_written_is_read_back(preset: str, rendering: Rendering) -> None:
    for index in range(3):
        world = FAMILY.pack("train", index, 1, preset).world
        score = FAMILY.score_context(world, FAMILY.truth(world, rendering), [])
        assert (score.right, score.wrong, score.missing) == (world.side**2, 0, 0)
        part = FAMILY.partial_truth(world, rendering, Random(index))
        score = FAMILY.score_context(world, part, [])
        assert score.wrong == 0
        assert (score.right > 0) == bool(part)


PIECES = st.sampled_from(
    ["(", ")", ",", "0", "3", "12", "=", ":", " costs ", "|", "?", "\n", " ", "b3=7", "row ", "column", "not", "٣", "-"]
)  # fmt: skip


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=60).map("".join)))
def test_hostile_hints_can_be_scored(hint: str) -> None:
    score = FAMILY.score_context(WORLD, hint, [])
    assert score.right + score.missing == 16
    assert min(score.right, score.wrong, score.missing) >= 0


@pytest.mark.parametrize("piece", ["(1,1)=", "(", "1,", "b3=", "row 1 ", " ", "0 | ", "1\t", "| ", "not ", "\n1:"])
def test_long_texts_take_no_long_time(piece: str) -> None:
    """In proportion to their length: three seconds would be a thousand times as much."""
    from time import process_time

    began = process_time()
    claims((piece * 50_000)[:50_000], 16)
    assert process_time() - began < 3
