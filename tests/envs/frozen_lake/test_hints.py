"""What a hint claims, and how right it is."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.envs.base import Rendering
from codctl.envs.frozen_lake.claims import claims
from codctl.envs.frozen_lake.names import CODES, DIRECTIONS
from codctl.envs.frozen_lake.text import hint_from
from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, LakeWorld
from codctl.envs.registry import get_family

WORLD = LakeWorld((3, 0, 2, 1))  # K right, Q up, X left, Z down
TASK = LakeTask(3, frozenset({(1, 1)}), (0, 0), (2, 2), 5)


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("", set()),
        ("none", set()),
        ("up K", {("K", "up")}),
        ("K up", {("K", "up")}),
        ("up K down Q left X right Z", {("K", "up"), ("Q", "down"), ("X", "left"), ("Z", "right")}),
        ("K up Q down", {("K", "up"), ("Q", "down")}),
        ("- K moves up.\n- Q moves down.", {("K", "up"), ("Q", "down")}),
        ("K moves up; Q moves down", {("K", "up"), ("Q", "down")}),
        ("K moves up, Q moves down, and X goes left", {("K", "up"), ("Q", "down"), ("X", "left")}),
        ("K: Up\nQ: DOWN", {("K", "up"), ("Q", "down")}),
        ("up=K down=Q", {("K", "up"), ("Q", "down")}),
        ("up=K wall=Q down=X", {("K", "up"), ("X", "down")}),
        ("<answer> up: K </answer>", {("K", "up")}),
        ("K=up, Z=right", {("K", "up"), ("Z", "right")}),
        ("To go right use `Z`", {("Z", "right")}),
        ("action K (up)", {("K", "up")}),
        # a negation claims nothing, and spoils only its own clause
        ("K is not up", set()),
        ("K never moves up. Q moves down.", {("Q", "down")}),
        ("K doesn't move up; X left", {("X", "left")}),
        ("K does not move up\nX left", {("X", "left")}),
        ("K cannot be up", set()),
        ("K isn’t up", set()),
        ("up is unknown, K was tried", set()),
        # as language models write
        ("- **K**: Up\n- **Q** → Down\n- `X` = left", {("K", "up"), ("Q", "down"), ("X", "left")}),
        ("| K | up |\n| Q | down |", {("K", "up"), ("Q", "down")}),
        ("K moves right, not left.", {("K", "right")}),
        ("Q, not K, moves up", {("Q", "up")}),
        ("K moves you right instead of left or down", {("K", "right")}),
        ("If you want to go left, press K.", {("K", "left")}),
        ("Press K if you want to go left", {("K", "left")}),
        # what may be is no claim, and spoils only its own part
        ("K is either left or right", set()),
        ("K moves left or right", set()),
        ("K or Q moves up", set()),
        ("K might be up (uncertain)", set()),
        ("K moves up, Q might be down", {("K", "up")}),
        ("K is up, I think, Q is down", {("Q", "down")}),
        ("Is K up?", set()),
        # a place is no direction, a condition no claim
        ("If K is pressed near the left border, nothing happens", set()),
        ("If K is pressed near the left border you stay", set()),
        ("K at the right edge leaves you where you are", set()),
        ("If K moves up, plan again", set()),
        # contradictions are two claims
        ("K up\nK down", {("K", "up"), ("K", "down")}),
        ("up K up Q", {("K", "up"), ("Q", "up")}),
        # only capital letters are codes
        ("k up", set()),
        ("I go up a little, x right", set()),
        # codes or directions among themselves are no fact
        ("K Q X Z", set()),
        ("up down left right", set()),
        ("K", set()),
        # a part of a word is neither
        ("KQ upward, leftmost X", set()),
        # raw trajectories as hints: a wall says nothing, and does not shift the pairs after it
        ("up K wall Q down X", {("K", "up"), ("X", "down")}),
        ("wall K", set()),
    ],
)
def test_claims(hint: str, expected: set[tuple[str, str]]) -> None:
    assert claims(hint) == expected


@settings(max_examples=300, deadline=None)
@given(st.text() | st.lists(st.sampled_from([*CODES, *DIRECTIONS, "not", "wall", ".", ";", "\n", "k"])).map(" ".join))
def test_no_text_breaks_the_parser(hint: str) -> None:
    for code, direction in claims(hint):
        assert code in CODES
        assert direction in DIRECTIONS
    score = get_family("frozen_lake").score_context(WORLD, hint, ())
    assert score.right + score.missing == 4
    assert score.knowable == score.knowable_right == 0


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.integers(0, 3), st.sampled_from(CODES), max_size=4),
    st.sampled_from(["full", "compact"]),
)
def test_hints_that_we_write_are_read_back(known: dict[int, str], rendering: Rendering) -> None:
    assert claims(hint_from(known, rendering)) == {(code, DIRECTIONS[d]) for d, code in known.items()}


FACTS = (
    "{code} moves {direction}.",
    "- **{code}**: {direction}",
    "`{code}` → `{direction}`",
    '"{code}" = "{direction}"',
    "To go {direction}, press {code}",
    "{direction}={code}",
    "| {code} | {direction} |",
    "{code} moves {direction}, not {other}.",
    "Action {code} took me {direction}",
)
NO_FACTS = (
    "{code} does not move {direction}",
    "{code} is not {direction}",
    "{code} might be {direction}",
    "{code} moves {direction} or {other}",
    "{code} is probably {direction} (uncertain)",
    "{direction} is unknown, {code} was tried",
    "{code} was blocked at the {direction} border",
)


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(4)), st.randoms(use_true_random=False))
def test_true_facts_are_right_in_whichever_words(mapping: list[int], rng: Random) -> None:
    for forms, right in ((FACTS, 4), (NO_FACTS, 0)):
        world = LakeWorld((mapping[0], mapping[1], mapping[2], mapping[3]))
        facts = [(world.code_of(d), DIRECTIONS[d], DIRECTIONS[(d + 1) % 4]) for d in range(4)]
        hint = "\n".join(rng.choice(forms).format(code=c, direction=d, other=o) for c, d, o in facts)
        score = get_family("frozen_lake").score_context(world, hint, ())
        assert (score.right, score.wrong) == (right, 0), hint


def episode(codes: str, rendering: Rendering = "compact") -> LakeEpisode:
    begun = LakeEpisode(WORLD, TASK, rendering)
    for code in codes:
        begun.act(code)
    return begun


@pytest.mark.parametrize(
    ("hint", "codes", "expected"),  # expected: right, wrong, missing, knowable, knowable_right
    [
        ("", "", (0, 0, 4, 0, 0)),
        ("", "K", (0, 0, 4, 1, 0)),
        ("right K", "K", (1, 0, 3, 1, 1)),
        ("right K up Z", "K", (1, 1, 3, 1, 1)),
        ("down K", "K", (0, 1, 4, 1, 0)),
        ("up Q", "K", (1, 0, 3, 1, 0)),  # a lucky guess is right, but was not knowable
        ("right K right X", "K", (0, 2, 4, 1, 0)),  # two codes for one direction: not known
        ("right K down K", "K", (1, 1, 3, 1, 1)),
        ("right K up Q left X down Z", "KZ", (4, 0, 0, 2, 2)),
        ("right K up Q left X down Z", "QXKK", (4, 0, 0, 2, 2)),  # from a corner: K is right, so Z must be down
    ],
)
def test_score(hint: str, codes: str, expected: tuple[int, ...]) -> None:
    score = get_family("frozen_lake").score_context(WORLD, hint, [episode(codes)])
    assert (score.right, score.wrong, score.missing, score.knowable, score.knowable_right) == expected


@pytest.mark.parametrize("rendering", ["compact", "full"])
def test_the_truth_scores_fully(rendering: Rendering) -> None:
    family = get_family("frozen_lake")
    for index in range(24):
        world = family.pack("train", index, 1, "tiny").world
        score = family.score_context(world, family.truth(world, rendering), ())
        assert (score.right, score.wrong, score.missing) == (4, 0, 0)
        partial = family.score_context(world, family.partial_truth(world, rendering, Random(index)), ())
        assert partial.wrong == 0


@pytest.mark.parametrize("rendering", ["compact", "full"])
def test_a_raw_trajectory_claims_nothing_wrong(rendering: Rendering) -> None:
    """The `history` arm gives transcripts as hints; walls in them must not read as facts."""
    played = [episode("QQK", rendering), episode("XZ", rendering)]
    hint = "\n".join(e.transcript() for e in played)
    assert get_family("frozen_lake").score_context(WORLD, hint, played).wrong == 0
