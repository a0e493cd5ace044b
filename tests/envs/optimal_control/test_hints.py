"""What a hint claims about the constants, and how right it is."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.envs.base import Rendering
from codctl.envs.optimal_control.claims import Claims, claims, notes
from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.laws import WORLDS
from codctl.envs.optimal_control.world import ControlEpisode
from codctl.envs.registry import get_family

FAMILY = get_family("optimal_control")
WORLD = ControlWorld(0.8, -0.9)
TASK = ControlTask(0.0, 0.5, 2.0, 0.0, 8)


@pytest.mark.parametrize(
    ("hint", "a", "b", "sign"),
    [
        ("", None, None, None),
        ("a=0.590 b=0.943", 0.59, 0.943, 1),
        ("a = 0.59, b = -0.94", 0.59, -0.94, -1),
        ("a_env ≈ 0.59; b_env ≈ −0.94", 0.59, -0.94, -1),
        ("**a** is about 0.6.\n**b** is roughly -1.", 0.6, -1.0, -1),
        ("- `a`: 0.6\n- `b`: -1.2 (negative)", 0.6, -1.2, -1),
        ("a ~ .6 and b ~ 1.", 0.6, 1.0, 1),
        (r"$a \approx 0.61$", 0.61, None, None),
        ("b is negative", None, None, -1),
        ("b is clearly positive.", None, None, 1),
        ("The sign of b is negative", None, None, -1),
        ("sign(b) = -1", None, None, -1),
        ("b < 0", None, None, -1),
        ("b>0", None, None, 1),
        ("There is a negative b.", None, None, -1),
        ("v' = 0.59*v + 0.94*u", 0.59, 0.94, 1),
        ("v_next = 0.59 * v - 0.94 * u", 0.59, -0.94, -1),
        ("new v = 0.8v − 0.9u", 0.8, -0.9, -1),
        # the last statement counts
        ("a = 0.5\na = 0.7", 0.7, None, None),
        ("b is positive. b = -0.4", None, -0.4, -1),
        # nothing that is denied, open, a condition or a range
        ("b is not negative", None, None, None),
        ("b might be negative", None, None, None),
        ("a is probably 0.6", None, None, None),
        ("If b is negative, push the other way", None, None, None),
        ("is b = 0.5?", None, None, None),
        ("a = 0.5 to 0.7", None, None, None),
        ("a is between 0.55 and 1.2", None, None, None),
        ("b = 0.5*a", None, None, None),
        ("a = 0.5/2", None, None, None),
        # gains of a controller are no constants
        ("u = 0.3*(x_target - x) - 0.8*v worked", None, None, None),
        ("use a gain of 0.3", None, None, None),
        ("the reward was 0.9", None, None, None),
        ("a 0.5 gain", None, None, None),
        ("0.59 0.94", None, None, None),
    ],
)
def test_claims(hint: str, a: float | None, b: float | None, sign: int | None) -> None:
    assert claims(hint) == Claims(a, b, sign)


@pytest.mark.parametrize(
    ("hint", "law"),
    [
        ("best=c5", "c5"),
        ("c3=far-over best=c6", "c6"),
        ("The best law is c2.", "c2"),
        ("c7 is the best law (a = 1.1, b = 0.6).", "c7"),
        ("C4 fits", "c4"),
        ("c4 is not the best", None),
        ("c4 may be the best", None),
        ("c5=near", None),  # what was seen, and no claim
        ("best=c9", None),
    ],
)
def test_claims_of_a_law(hint: str, law: str | None) -> None:
    found = claims(hint)
    assert found.law == law
    if law:
        world = WORLDS[int(law[1]) - 1]
        assert (found.a, found.b, found.sign) == (world.a, world.b, 1 if world.b > 0 else -1)


def test_notes_of_laws() -> None:
    assert notes("c1=far-short best=c5 c3=over") == {"c1": "far-short", "c3": "over"}
    assert notes("- c2 ended far beyond the target.\n- c4 ended short of the target.") == {
        "c2": "far-over",
        "c4": "short",
    }


def played(expression: str, world: ControlWorld = WORLD, task: ControlTask = TASK) -> ControlEpisode:
    episode = ControlEpisode(world, task, "compact")
    episode.act(expression)
    return episode


@pytest.mark.parametrize(
    ("hint", "expressions", "expected"),  # expected: right, wrong, missing, knowable, knowable_right
    [
        ("", [], (0, 0, 3, 0, 0)),
        ("", ["0"], (0, 0, 3, 1, 0)),
        ("", ["0.005"], (0, 0, 3, 1, 0)),
        ("", ["0.5*v"], (0, 0, 3, 0, 0)),  # pushes in proportion to the velocity: neither is known
        ("", ["0.3"], (0, 0, 3, 3, 0)),
        ("", ["1 / 0", "sin(x)"], (0, 0, 3, 0, 0)),  # nothing was shown
        ("a = 0.8", ["0"], (1, 0, 2, 1, 1)),
        ("a = 0.89, b = -0.81", ["0.3"], (3, 0, 0, 3, 3)),
        ("a = 0.91, b = -0.79", ["0.3"], (1, 2, 2, 3, 1)),
        ("b = 0.9", ["0.3"], (0, 2, 3, 3, 0)),
        ("b is negative", ["0"], (1, 0, 2, 1, 0)),  # right, but not from what was seen
    ],
)
def test_score(hint: str, expressions: list[str], expected: tuple[int, ...]) -> None:
    score = FAMILY.score_context(WORLD, hint, [played(expression) for expression in expressions])
    assert (score.right, score.wrong, score.missing, score.knowable, score.knowable_right) == expected


def test_how_far_off_a_hint_is() -> None:
    assert FAMILY.score_context(WORLD, "a = 0.7, b = 0.6", []).detail == pytest.approx({"a_error": 0.1, "b_error": 1.5})
    assert FAMILY.score_context(WORLD, "b is negative", []).detail == {}


def test_what_laws_tell_is_what_all_possible_worlds_share() -> None:
    task = ControlTask(-0.4, 0.0, 2.1, 0.0, 6, by_law=True)
    wrong = played("c1", ControlWorld(1.1, 0.6), task)
    assert wrong.transcript() == "c1=far-short"
    assert FAMILY.score_context(ControlWorld(1.1, 0.6), "", [wrong]).knowable == 1  # the sign
    seen = [wrong, played("c4", ControlWorld(1.1, 0.6), task), played("c7", ControlWorld(1.1, 0.6), task)]
    assert FAMILY.score_context(ControlWorld(1.1, 0.6), "best=c7", seen).knowable_right == 3
    full = ControlEpisode(ControlWorld(1.1, 0.6), task, "full")
    full.act("c1")
    assert FAMILY.score_context(ControlWorld(1.1, 0.6), "", [full]).knowable == 3  # its table tells all


@pytest.mark.parametrize("rendering", ["full", "terse", "compact"])
@pytest.mark.parametrize("preset", ["hard", "tiny"])
def test_the_truth_scores_fully_and_a_part_of_it_is_never_wrong(preset: str, rendering: Rendering) -> None:
    parts = set()
    for index in range(30):
        world = FAMILY.pack("train", index, 1, preset).world
        score = FAMILY.score_context(world, FAMILY.truth(world, rendering), [])
        assert (score.right, score.wrong, score.missing) == (3, 0, 0)
        part = FAMILY.partial_truth(world, rendering, Random(index))
        assert FAMILY.score_context(world, part, []).wrong == 0
        parts.add(FAMILY.score_context(world, part, []).right)
    assert {0, 3} <= parts


PIECES = (
    *(
        "a",
        "b",
        "=",
        "is",
        "about",
        "-",
        "0.5",
        "9" * 400,
        "negative",
        ".",
        "best",
        "c5",
        "v",
        "*",
        "u",
        "+",
        "\n",
        "not",
    ),
    *("sign", "of", "(", "~", "0.5*v", "new v = 0.5*v + 1u"),
)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_fuzz_no_text_breaks_the_reader(hint: str) -> None:
    for world in (WORLD, WORLDS[0]):
        score = FAMILY.score_context(world, hint, ())
        assert score.right + score.missing == 3
        assert score.knowable == score.knowable_right == 0
    notes(hint)
