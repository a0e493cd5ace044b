"""Reading replies, and what the update call sees."""

from __future__ import annotations

import pytest

from codctl.cod.prompts import Account, ParsedAnswer, Turn, parse_answer, update_messages
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
    system, user = update_messages("up Q", Account(played("QKK", "compact")), "compact")
    assert (system["role"], system["content"], user["role"]) == ("system", "update", "user")
    assert user["content"] == "hints up Q seen wall=Q right=K right=K reward 1"
    lost = update_messages("", Account(played("QQQ", "compact")), "compact")[1]["content"]
    assert lost == "hints none seen wall=Q wall=Q wall=Q reward 0"
    unreadable = update_messages("", Account(played("Qx", "compact")), "compact")[1]["content"]
    assert unreadable == "hints none seen wall=Q reward 0 error"


def test_full_update_prompt_holds_rules_hints_every_turn_reward_and_feedback() -> None:
    episode = played("KK", "full")
    turns = (Turn("first observation", "K goes right.\n<answer>K</answer>"), Turn("second observation", " "))
    account = Account(episode, "The rules.", turns, 0.925)
    system, user = update_messages("- Q moves up.", account, "full")
    assert "frozen" not in system["content"].lower()
    assert (
        user["content"]
        == """\
# Rules

The rules.

# Previous hints

- Q moves up.

# The task just finished

## Turn 1

first observation

The agent replied:
K goes right.
<answer>K</answer>

## Turn 2

second observation

The agent replied:
(nothing)

Reward: 0.925
Feedback: Action K took you from row 1, column 2 to row 1, column 3. You reached the goal."""
    )
    assert "(none yet)" in update_messages("", account, "full")[1]["content"]


def test_terse_update_prompt_shows_a_reply_only_when_it_could_not_be_read() -> None:
    turns = (Turn("", "up"), Turn("", f"fly! {'x' * 500}"))
    user = update_messages("Q moves up.", Account(played("Kx", "terse"), "The rules.", turns), "terse")[1]["content"]
    assert (
        user
        == f"""\
The rules.

Hints so far: Q moves up.

This task: K moved you right.
You replied: fly! {"x" * 295}
The reply could not be used: 'x' is not an action; the actions are K, Q, X, Z. Reward: 0"""
    )
    won = update_messages("", Account(played("KK", "terse"), "The rules.", turns, 0.925), "terse")[1]["content"]
    assert won.endswith("This task: K moved you right. K moved you right.\nYou reached the goal. Reward: 0.925")
