"""Text in columns that fit a terminal: too wide a table wraps its cells at words, or becomes a list of records."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from functools import cache

GAP = 2
_LOOKED_AT = 40  # rows by which widths are chosen
_SHORT = 16  # a longer word, such as a path, may be broken where nothing else helps
_JOINED = "\xa0"  # a space at which a cell is not wrapped
_PUNCTUATION = re.compile(r"(?<=[/,=_:-])")

Row = Sequence[str]
Bold = Callable[[str], str]
Paint = Callable[[int, str], str]


def lay_out(
    headers: Row,
    rows: Sequence[Row],
    right: Sequence[bool],
    columns: int | None,
    bold: Bold,
    paint: Paint = lambda _column, text: text,
) -> str:
    """A table as text.

    Args:
        headers: Of the columns.
        rows: Cells as text; a no-break space keeps words on one line and is printed as a space.
        right: Which columns are aligned right. They are never wrapped.
        columns: Width of the terminal; None leaves everything as wide as it is.
        bold: Marks the headers.
        paint: Gives a part of a cell its colour, by the number of its column.
    """
    natural = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    widths = natural if columns is None or _total(natural) <= columns else _fitted(headers, rows, right, columns)
    if widths is None:
        return _records(headers, rows, columns or 0, bold, paint)
    head = [bold(line) for line in _lines(headers, widths, right)]
    return "\n".join([*head, *(line for row in rows for line in _lines(row, widths, right, paint))])


def wrapped(text: str, columns: int | None, indent: str = "") -> str:
    """Prose wrapped at words, each line of it by itself; what goes on is indented, by default as its line."""
    if columns is None:
        return text
    return "\n".join("\n".join(_wrap(line, columns, indent or _indent(line))) for line in text.splitlines())


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _fitted(headers: Row, rows: Sequence[Row], right: Sequence[bool], columns: int) -> list[int] | None:
    """Widths that fit, with as few lines as may be; None when not even broken words fit."""
    by_column = list(zip(headers, *rows, strict=True))
    natural = [max(map(len, column)) for column in by_column]
    found = []
    for longest in (_longest_word, _longest_piece):
        least = [
            width if fixed else min(longest(column), width)
            for column, width, fixed in zip(by_column, natural, right, strict=True)
        ]
        if _total(least) <= columns:
            widths = _narrowed([column[:_LOOKED_AT] for column in by_column], natural, least, columns)
            found.append((sum(len(_lines(row, widths, right)) for row in rows), widths))
    return min(found, key=lambda one: one[0])[1] if found else None


def _narrowed(by_column: Sequence[Row], widths: Sequence[int], least: Sequence[int], columns: int) -> list[int]:
    """Take one character after another where it costs the fewest lines, of several such places from the widest."""

    @cache
    def heights(place: int, width: int) -> list[int]:
        return [len(_wrap(text, width)) for text in by_column[place]]

    def lines(widths: Sequence[int]) -> int:
        return sum(map(max, zip(*(heights(place, width) for place, width in enumerate(widths)), strict=True)))

    found = list(widths)
    while _total(found) > columns:
        tried = [
            (lines([*found[:place], width - 1, *found[place + 1 :]]), -width, place)
            for place, width in enumerate(found)
            if width > least[place]
        ]
        found[min(tried)[2]] -= 1
    return found


def _longest_word(column: Row) -> int:
    return max((len(word) for text in column for word in text.split(" ")), default=0)


def _longest_piece(column: Row) -> int:
    return min(_longest_word(column), _SHORT)


def _lines(
    row: Row, widths: Sequence[int], right: Sequence[bool], paint: Paint = lambda _column, text: text
) -> list[str]:
    """One row, over as many lines as its longest cell takes."""
    cells = [_wrap(text, width, _indent(text)) for text, width in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    return [
        (" " * GAP)
        .join(
            paint(column, part.rjust(width) if is_right else part.ljust(width))
            for column, (part, width, is_right) in enumerate(
                zip((cell[number] if number < len(cell) else "" for cell in cells), widths, right, strict=True)
            )
        )
        .rstrip()
        for number in range(height)
    ]


def _records(headers: Row, rows: Sequence[Row], columns: int, bold: Bold, paint: Paint) -> str:
    """Each row as lines of its own, where the columns cannot stand side by side."""
    label = max(map(len, headers))
    room = max(columns - label - GAP, 1)
    blocks = []
    for row in rows:
        lines = []
        for column, (header, text) in enumerate(zip(headers, row, strict=True)):
            if not text:
                continue
            first, *more = [paint(column, part) for part in _wrap(text, room)]
            lines += [f"{bold(header.ljust(label))}{' ' * GAP}{first}", *(" " * (label + GAP) + line for line in more)]
        blocks.append("\n".join(line.rstrip() for line in lines))
    return "\n\n".join(blocks)


class _Wrapper(textwrap.TextWrapper):
    """Breaks at spaces; a word that is longer than a line behind its punctuation, where it has some."""

    def _split(self, text: str) -> list[str]:
        return [
            piece
            for chunk in super()._split(text)
            for piece in (_PUNCTUATION.split(chunk) if len(chunk) > self.width else [chunk])
        ]


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    if len(text) <= width:
        return [text.replace(_JOINED, " ")]
    wrapper = _Wrapper(width, subsequent_indent=indent, break_on_hyphens=False, expand_tabs=False)
    return [line.replace(_JOINED, " ") for line in wrapper.wrap(text)] or [""]
