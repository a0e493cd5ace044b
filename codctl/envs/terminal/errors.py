"""What a command line can fail with. Never leaves the shell: it becomes the text that the agent reads."""

from __future__ import annotations

from codctl.envs.terminal.rules import Lesson


class ShellError(Exception):
    """A command failed.

    Args:
        message: What a shell would print.
        lessons: What the message teaches about the house rules.
    """

    def __init__(self, message: str, *lessons: Lesson) -> None:
        super().__init__(message)
        self.message = message
        self.lessons = lessons


class Refused(Exception):  # noqa: N818 - not an error of the program: the whole line is turned away before it runs
    """The line uses something that this shell does not have, or cannot be read."""
