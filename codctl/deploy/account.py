"""A session of an agent program as what an update reads: observations and replies, with what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from codctl.cod.prompts import Account, Turn
from codctl.contexts.block import place_blocks
from codctl.envs.base import Episode, Step
from codctl.sessions.session import Call, Message, Session
from codctl.sessions.wrapped import peeled

_RULES = "The agent does what its user asks for."
_TOOLS = "It has these tools: {names}."
_NO_FEEDBACK = "Nobody has said how well it went."
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_LENGTHS = (None, 8_000, 4_000, 2_000, 1_000, 500, 250, 100)  # characters of one text
_FEWEST = 2  # turns


class Worked(Episode):
    """A task of an agent program's user, which is over."""

    def __init__(self, turns: Sequence[Turn], feedback: str) -> None:
        super().__init__(max_turns=len(turns))
        self._turns = turns
        self.observation = turns[0].observation if turns else ""
        self.turns, self.done, self.feedback = len(turns), True, feedback

    def act(self, action: str) -> Step:
        raise RuntimeError("the task is over")

    def transcript(self) -> str:
        return "\n".join(f"{turn.observation}\n> {turn.reply}" for turn in self._turns)


def account_of(session: Session, *, reward: float | None, feedback: str) -> Account:
    """What an update reads of a session.

    Args:
        session: With what was said; its system prompt, which the program repeats each time, is left out.
        reward: What it was worth; None where nobody has said so.
        feedback: What somebody says about it.
    """
    turns = tuple(_turns(session.messages))
    episode = Worked(turns, feedback or _NO_FEEDBACK)
    episode.reward = reward or 0.0
    names = ", ".join(dict.fromkeys(call.name for message in session.replies for call in message.calls))
    rules = f"{_RULES} {_TOOLS.format(names=names)}" if names else _RULES
    return Account(episode, rules, turns, reward, is_graded=True)


def shorter(account: Account) -> Iterator[Account]:
    """The account, and then ever shorter ones: the middle of long texts is left out, and then turns in the middle."""
    turns, feedback = account.turns, account.episode.feedback
    for most in _LENGTHS:
        yield _with(account, [Turn(cut(turn.observation, most), cut(turn.reply, most)) for turn in turns], feedback)
    least = [Turn(cut(turn.observation, _LENGTHS[-1]), cut(turn.reply, _LENGTHS[-1])) for turn in turns]
    while len(least) > _FEWEST:
        half = len(least) // 4
        least = [*least[: max(1, half)], *least[-max(1, half) :]]
        yield _with(account, least, feedback)


def cut(text: str, most: int | None) -> str:
    """A text without its middle, where it is longer than so many characters."""
    if most is None or len(text) <= most:
        return text
    left_out = len(text) - most
    return f"{text[: most // 2]}\n[{left_out:,} characters left out]\n{text[len(text) - (most - most // 2) :]}"


def task_of(session: Session, most: int = 100) -> str:
    """What the session was about: the first line of what the user said first."""
    said = (_cleaned(message.text) for message in session.messages if message.role == "user")
    line = next((text.split("\n")[0] for text in said if text), "")
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _with(account: Account, turns: Sequence[Turn], feedback: str) -> Account:
    episode = Worked(turns, feedback)
    episode.reward = account.episode.reward
    return replace(account, episode=episode, turns=tuple(turns))


def _turns(messages: Sequence[Message]) -> Iterator[Turn]:
    seen: list[str] = []
    for message in messages:
        if message.role == "assistant":
            yield Turn("\n\n".join(seen), _reply(message))
            seen = []
        elif message.role != "system" and (text := _cleaned(message.text)):
            seen.append(text)


def _reply(message: Message) -> str:
    return "\n".join(filter(None, [message.text.strip(), *map(_called, message.calls)]))


def _called(call: Call) -> str:
    return f"[calls {call.name}({json.dumps(dict(call.arguments), ensure_ascii=False)})]"


def _cleaned(text: str) -> str:
    """What was said, without the hints, which an update reads anyway, and what programs put around."""
    for placed in reversed(place_blocks(text)):
        text = text[: placed.start] + text[placed.end :]
    return peeled(_REMINDER.sub("", text).strip())
