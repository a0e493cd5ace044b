"""What changed in a hint, word by word."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

# Controls are shown and not obeyed: neither by a terminal, nor by a browser that lays out text in two directions.
_PICTURES = {code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)} | {127: "\u2421"}
_INVISIBLE = (
    range(0x80, 0xA0),  # as good as escape sequences to some terminals
    (0x61C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF),
    range(0xD800, 0xE000),  # halves of surrogate pairs, which UTF-8 cannot hold
    range(0xE0000, 0xE0080),
)
_VISIBLE = {**_PICTURES, **{code: f"⟨U+{code:04X}⟩" for codes in _INVISIBLE for code in codes}}


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


def visible(text: str) -> str:
    """The same text with control characters replaced by something that shows."""
    return text.translate(_VISIBLE)


def _words(text: str) -> list[str]:
    """Words, each with the space behind it."""
    return re.findall(r"\S+\s*", visible(text))
