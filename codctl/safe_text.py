r"""Text of others (models, servers, files, jobs), shown and never obeyed. Stdlib only.

A terminal obeys escape sequences and control characters, a terminal and a browser reorder text at bidirectional
controls, and characters without a width hide in a name. `visible` writes each as Python would: `\x1b`, `\u202e`.
Everything that codctl prints, logs or puts on a page goes through it at the exit: the streams of `codctl.startup`,
`codctl.cli._output`, `codctl.log.Lines` and `codctl.report.template`.
"""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline; \x9b is an escape sequence to some
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"  # no width, or a direction
    "\u2028-\u202e\u2060-\u206f"  # separators of lines and paragraphs, embeddings, overrides, isolates
    "\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff"  # halves of surrogate pairs, which UTF-8 cannot hold
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    "]"
    # Joiners belong to emoji and to scripts in which letters join, and hide between others.
    "|[\u200c\u200d](?![^\x00-\xff])|(?<![^\x00-\xff])[\u200c\u200d]"
)
_BREAKS = str.maketrans({"\n": r"\n", "\t": r"\t"})


def visible(text: str) -> str:
    """The same text with everything written out that would act on what shows it, or hide. Lines and tabs stay."""
    return _HIDDEN.sub(_written_out, text)


def visible_line(text: str) -> str:
    """The same on one line: for names and places, which have no lines of their own."""
    return visible(text).translate(_BREAKS)


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
