"""How hints stand in the files and requests of an agent program: between two lines that name their revision.

The lines are plain text, since programs strip comments, and every text says of itself that it may be wrong, since some
programs tell their model to follow such files exactly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CAVEAT = "Notes from earlier tasks in this environment; they may be wrong or not apply."
_END = "[/codctl hints]"
_BLOCK = re.compile(
    r"\[codctl hints name=(?P<name>[A-Za-z0-9._-]+) rev=(?P<revision>\d+)\]\s*"
    + re.escape(CAVEAT)
    + r"(?P<text>.*?)"
    + re.escape(_END),
    re.DOTALL,
)
_MARKER = re.compile(r"\[/?codctl hints\b")


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


def holds_marker(text: str) -> bool:
    """Whether a text has something in it that could be taken for the lines around a block."""
    return bool(_MARKER.search(text))


def find_blocks(text: str) -> list[Block]:
    """The blocks in a text, in order; what was cut in the middle has no end and is not among them."""
    return [Block(match["name"], int(match["revision"]), match["text"].strip()) for match in _BLOCK.finditer(text)]
