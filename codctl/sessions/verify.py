"""Rewards of sessions from a command: its exit status says whether a session did what it was for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace

from codctl.errors import PreflightError
from codctl.sessions.session import Session

DEADLINE_S = 600.0
_CANNOT_RUN = (126, 127)


def rewarded(session: Session, reward: float) -> Session:
    """A session with a reward that a person gives."""
    return replace(session, reward=reward, reward_from="given")


def verified(session: Session, argv: Sequence[str], deadline_s: float = DEADLINE_S) -> Session:
    """A session with the reward that a command gives it.

    The command reads the session as JSON from its standard input. Exit status 0 is reward 1, any other is 0; a command
    that is killed or takes too long gives none.

    Args:
        session: To be verified.
        argv: The command; no shell reads it.
        deadline_s: Seconds that it may take.

    Raises:
        PreflightError: It cannot be started.
    """
    told = json.dumps(session.as_dict()).encode()
    try:
        ended = subprocess.run(  # noqa: S603  the user's own command, as a list
            list(argv),
            input=told,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _unverified(session, f"it was not verified: the command took longer than {deadline_s:g} s")
    except OSError as error:
        raise PreflightError(f"the command cannot be started: {error.strerror}", where=f"--verify {argv[0]}") from error
    if ended.returncode < 0:
        return _unverified(session, f"it was not verified: signal {-ended.returncode} ended the command")
    if ended.returncode in _CANNOT_RUN:
        return _unverified(session, f"it was not verified: the command ended with status {ended.returncode}")
    return replace(session, reward=float(ended.returncode == 0), reward_from="verified")


def _unverified(session: Session, why: str) -> Session:
    return replace(session, reward=None, reward_from="", notes=(*session.notes, why))
