"""Episode rules and every text of FrozenLake-Obscure."""

from __future__ import annotations

import pytest

from codctl.cod.prompts import Account, update_messages
from codctl.envs.base import Rendering
from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, LakeWorld
from codctl.envs.registry import get_family

WORLD = LakeWorld((3, 0, 2, 1))  # K right, Q up, X left, Z down
TASK = LakeTask(3, frozenset({(1, 1)}), (0, 0), (2, 2), 5)


def begin(rendering: Rendering = "compact", task: LakeTask = TASK) -> LakeEpisode:
    return LakeEpisode(WORLD, task, rendering)


def play(episode: LakeEpisode, codes: str) -> list[str]:
    return [episode.act(code).observation for code in codes]


def test_goal() -> None:
    episode = begin()
    assert play(episode, "KKZ") == ["right=K a2 > c3 4", "right=K a3 > c3 3", "down=Z b3 > c3 2"]
    step = episode.act(" Z\n")
    assert (step.reward, step.done, step.feedback, step.observation) == (1.0, True, "You reached the goal.", "")
    assert (episode.reward, episode.turns, episode.done) == (1.0, 4, True)


def test_hole() -> None:
    episode = begin()
    episode.act("K")
    step = episode.act("Z")
    assert (step.reward, step.done, step.feedback) == (0.0, True, "You fell into a hole.")
    assert step.info == {"code": "Z", "before": (0, 1), "after": (1, 1)}


def test_wall_costs_a_turn_and_moves_nothing() -> None:
    episode = begin()
    step = episode.act("Q")
    assert (step.observation, step.done, episode.cell, episode.turns) == ("wall=Q a1 > c3 4", False, (0, 0), 1)
    assert episode.moves[0].direction is None


def test_budget() -> None:
    episode = begin()
    play(episode, "QQQQ")
    step = episode.act("Q")
    assert (step.reward, step.done, step.feedback) == (0.0, True, "You ran out of turns before the goal.")


def test_the_goal_on_the_last_turn_counts() -> None:
    episode = begin()
    play(episode, "QKKZ")
    assert episode.act("Z").reward == 1.0


@pytest.mark.parametrize("action", ["K", " K\n", "right: K", "up: K"])
def test_a_direction_before_the_code_is_only_a_note(action: str) -> None:
    episode = begin()
    episode.act(action)
    assert [move.code for move in episode.moves] == ["K"]


@pytest.mark.parametrize("action", ["K: up", "up", "up down K", "k", "", "K Q", "KQ", "<answer>K</answer>", "é" * 100])
def test_unreadable_action_ends_the_episode(action: str) -> None:
    episode = begin()
    step = episode.act(action)
    assert (step.reward, step.done, episode.turns, episode.moves) == (0.0, True, 1, [])
    assert step.feedback.startswith("The reply could not be used: ")
    assert "the actions are K, Q, X, Z" in step.feedback
    assert len(step.feedback) < 120


@pytest.mark.parametrize("end", ["goal", "failed"])
def test_acting_after_the_end_is_an_error(end: str) -> None:
    episode = begin()
    if end == "goal":
        play(episode, "KKZZ")
    else:
        episode.fail("no answer")
    with pytest.raises(ValueError, match="the episode is over"):
        episode.act("K")


def test_episodes_of_one_task_do_not_share_anything() -> None:
    first, second = begin(), begin()
    play(first, "KK")
    assert (second.cell, second.turns, second.moves) == ((0, 0), 0, [])


FULL_FIRST = """Turn 1 of 5. You have not moved yet.
You are at row 1, column 1, the goal is at row 3, column 3 (row 1 is the top, column 1 the left).
A . .
. O .
. . G"""

FULL_AFTER_WALL = """Turn 2 of 5. Action Q did not move you from row 1, column 1: the border is in the way.
You are at row 1, column 1, the goal is at row 3, column 3 (row 1 is the top, column 1 the left).
A . .
. O .
. . G"""

