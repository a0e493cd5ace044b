"""What an update reads of a session."""

from __future__ import annotations

import pytest

from codctl.cod.prompts import update_messages
from codctl.contexts.block import Block
from codctl.deploy.account import account_of, cut, shorter, task_of
from codctl.sessions.session import Call, Message, Session

HINTS = f"<system-reminder>\nYou MUST follow them.\n{Block('lake', 1, 'K moves left.')}\n</system-reminder>\n\n"
SESSION = Session(
    "one",
    "proxy",
    messages=(
        Message("system", "You are an agent. " * 50),
        Message("user", f"{HINTS}Cross the lake.\nQuickly."),
        Message("assistant", "I look first.", (Call("1", "world__observe", {}),)),
        Message("tool", '{"result": "You stand on ice."}', call_id="1"),
        Message("assistant", "", (Call("2", "world__act", {"text": "K"}),)),
        Message("tool", "You fell in.", call_id="2"),
        Message("assistant", "I failed."),
    ),
)


def test_an_update_reads_what_was_said_and_nothing_around_it() -> None:
    account = account_of(SESSION, reward=0.25, feedback="Try the other side.")
    assert [(turn.observation, turn.reply) for turn in account.turns] == [
        ("Cross the lake.\nQuickly.", "I look first.\n[calls world__observe({})]"),
        ("You stand on ice.", '[calls world__act({"text": "K"})]'),
        ("You fell in.", "I failed."),
    ]
    text = update_messages("K moves left.", account, "full")[-1]["content"]
    for part in ("with these tools" not in text, "world__observe, world__act", "Reward: 0.25", "Try the other side."):
        assert part is True or part in text
    assert text.count("K moves left.") == 1  # as the hints in force
    assert "You are an agent." not in text


@pytest.mark.parametrize("rendering", ["full", "terse", "compact"])
def test_every_rendering_can_tell_it(rendering) -> None:
    text = update_messages("", account_of(SESSION, reward=None, feedback=""), rendering)[-1]["content"]
    assert "You fell in." in text
    assert "eward" not in text


def test_what_the_session_was_about() -> None:
    assert task_of(SESSION) == "Cross the lake."
    assert task_of(Session("none", "proxy")) == ""


def test_a_long_session_gets_shorter_and_shorter() -> None:
    turns = tuple(
        message
        for number in range(20)
        for message in (Message("user", f"{number} {'x' * 9_000} end"), Message("assistant", f"reply {number}"))
    )
    shown = list(shorter(account_of(Session("long", "proxy", messages=turns), reward=1.0, feedback="Good.")))
    lengths = [len(one.episode.transcript()) for one in shown]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 180_000
    assert lengths[-1] < 500
    assert shown[-1].turns[0].reply == "reply 0"
    assert shown[-1].turns[-1].reply == "reply 19"
    assert all(one.episode.feedback == "Good." and one.episode.reward == 1.0 for one in shown)


def test_the_middle_of_a_text_is_left_out() -> None:
    assert cut("abcdefghij", 4) == "ab\n[6 characters left out]\nij"
    assert cut("abcd", 4) == "abcd"
    assert cut("abcd", None) == "abcd"
