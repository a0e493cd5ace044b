"""Named evaluations."""

from __future__ import annotations

from codctl.config.nearest import unknown
from codctl.evaluate.arms import ARMS

SUITES = {
    "position-curve": "Success by position, with control arms: does it learn on the job, and from its hints?",
}


def check_suite(name: str) -> None:
    """Raise UsageError unless there is a suite of this name."""
    if name not in SUITES:
        raise unknown("suite", name, list(SUITES), "codctl eval --suite position-curve --policy bayes")


def check_arms(arms: tuple[str, ...]) -> None:
    """Raise UsageError unless all arms exist."""
    for arm in arms:
        if arm not in ARMS:
            raise unknown("arm", arm, list(ARMS), "arms=[own,none]")