FULL_AFTER_MOVE = """Turn 3 of 5. Action Z took you from row 1, column 1 to row 2, column 1.
You are at row 2, column 1, the goal is at row 3, column 3 (row 1 is the top, column 1 the left).
. . .
A O .
. . G"""

FULL_TRANSCRIPT = """\
Task: you are at row 1, column 1, the goal is at row 3, column 3 (row 1 is the top, column 1 the left).
A . .
. O .
. . G
Turn 1: you answered Q. Action Q did not move you from row 1, column 1: the border is in the way.
Turn 2: you answered Z. Action Z took you from row 1, column 1 to row 2, column 1.
Turn 3: you answered K. Action K took you from row 2, column 1 to row 2, column 2."""


def test_full_rendering() -> None:
    episode = begin("full")
    assert episode.observation == FULL_FIRST
    assert play(episode, "QZ") == [FULL_AFTER_WALL, FULL_AFTER_MOVE]
    assert episode.act("K").feedback == (
        "Action K took you from row 2, column 1 to row 2, column 2. You fell into a hole."
    )
    assert episode.transcript() == FULL_TRANSCRIPT


def test_compact_rendering() -> None:
    episode = begin("compact")
    assert episode.transcript() == "none"
    assert episode.observation == "a1 > c3 5 holes b2"
    assert begin("compact", LakeTask(3, frozenset(), (0, 2), (2, 0), 6)).observation == "a3 > c1 6"
    assert play(episode, "QZ") == ["wall=Q a1 > c3 4", "down=Z b1 > c3 3"]
    episode.act("K")
    assert episode.transcript() == "wall=Q down=Z right=K"


def test_solve_prompt_holds_the_hints_and_the_reply_format() -> None:
    family = get_family("frozen_lake")
    assert family.solve_prompt("up=K", "compact", "tiny") == "lake hints up=K"
    assert family.solve_prompt("", "compact", "tiny") == "lake hints none"
    full = family.solve_prompt("- K moves up.", "full", "easy")
    assert full.count("- K moves up.") == 1
    assert "\n<answer>Q</answer>" in full
    assert "may be wrong" in full
    assert "(none yet)" in family.solve_prompt("", "full", "easy")


def test_hints_with_braces_are_kept_as_they_are() -> None:
    family = get_family("frozen_lake")
    episode = begin("full")
    assert "{K} {0} %s" in family.solve_prompt("{K} {0} %s", "full", "easy")
    assert "{K} {0}" in update_messages("{K} {0}", Account(episode), "full")[1]["content"]


@pytest.mark.parametrize("preset", ["tiny", "easy", "hard"])
def test_compact_prompts_are_short(preset: str) -> None:
    """A few dozen words for everything that a tiny model reads in one episode, at the longest."""
    family = get_family("frozen_lake")
    for index in range(50):
        pack = family.pack("train", index, 1, preset)
        episode = LakeEpisode(pack.world, pack.tasks[0], "compact")
        read = [family.solve_prompt(family.truth(pack.world, "compact"), "compact", preset), episode.observation]
        codes = iter("KQXZ" * 5)
        while not episode.done:
            read.append(episode.act(next(codes)).observation)
        assert max(len(text.split()) for text in read[2:]) <= 6
        assert len(" ".join(read).split()) <= 10 + 4 + len(pack.tasks[0].holes) + 6 * episode.max_turns  # type: ignore[attr-defined]
        update = update_messages(family.truth(pack.world, "compact"), Account(episode), "compact")
        assert len(" ".join(message["content"] for message in update).split()) <= 15 + 2 * episode.max_turns


def test_describe_task_is_always_the_full_rendering() -> None:
    family = get_family("frozen_lake")
    pack = family.pack("test", 0, 2, "easy")
    assert family.describe_task(pack.world, pack.tasks[1]) == LakeEpisode(pack.world, pack.tasks[1], "full").observation
