"""Prompts as messages, the update prompt, which knows no domain, and how replies are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from codctl.cod.context import END, START
from codctl.cod.delta import NOTHING, difference, items_of, numbered, written
from codctl.envs.base import Episode, Message, PolicyView, Rendering, Slot, UpdateRule
from codctl.envs.solve_prompt import NO_HINTS
from codctl.outcomes import AnswerProblem

AnswerRule = Literal["auto", "published", "strict"]

_UPDATE = """\
An agent solves a series of different tasks in one environment. Between tasks it keeps a short text of hints for \
itself; it remembers nothing else. It has just finished a task. Rewrite the hints so that it does better in the later \
tasks of the series.

Two kinds of hints are useful:
1. Facts about the environment that were hidden at first and have come to light.
2. Techniques: ways of working that helped, and mistakes to avoid.

Keep what is still useful, correct or drop what proved wrong, add what was learned, and say what is uncertain. Leave \
out what concerns only the task just finished. Keep the hints short.

Think first. {length} Then write the complete new hints between the following two lines. Each line must appear \
exactly once.
{start}
{end}"""

_UPDATE_DELTA = """\
An agent solves a series of different tasks in one environment. Between tasks it keeps a short list of hints for \
itself; it remembers nothing else. It has just finished a task. Edit the hints so that it does better in the later \
tasks of the series.

Two kinds of hints are useful:
1. Facts about the environment that were hidden at first and have come to light.
2. Techniques: ways of working that helped, and mistakes to avoid.

The hints are numbered, one a line. Write only what has to change: every hint that you do not name stays as it is. \
Add what was learned, change or remove what proved wrong, and say what is uncertain. Leave out what concerns only the \
task just finished. Keep the hints short.

An edit is one line, in one of these forms:
add: TEXT OF A NEW HINT
change NUMBER: NEW TEXT OF THIS HINT
remove NUMBER
If nothing has to change, the only line is:
nothing to change

Think first. {length} Then write your edits between the following two lines. Each of the two lines must appear exactly \
once.
{start}
{end}"""

_TRAJECTORY = """\
# The agent's instructions

{rules}

# Previous hints

{hints}

# The task just finished

{turns}

{reward}Feedback: {feedback}"""

_TURN = """\
## Observation {number}

{observation}

## Reply {number}

{reply}"""

_UPDATE_TERSE = f"""\
You solve tasks in the same world, one after another. Rewrite your hints for the next task: keep what is true, \
correct what is wrong, add what you learned. Write them between these lines:
{START}
{END}"""

_UPDATE_DELTA_TERSE = f"""\
You solve tasks in the same world, one after another. Edit your numbered hints for the next task: add what you \
learned, change or remove what is wrong. What you do not name stays. Write one edit a line, such as
add: new hint
change 2: new text of hint 2
remove 3
or only
{NOTHING}
Write between these lines:
{START}
{END}"""

_TRAJECTORY_TERSE = """\
{rules}

Hints so far: {hints}

This task: {transcript}
{feedback}{reward}"""

_FEW_SENTENCES = "Keep your reasoning to a few sentences."
_SUGGESTED = "Keep the whole reply, including your reasoning, under about {tokens:,} tokens."

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
        reward: Less the turn penalty; None where the world does not show it.
        is_graded: Whether rewards lie between 0 and 1.
    """

    episode: Episode
    rules: str = ""
    turns: Sequence[Turn] = ()
    reward: float | None = 0.0
    is_graded: bool = False


def solve_messages(
    slot: Slot, hints: str, task: str | Sequence[Message], rendering: Rendering, suggested_tokens: int | None = None
) -> list[Message]:
    """What the first call of a solve episode reads: the rules with the hints, and the task (`Episode.first`)."""
    system = slot.family.solve_prompt(hints, rendering, slot.preset)
    if rendering == "full":
        system = f"{system}\n\n{_length(suggested_tokens)}"
    if not isinstance(task, str):
        return [{"role": "system", "content": system}, *task]
    return _messages(system, task)


def update_messages(
    hints: str,
    account: Account,
    rendering: Rendering,
    suggested_tokens: int | None = None,
    update: UpdateRule = "rewrite",
) -> list[Message]:
    """What the update call reads: the old hints, the rules, the trajectory, its reward and the feedback."""
    shown = numbered(hints, rendering) if update == "delta" else hints
    user = {"compact": _compact, "terse": _terse, "full": _full}[rendering](shown, account)
    return _messages(update_system(rendering, suggested_tokens, update), user)


