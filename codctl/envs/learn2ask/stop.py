"""The tag that ends an interview, as a model may write it."""

from __future__ import annotations

import re

STOP_TAG = "<stop />"
_STOP = re.compile(r"<\s{0,9}stop\s{0,9}/?\s{0,9}>", re.IGNORECASE)
_WORD = "stop"


def is_stop(reply: str) -> bool:
    """Whether a reply ends the interview: it holds the tag somewhere, as published, or is the bare word."""
    return STOP_TAG in reply or reply.strip() == _WORD


def is_stop_alone(reply: str) -> bool:
    """Whether a reply is the end of the interview and nothing else."""
    return reply.strip() in (STOP_TAG, _WORD)


def as_tag(reply: str) -> str:
    """A reply in which every spelling of the tag is the one that is read."""
    return _STOP.sub(STOP_TAG, reply)
