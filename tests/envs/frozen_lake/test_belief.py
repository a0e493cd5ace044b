"""The exact belief over the 24 mappings."""

from __future__ import annotations

from codctl.envs.frozen_lake.belief import ANY, PERMUTATIONS, believe, consistent, known_facts, observe
from codctl.envs.frozen_lake.world import LakeTask, Move

OPEN = LakeTask(4, frozenset(), (0, 0), (3, 3), 8)
UP, DOWN, LEFT, RIGHT = range(4)


def test_nothing_seen_leaves_all_24_and_no_fact() -> None:
    assert ANY.bit_count() == 24
    assert known_facts(ANY) == {}
    assert believe([]) == ANY


def test_one_move_fixes_one_code() -> None:
    belief = observe(ANY, OPEN, Move("Q", (1, 1), (2, 1), DOWN))
    assert belief.bit_count() == 6
    assert known_facts(belief) == {DOWN: "Q"}


def test_a_wall_in_a_corner_leaves_two_directions() -> None:
    belief = observe(ANY, OPEN, Move("K", (0, 0), (0, 0), None))
    assert belief.bit_count() == 12
    assert known_facts(belief) == {}
    belief = observe(belief, OPEN, Move("X", (0, 0), (0, 0), None))
    assert belief.bit_count() == 4  # K and X share up and left, Q and Z share down and right
    belief = observe(belief, OPEN, Move("Q", (0, 0), (0, 1), RIGHT))
    assert known_facts(belief) == {RIGHT: "Q", DOWN: "Z"}


def test_a_wall_at_one_border_fixes_the_code() -> None:
    assert known_facts(observe(ANY, OPEN, Move("Z", (1, 0), (1, 0), None))) == {LEFT: "Z"}


def test_three_codes_give_the_fourth_over_several_episodes() -> None:
    first = [Move("K", (1, 1), (0, 1), UP), Move("Q", (0, 1), (1, 1), DOWN)]
    second = [Move("X", (2, 2), (2, 1), LEFT)]
    belief = believe([(OPEN, first), (OPEN, second)])
    assert belief.bit_count() == 1
    assert known_facts(belief) == {UP: "K", DOWN: "Q", LEFT: "X", RIGHT: "Z"}
    assert PERMUTATIONS[belief.bit_length() - 1] == (UP, DOWN, LEFT, RIGHT)


def test_consistent_counts() -> None:
    assert [consistent(0, 1 << d).bit_count() for d in range(4)] == [6] * 4
    assert consistent(3, 0b1111) == ANY
    assert consistent(3, 0) == 0
