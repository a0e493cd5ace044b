"""Errors that a user can act on. Each prints as one message, without a traceback, and sets the exit code.

    CodctlError            1  unexpected, base of all
    ├── UsageError         2  a bad argument, recipe, key or value
    ├── PreflightError     3  the machine or the inputs cannot run this
    ├── StageError         4  a stage failed while it ran
    ├── SweepError         5  some trials of a sweep are not complete
    ├── RefusedError       6  the run directory is in use or belongs to another config
    └── BackendError       7  a server that is needed cannot be reached, or gives nothing to score

Neighbours of this tree: CreditError (a UsageError) in cod.credit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One finding in a user's input."""

    message: str
    where: str = ""  # file, and key within it
    hint: str = ""  # what to type next


class CodctlError(Exception):
    """An error with a place and a way out.

    Args:
        message: What is wrong and what was expected.
        where: File and key, when there is one.
        hint: What to type next.
        problems: All findings, when there are several; the message then only introduces them.
    """

    kind: ClassVar[str] = "unexpected"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "", problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.problems = problems


class UsageError(CodctlError):
    kind = "usage"
    exit_code = 2


class PreflightError(CodctlError):
    kind = "preflight"
    exit_code = 3


class StageError(CodctlError):
    kind = "stage"
    exit_code = 4


class SweepError(CodctlError):
    kind = "sweep"
    exit_code = 5


class RefusedError(CodctlError):
    kind = "refused"
    exit_code = 6


class BackendError(CodctlError):
    kind = "backend"
    exit_code = 7


_REFUSED_MEMORY = re.compile(
    r"out of memory|(?:can't|cannot) allocate memory|std::bad_alloc|DefaultCPUAllocator|Unable to allocate",
    re.IGNORECASE,
)
_ASKED_FOR = re.compile(
    r"tried to allocate ([0-9.]+ ?[KMGT]?i?B(?:ytes)?)|Unable to allocate ([0-9.]+ [KMGT]?i?B)", re.IGNORECASE
)


def out_of_memory(error: BaseException) -> StageError | None:
    """The user's version of memory that was refused, on a CPU or a GPU; None of any other error."""
    text = str(error)
    is_library = isinstance(error, RuntimeError | OSError)  # torch's own errors are RuntimeErrors
    if not isinstance(error, MemoryError) and not (is_library and _REFUSED_MEMORY.search(text)):
        return None
    where = "GPU" if "CUDA" in text or "HIP" in text else "machine"
    asked = _ASKED_FOR.search(text)
    amount = f": {next(filter(None, asked.groups()))} were refused" if asked else ""
    return StageError(
        f"the {where} has no memory left{amount}",
        hint="codctl train RECIPE --dry-run shows what a run needs and what makes it smaller; "
        "a limit of the shell (ulimit -v) or of the job may be lower than the machine's memory",
    )
