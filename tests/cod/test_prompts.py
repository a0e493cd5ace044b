"""Reading replies, and what the update call sees."""

from __future__ import annotations

import pytest

from codctl.cod.prompts import ParsedAnswer, parse_answer, update_messages
from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, LakeWorld

NONE = "expected exactly one <answer>…</answer> block, found 0"


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("<answer>K</answer>", "K"),
        ("up <answer> K </answer>", "K"),
        ("I go up.\n<answer>\nK\n</answer>\n\n", "K"),
        ("<answer>two words</answer>", "two words"),
        ("a < b > c <answer>K</answer>", "K"),
    ],
)
def test_one_answer_block(reply: str, action: str) -> None:
    assert parse_answer(reply) == ParsedAnswer(action)


@pytest.mark.parametrize(
    ("reply", "problem", "kind"),
    [
        ("", NONE, "no_answer"),
        ("K", NONE, "no_answer"),
        ("<answer>K", NONE, "no_answer"),
        ("K</answer>", NONE, "no_answer"),
        ("</answer>K<answer>", NONE, "no_answer"),
        ("<ANSWER>K</ANSWER>", NONE, "no_answer"),
        (
            "<answer>K</answer><answer>Q</answer>",
            "expected exactly one <answer>…</answer> block, found 2",
            "several_answers",
        ),
        ("<answer>K<answer>Q</answer>", "expected exactly one <answer>…</answer> block, found 1", "several_answers"),
        ("<answer>K</answer></answer>", "expected exactly one <answer>…</answer> block, found 1", "several_answers"),
        ("<answer>K</answer> because", "text follows the <answer> block", "text_around"),
        ("<answer> \n </answer>", "the <answer> block is empty", "empty_answer"),
    ],
)
def test_anything_else_is_a_format_error(reply: str, problem: str, kind: str) -> None:
    found = parse_answer(reply)
    assert (found.action, found.problem, found.kind) == ("", problem, kind)


def played(codes: str, rendering: str) -> LakeEpisode:
    task = LakeTask(3, frozenset(), (0, 0), (0, 2), 3)
    episode = task.begin(LakeWorld((3, 0, 2, 1)), rendering)  # type: ignore[arg-type]
    for code in codes:
        episode.act(code)
    return episode


def test_compact_update_prompt() -> None:
    system, user = update_messages("up Q", played("QKK", "compact"), "compact")
    assert (system["role"], system["content"], user["role"]) == ("system", "update", "user")
    assert user["content"] == "hints up Q seen wall=Q right=K right=K reward 1"
    lost = update_messages("", played("QQQ", "compact"), "compact")[1]["content"]
    assert lost == "hints none seen wall=Q wall=Q wall=Q reward 0"
    unreadable = update_messages("", played("Qx", "compact"), "compact")[1]["content"]
    assert unreadable == "hints none seen wall=Q reward 0 error"


def test_full_update_prompt_holds_hints_trajectory_reward_and_feedback_but_no_solve_prompt() -> None:
    episode = played("KK", "full")
    system, user = update_messages("- Q moves up.", episode, "full")
    assert "frozen" not in system["content"].lower()
    assert "- Q moves up." not in system["content"]
    for part in ("- Q moves up.", episode.transcript(), "Reward: 1", "Feedback: You reached the goal."):
        assert user["content"].count(part) == 1
    assert "(none yet)" in update_messages("", episode, "full")[1]["content"]
