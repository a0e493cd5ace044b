"""How hints stand in the files and requests of an agent program: between two lines that name their revision.

The lines are plain text, since programs strip comments, and every text says of itself that it may be wrong, since some
programs tell their model to follow such files exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CAVEAT = "Notes from earlier tasks in this environment; they may be wrong or not apply."
NAME = re.compile(r"[A-Za-z0-9._-]+")  # of a context
_END = "[/codctl hints]"
_MARKER = re.compile(r"\[/?codctl hints\b")
_BLOCK = re.compile(
    rf"\[codctl hints name=(?P<name>{NAME.pattern}) rev=(?P<revision>\d+)\]\s*"
    + re.escape(CAVEAT)
    + rf"(?P<text>(?:(?!{_MARKER.pattern}).)*)"  # a block whose end was cut off does not swallow the next one
    + re.escape(_END),
    re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """Hints as they stand in a file or a request.

    Attributes:
        name: Of the context.
        revision: Its number.
        text: The hints, without the lines around them.
    """

    name: str
    revision: int
    text: str

    def __str__(self) -> str:
        return f"[codctl hints name={self.name} rev={self.revision}]\n{CAVEAT}\n\n{self.text}\n{_END}"


@dataclass(frozen=True)
class Placed:
    """A block, and where it stands in a text."""

    block: Block
    start: int
    end: int


def holds_marker(text: str) -> bool:
    """Whether a text has something in it that could be taken for the lines around a block."""
    return bool(_MARKER.search(text))


def place_blocks(text: str) -> list[Placed]:
    """The blocks in a text with their places, in order; what was cut in the middle has no end and is not among them."""
    return [
        Placed(Block(match["name"], int(match["revision"]), match["text"].strip()), *match.span())
        for match in _BLOCK.finditer(text)
    ]


def find_blocks(text: str) -> list[Block]:
    """The blocks in a text, in order; what was cut in the middle has no end and is not among them."""
    return [placed.block for placed in place_blocks(text)]
