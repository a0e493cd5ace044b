"""Whether a refused request can succeed a little later: by its status, and by what the server says."""

from __future__ import annotations

import re

_PASSING = {408, 409, 425, 429}  # and every 5xx
# Servers and gateways report passing trouble with any status, and lasting trouble with those of passing one.
_PASSING_WORDS = re.compile(
    r"overloaded|rate.?limit|too many requests|try again|temporar|unavailable|(at|over) capacity|timed? ?out"
    r"|upstream|provider returned error|\bbusy\b|bad gateway",
    re.IGNORECASE,
)
_LASTING_WORDS = re.compile(r"insufficient.?(quota|credit|balance|funds)|current quota|\bbilling\b", re.IGNORECASE)
_ABOUT_ROLES = re.compile(
    r"system.?(role|message|prompt)|\brole\b.{0,100}\b(system|assistant)\b|user and assistant|alternat",
    re.IGNORECASE,
)


def is_about_roles(complaint: str) -> bool:
    """Whether the server refuses the system role, or wants user and assistant in turn."""
    return bool(_ABOUT_ROLES.search(complaint))


def may_pass(status: int, complaint: str) -> bool:
    """Whether to try again.

    Args:
        status: HTTP status, or the one that the body names; 0 for none.
        complaint: What the server says.
    """
    if _LASTING_WORDS.search(complaint) or is_about_roles(complaint):  # template errors come with status 500 too
        return False
    return status in _PASSING or status >= 500 or bool(_PASSING_WORDS.search(complaint))
