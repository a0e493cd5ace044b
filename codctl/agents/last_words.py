"""What is known of a session that did not end as it should: the last lines that its program has written."""

from __future__ import annotations

from pathlib import Path

from codctl.agents.program import Finished
from codctl.processes import last_lines, tail


def last_words(folder: Path) -> str:
    """The last lines of a session's errors, or else of its output; empty where it has said nothing.

    Args:
        folder: Of the session, with its `stdout` and `stderr`.
    """
    return " / ".join(last_lines(tail(folder / "stderr")) or last_lines(tail(folder / "stdout")))


def last_line(path: Path) -> str:
    """The last line of a file that is not blank; empty where there is none."""
    return (last_lines(tail(path)) or [""])[-1]


def ended_without(what: str, finished: Finished, said: str = "") -> str:
    """That a session has ended and did not say how.

    Args:
        what: Is missing: its result.
        finished: How its process ended.
        said: Its last words, where they are not those on the error stream.
    """
    last = said or last_line(finished.stderr) or "no message"
    return f"it ended with exit code {finished.exit_code} and no {what}: {last}"
