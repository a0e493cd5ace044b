"""SLURM's command-line clients, asked with a deadline."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from codctl.errors import BackendError, RefusedError

DEADLINE_S = 20.0
_NO_ANSWER = (
    "unable to contact slurm controller", "connection refused", "socket timed out", "connect failure",
    "slurm_persist_conn", "resolve", "no error",
)  # fmt: skip


def absent(program: str) -> BackendError:
    """The error for a machine without SLURM."""
    return BackendError(
        f"there is no {program} on this machine, so nothing can be submitted from here",
        hint="log in to a machine of the cluster, or leave --slurm out (--detach runs it here, in the background)",
    )


def silent(words: str) -> BackendError:
    """The error for a controller that does not answer."""
    return BackendError(f"the SLURM controller does not respond: {words}", hint="scontrol ping")


def run(command: Sequence[str], *, text: str = "", deadline_s: float = DEADLINE_S) -> subprocess.CompletedProcess[str]:
    """Run a client to its end; how it ended is the caller's business.

    Args:
        command: The client and its arguments.
        text: Its standard input.
        deadline_s: How long it may take.

    Raises:
        BackendError: It is not here, or takes longer than it may.
    """
    if shutil.which(command[0]) is None:
        raise absent(command[0])
    try:
        return subprocess.run(  # noqa: S603 - SLURM's own clients, no shell
            command, input=text, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise silent(f"{command[0]} took more than {deadline_s:.0f} s") from error


def must(command: Sequence[str]) -> str:
    """The output of a client that has to succeed.

    Raises:
        BackendError: It is not here, or its controller does not answer.
        RefusedError: SLURM says no.
    """
    done = run(command)
    words = in_short(done.stderr or done.stdout)
    if done.returncode == 0:
        return done.stdout
    if is_silence(words):
        raise silent(words)
    raise RefusedError(f"{command[0]}: {words}")


def is_silence(words: str) -> bool:
    """Whether a client's complaint is about a controller that cannot be reached."""
    return any(phrase in words.lower() for phrase in _NO_ANSWER)


def in_short(words: str) -> str:
    """A client's complaint on one line."""
    lines = (line.removeprefix("sbatch: ").removeprefix("error: ").strip() for line in words.splitlines())
    return "; ".join(line for line in lines if line)
