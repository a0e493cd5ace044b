"""Reading replies, and what the update call sees."""

from __future__ import annotations

import pytest

from codctl.cod.prompts import (
    Account,
    ParsedAnswer,
    Turn,
    is_strict,
    parse_answer,
    solve_messages,
    update_messages,
)
from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, LakeWorld
from codctl.envs.registry import get_family

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
    assert parse_answer(reply) == parse_answer(reply, strict=True) == ParsedAnswer(action)


@pytest.mark.parametrize(
    "reply",
    [
        "<answer>K</answer>.",
        "<answer>K</answer> done",
        "**<answer>K</answer>**",
        "```\n<answer>K</answer>\n```",
        "<think>Perhaps <answer>Q</answer>?</think>\n<answer>K</answer>",
        "Perhaps <answer>Q</answer>?</think><answer>K</answer>",  # the prompt opened the block
    ],
)
def test_the_published_rule_takes_the_block_anywhere_but_in_the_reasoning(reply: str) -> None:
    assert parse_answer(reply) == ParsedAnswer("K")
    assert parse_answer(reply, strict=True).problem


def test_reasoning_that_never_ends_holds_no_answer() -> None:
    assert parse_answer("<think>So <answer>K</answer> and").kind == "no_answer"


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
        ("<answer> \n </answer>", "the <answer> block is empty", "empty_answer"),
    ],
)
def test_anything_else_is_a_format_error(reply: str, problem: str, kind: str) -> None:
    found = parse_answer(reply)
    assert (found.action, found.problem, found.kind) == ("", problem, kind)


def test_strictly_nothing_may_follow_the_block() -> None:
    found = parse_answer("<answer>K</answer> because", strict=True)
    assert (found.problem, found.kind) == ("text follows the <answer> block", "text_around")


@pytest.mark.parametrize(
    ("rule", "compact", "full"), [("auto", True, False), ("strict", True, True), ("published", False, False)]
)
def test_auto_is_strict_for_tiny_models_only(rule, compact: bool, full: bool) -> None:
    assert (is_strict(rule, "compact"), is_strict(rule, "full"), is_strict(rule, "terse")) == (compact, full, full)


@pytest.mark.parametrize("tokens", [None, 1000])
def test_suggested_length(tokens: int | None) -> None:
    slot = get_family("frozen_lake").pack("test", 0, 1, "easy").slots[0]
    account = Account(played("KK", "full"))
    systems = [
        solve_messages(slot, "", "grid", "full", tokens)[0]["content"],
        update_messages("", account, "full", tokens)[0]["content"],
    ]
    for system in systems:
        assert ("a few sentences" in system) == (tokens is None)
        assert ("under about 1,000 tokens" in system) == (tokens is not None)
    for short in ("terse", "compact"):
        assert solve_messages(slot, "", "", short, tokens) == solve_messages(slot, "", "", short)


def played(codes: str, rendering: str) -> LakeEpisode:
    task = LakeTask(3, frozenset(), (0, 0), (0, 2), 3)
    episode = LakeEpisode(LakeWorld((3, 0, 2, 1)), task, rendering)  # type: ignore[arg-type]
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
# The agent's instructions

The rules.

# Previous hints

- Q moves up.

# The task just finished

## Observation 1

first observation

## Reply 1

K goes right.
<answer>K</answer>

## Observation 2

second observation

## Reply 2

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
