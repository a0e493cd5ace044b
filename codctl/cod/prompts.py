"""The update prompt, which knows no domain, and how replies are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from codctl.cod.context import END, START
from codctl.envs.base import NO_HINTS, Episode, Rendering
from codctl.outcomes import AnswerProblem

Message = dict[str, str]  # role, content: the form chat templates take

_UPDATE = f"""\
An agent solves a series of different tasks in one environment. Between tasks it keeps a short text of hints for \
itself; it remembers nothing else. It has just finished a task. Rewrite the hints so that it does better in the later \
tasks of the series.

Two kinds of hints are useful:
1. Facts about the environment that were hidden at first and have come to light.
2. Techniques: ways of working that helped, and mistakes to avoid.

Keep what is still useful, correct or drop what proved wrong, add what was learned, and say what is uncertain. Leave \
out what concerns only the task just finished. Keep the hints short.

Think first, then write the complete new hints between the following two lines. Each line must appear exactly once.
{START}
{END}"""

_TRAJECTORY = """\
# Rules

{rules}

# Previous hints

{hints}

# The task just finished

{turns}

Reward: {reward:.3g}
Feedback: {feedback}"""

_TURN = """\
## Turn {number}

{observation}

The agent replied:
{reply}"""

_UPDATE_TERSE = f"""\
You solve tasks in the same world, one after another. Rewrite your hints for the next task: keep what is true, correct \
what is wrong, add what you learned. Write them between these lines:
{START}
{END}"""

_TRAJECTORY_TERSE = """\
{rules}

Hints so far: {hints}

This task: {transcript}
{feedback} Reward: {reward:.3g}"""

_SHOWN_CHARS = 300  # of a reply that could not be read, in terse


@dataclass(frozen=True)
class Turn:
    """What the agent saw and what it replied."""

    observation: str
    reply: str


@dataclass(frozen=True)
class Account:
    """What an update reads of the task just finished.

    Attributes:
        episode: The attempt.
        rules: Of its world, without hints.
        turns: Every observation and every reply.
        reward: Less the turn penalty.
    """

    episode: Episode
    rules: str = ""
    turns: Sequence[Turn] = ()
    reward: float = 0.0


def update_messages(hints: str, account: Account, rendering: Rendering) -> list[Message]:
    """What the update call reads: the old hints, the rules, the trajectory, its reward and the feedback."""
    texts = {"compact": _compact, "terse": _terse, "full": _full}[rendering](hints, account)
    return [{"role": role, "content": text} for role, text in zip(("system", "user"), texts, strict=True)]


def _compact(hints: str, account: Account) -> tuple[str, str]:
    episode = account.episode
    unreadable = " error" if episode.unreadable else ""
    return "update", f"hints {hints or 'none'} seen {episode.transcript()} reward {episode.reward:g}{unreadable}"


def _terse(hints: str, account: Account) -> tuple[str, str]:
    episode = account.episode
    reply = account.turns[-1].reply.strip()[:_SHOWN_CHARS] if episode.unreadable and account.turns else ""
    return _UPDATE_TERSE, _TRAJECTORY_TERSE.format(
        rules=account.rules,
        hints=hints or "none yet",
        transcript=episode.transcript(),
        feedback=f"You replied: {reply}\n{episode.feedback}" if reply else episode.feedback,
        reward=account.reward,
    )


def _full(hints: str, account: Account) -> tuple[str, str]:
    turns = [
        _TURN.format(number=number, observation=turn.observation, reply=turn.reply.strip() or "(nothing)")
        for number, turn in enumerate(account.turns, 1)
    ]
    return _UPDATE, _TRAJECTORY.format(
        rules=account.rules,
        hints=hints or NO_HINTS,
        turns="\n\n".join(turns) or account.episode.transcript(),
        reward=account.reward,
        feedback=account.episode.feedback,
    )


def update_reply(hints: str, rendering: Rendering) -> str:
    """A well-formed update, as scripted policies write it."""
    separator = " " if rendering == "compact" else "\n"
    return separator.join((START, hints, END))


_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@dataclass(frozen=True)
class ParsedAnswer:
    """The action in a solve reply, or why there is none."""

    action: str
    problem: str = ""
    kind: AnswerProblem | None = None


def parse_answer(reply: str) -> ParsedAnswer:
    """Read the one `<answer>…</answer>` block that must end the reply."""
    blocks = _ANSWER.findall(reply)
    if len(blocks) != 1 or reply.count("<answer>") != 1 or reply.count("</answer>") != 1:
        kind: AnswerProblem = "several_answers" if blocks else "no_answer"
        return ParsedAnswer("", f"expected exactly one <answer>…</answer> block, found {len(blocks)}", kind)
    if not reply.rstrip().endswith("</answer>"):
        return ParsedAnswer("", "text follows the <answer> block", "text_around")
    if not blocks[0].strip():
        return ParsedAnswer("", "the <answer> block is empty", "empty_answer")
    return ParsedAnswer(blocks[0].strip())