def update_system(rendering: Rendering, suggested_tokens: int | None = None, update: UpdateRule = "rewrite") -> str:
    """The system prompt of an update, the same for every world."""
    if rendering == "compact":
        return "update"
    if rendering == "terse":
        return _UPDATE_DELTA_TERSE if update == "delta" else _UPDATE_TERSE
    form = _UPDATE_DELTA if update == "delta" else _UPDATE
    return form.format(length=_length(suggested_tokens), start=START, end=END)


def _messages(system: str, user: str) -> list[Message]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _length(suggested_tokens: int | None) -> str:
    return _SUGGESTED.format(tokens=suggested_tokens) if suggested_tokens else _FEW_SENTENCES


def _compact(hints: str, account: Account) -> str:
    episode = account.episode
    unreadable = " error" if episode.unreadable else ""
    shown = f"{episode.reward:.1f}" if account.is_graded else f"{episode.reward:g}"
    reward = "" if account.reward is None else f" reward {shown}"
    return f"hints {hints or 'none'} seen {episode.transcript()}{reward}{unreadable}"


def _terse(hints: str, account: Account) -> str:
    episode = account.episode
    reply = account.turns[-1].reply.strip()[:_SHOWN_CHARS] if episode.unreadable and account.turns else ""
    return _TRAJECTORY_TERSE.format(
        rules=account.rules,
        hints=hints or "none yet",
        transcript=episode.transcript(),
        feedback=f"You replied: {reply}\n{episode.feedback}" if reply else episode.feedback,
        reward="" if account.reward is None else f" Reward: {account.reward:.3g}",
    )


def _full(hints: str, account: Account) -> str:
    turns = [
        _TURN.format(number=number, observation=turn.observation, reply=turn.reply.strip() or "(nothing)")
        for number, turn in enumerate(account.turns, 1)
    ]
    return _TRAJECTORY.format(
        rules=account.rules,
        hints=hints or NO_HINTS,
        turns="\n\n".join(turns) or account.episode.transcript(),
        reward="" if account.reward is None else f"Reward: {account.reward:.3g}\n",
        feedback=account.episode.feedback,
    )


def update_reply(hints: str, rendering: Rendering, remark: str = "") -> str:
    """A well-formed update, as scripted policies write it, with a remark before the hints if there is one."""
    separator = " " if rendering == "compact" else "\n"
    return separator.join(filter(None, (remark, START, hints, END)))


def update_to(hints: str, view: PolicyView, remark: str = "") -> str:
    """A well-formed update that leads from the hints in force to these, as scripted policies write it."""
    if view.update == "delta":
        after = view.slot.family.items(hints, view.rendering)
        hints = written(difference(items_of(view.hints, view.rendering), after), view.rendering)
    return update_reply(hints, view.rendering, remark)


_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@dataclass(frozen=True)
class ParsedAnswer:
    """The action in a solve reply, or why there is none."""

    action: str
    problem: str = ""
    kind: AnswerProblem | None = None


def parse_answer(reply: str, *, strict: bool = False) -> ParsedAnswer:
    """Read the one `<answer>…</answer>` block of a reply.

    Args:
        reply: What the agent wrote.
        strict: The block must also end the reply. The published rule takes it anywhere.
    """
    text = reply if strict else without_reasoning(reply)
    blocks = _ANSWER.findall(text)
    if len(blocks) != 1 or text.count("<answer>") != 1 or text.count("</answer>") != 1:
        kind: AnswerProblem = "several_answers" if blocks else "no_answer"
        return ParsedAnswer("", f"expected exactly one <answer>…</answer> block, found {len(blocks)}", kind)
    if strict and not text.rstrip().endswith("</answer>"):
        return ParsedAnswer("", "text follows the <answer> block", "text_around")
    if not blocks[0].strip():
        return ParsedAnswer("", "the <answer> block is empty", "empty_answer")
    return ParsedAnswer(blocks[0].strip())


def is_strict(rule: AnswerRule, rendering: Rendering) -> bool:
    """Whether replies are read strictly; `auto` does so in compact, whose models learn one exact form."""
    return rule == "strict" or (rule == "auto" and rendering == "compact")


def without_reasoning(reply: str) -> str:
    """A reply without its `<think>…</think>` blocks; the first may have been opened by the prompt, the last be cut."""
    return reply.rpartition("</think>")[2].partition("<think>")[0]
