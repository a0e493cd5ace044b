"""The update prompt, which knows no domain, and how replies are read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from codctl.cod.context import END, START
from codctl.envs.base import Episode, Rendering
from codctl.outcomes import AnswerProblem

Message = dict[str, str]  # role, content: the form chat templates take

_UPDATE = f"""An agent solves a sequence of related tasks in one environment. Between tasks it keeps short hints for
itself. It has just finished a task. Update the hints so that later, different tasks in the same environment go better:
keep what is useful, drop what proved wrong, add what was learned, say what is uncertain, stay short, and leave out what
concerns only the task just finished.

Think briefly, then give the whole new hints between these two lines, each exactly once:
{START}
{END}"""

_TRAJECTORY = """Previous hints:
{hints}

The task just finished:
{transcript}

Reward: {reward:g}
Feedback: {feedback}"""


def update_messages(hints: str, episode: Episode, rendering: Rendering) -> list[Message]:
    """What the update call reads: old hints, the new trajectory, its raw reward and the environment's feedback."""
    if rendering == "compact":
        unreadable = " error" if episode.unreadable else ""
        seen = f"hints {hints or 'none'} seen {episode.transcript()} reward {episode.reward:g}{unreadable}"
        return [{"role": "system", "content": "update"}, {"role": "user", "content": seen}]
    filled = _TRAJECTORY.format(
        hints=hints or "(none yet)",
        transcript=episode.transcript(),
        reward=episode.reward,
        feedback=episode.feedback,
    )
    return [{"role": "system", "content": _UPDATE}, {"role": "user", "content": filled}]


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
