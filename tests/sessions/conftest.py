"""What agent programs have left of one task each."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.sessions.reading import read_sessions
from codctl.sessions.session import Session

SAMPLES = Path(__file__).parent / "samples"
AGENTS = ("claude-code", "hermes", "openclaw", "qwenpaw")


def sample(agent: str) -> Session:
    (session,) = read_sessions(SAMPLES / f"{agent}.jsonl")
    return session


@pytest.fixture(params=AGENTS)
def played(request: pytest.FixtureRequest) -> Session:
    """The session of each program."""
    return sample(request.param)
