"""What changed in a hint, word by word."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Piece:
    """A stretch of text that was kept, inserted or deleted."""

    kind: Literal["same", "ins", "del"]
    text: str

    @property
    def word(self) -> str:
        """The text without the space at its end, which need not be marked."""
        return self.text.rstrip()

    @property
    def space(self) -> str:
        return self.text[len(self.word) :] or " "


def difference(old: str, new: str) -> list[Piece]:
    """The way from `old` to `new`; replaced words come as a deletion before an insertion. Spacing does not count."""
    before, after = _words(old), _words(new)
    pieces: list[Piece] = []
    matcher = difflib.SequenceMatcher(None, [w.strip() for w in before], [w.strip() for w in after], autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(Piece("same", "".join(after[k:m])))
            continue
        if i < j:
            pieces.append(Piece("del", "".join(before[i:j])))
        if k < m:
            pieces.append(Piece("ins", "".join(after[k:m])))
    return pieces


def _words(text: str) -> list[str]:
    """Words, each with the space behind it."""
    return re.findall(r"\S+\s*", text)
