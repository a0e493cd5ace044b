"""What an agent program is asked to do with its own memory after a task."""

from __future__ import annotations

from collections.abc import Sequence

from codctl.envs.base import Message

_MEMORY = """\
You solve a series of different tasks in one environment, one after another. Between them you keep only your memory, \
and you have just finished a task. Bring your memory up to date with the tools that you have for it, so that you do \
better in the later tasks of the series.

Two kinds of notes are useful:
1. Facts about the environment that were hidden at first and have come to light.
2. Techniques: ways of working that helped, and mistakes to avoid.

Keep what is still useful, correct or drop what proved wrong, add what was learned, and say what is uncertain. Leave \
out what concerns only the task just finished. Keep it short. When your memory is written, stop.

What follows is an account of the task.

{account}"""


def memory_prompt(messages: Sequence[Message]) -> str:
    """The prompt of a session in which the program writes its memory.

    Args:
        messages: Of codctl's own update: the last one is the account of the task.
    """
    return _MEMORY.format(account=messages[-1]["content"])
