"""A process that outlives this one and its terminal, handed over only when it is seen to work."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from codctl.errors import BackendError, CodctlError, PreflightError, RefusedError, StageError, UsageError
from codctl.jobs import leash
from codctl.jobs.failures import last_lines, tail
from codctl.jobs.groups import Group

_LOOK_S = 0.1
_END_S = 10.0
_SHOWN_LINES = 5
_ERRORS = {kind.exit_code: kind for kind in (UsageError, PreflightError, StageError, RefusedError, BackendError)}


def start_detached(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    is_up: Callable[[], bool],
    deadline_s: float = 60.0,
) -> int:
    """Start a process in a session of its own and return once it is up. Closing the terminal does not reach it.

    It keeps the working directory: relative paths in a recipe mean the same as in the foreground.

    Args:
        argv: Its command line.
        env: Its whole environment.
        log: Where what it prints is appended.
        is_up: Whether it does its work; asked several times a second.
        deadline_s: Seconds that it may take to be up.

    Returns:
        Its process id, also when it has ended already with exit code 0.

    Raises:
        CodctlError: It ended before it was up. The class goes by its exit code, the message by its log.
        StageError: It was not up in time, and was ended; or it cannot be started.
    """
    log = log.absolute()
    start = log.stat().st_size if log.is_file() else 0
    free = {name: value for name, value in env.items() if name != leash.VARIABLE}
    ended = threading.Event()
    group = Group.start(argv, env=free, log=log, on_exit=ended.set)
    deadline = time.monotonic() + deadline_s
    try:
        while not is_up():
            if ended.wait(_LOOK_S):
                if is_up():
                    break
                if code := group.reap():
                    raise _ended_early(code, log, start)
                return group.pid
            if time.monotonic() >= deadline:
                raise _not_up(deadline_s, log, start)
    except BaseException:
        _end(group)
        raise
    group.release()
    return group.pid


def _end(group: Group) -> None:
    group.signal(signal.SIGTERM)
    if group.reap(_END_S) is None:
        group.signal(signal.SIGKILL)
        group.reap(_END_S)


def _ended_early(code: int, log: Path, start: int) -> CodctlError:
    kind, said = _ERRORS.get(code, StageError), tail(log, start)
    message, hint = _own_error(said)
    if message:
        return kind(message, hint=hint)
    message = " / ".join(last_lines(said, _SHOWN_LINES)) or f"the detached process ended with exit code {code}"
    return kind(message, where=str(log))


def _not_up(deadline_s: float, log: Path, start: int) -> StageError:
    said = " / ".join(last_lines(tail(log, start), _SHOWN_LINES)) or "nothing"
    return StageError(
        f"the detached process did not start within {deadline_s:.0f} s and was ended; its output: {said}",
        where=str(log),
        hint="run the same command without --detach to see what happens",
    )


def _own_error(text: str) -> tuple[str, str]:
    """Message and hint of the last error that a command of ours printed; empty when it printed none."""
    lines = last_lines(text, len(text))
    for number in reversed(range(len(lines))):
        if lines[number].startswith("error: "):
            hints = [line.removeprefix("→").strip() for line in lines[number + 1 :] if line.startswith("→")]
            return lines[number].removeprefix("error: "), (hints or [""])[0]
    return "", ""
