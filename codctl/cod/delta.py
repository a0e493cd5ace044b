"""Updates by edits: hints are numbered items, and an update adds, changes and removes some. Nothing else is touched.

A model that rewrites its hints each time may lose one by the way. Here what it does not name stays to the letter.

In `full` and `terse` an item is a line, and so is an edit:

    add: TEXT
    change NUMBER: TEXT
    remove NUMBER
    nothing to change

In `compact` an item is one word that is no number, and edits are as short as can be: `TEXT` adds it, `NUMBER TEXT`
changes an item, `-NUMBER` removes one, and `same` changes nothing. Numbers are those of the items as they were shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from codctl.cod.context import ParsedUpdate, between_markers, checked
from codctl.envs.base import Rendering
from codctl.outcomes import UpdateProblem

NOTHING, NOTHING_COMPACT = "nothing to change", "same"

_EDIT = re.compile(
    r"(?:[-*] )?(?:add: *(?P<added>\S.*)|change (?P<changed>[0-9]+): *(?P<text>\S.*)|remove (?P<removed>[0-9]+))",
    re.IGNORECASE,
)
_NOTHING = re.compile(rf"(?:[-*] )?{NOTHING}\.?", re.IGNORECASE)
_NUMBER, _REMOVAL = re.compile(r"[0-9]+"), re.compile(r"-([0-9]+)")
_MOST_DIGITS = 9
_SUBJECT_ENDS = re.compile(r"[=:|]")


@dataclass(frozen=True)
class Edit:
    """One change of one item.

    Attributes:
        kind: What is done.
        text: The new item; empty where one is removed.
        number: Of the item that is changed or removed, from 1; 0 where one is added.
    """

    kind: Literal["add", "change", "remove"]
    text: str = ""
    number: int = 0


class EditError(ValueError):
    """Edits that cannot be read or applied."""

    def __init__(self, kind: UpdateProblem, problem: str) -> None:
        super().__init__(problem)
        self.kind: UpdateProblem = kind


def items_of(hints: str, rendering: Rendering) -> tuple[str, ...]:
    """The items of a text: its words in `compact`, otherwise its lines."""
    if rendering == "compact":
        return tuple(hints.split())
    return tuple(line.rstrip() for line in hints.split("\n") if line.strip())


def text_of(items: Sequence[str], rendering: Rendering) -> str:
    """Items as one text, which is what the next task reads."""
    return (" " if rendering == "compact" else "\n").join(items)


def numbered(hints: str, rendering: Rendering) -> str:
    """Hints as an update reads them: each item with its number; empty where there are none."""
    mark, items = "" if rendering == "compact" else ".", items_of(hints, rendering)
    return text_of([f"{number}{mark} {item}" for number, item in enumerate(items, 1)], rendering)


def parse_delta(reply: str, hints: str, max_chars: int, rendering: Rendering) -> ParsedUpdate:
    """Read the edits between the two marker lines and apply them to the hints. One that is wrong makes all fail.

    Args:
        reply: What the model wrote.
        hints: What it was to edit.
        max_chars: Most characters of the new hints.
        rendering: Of its prompt.
    """
    found = between_markers(reply)
    if found.problem:
        return found
    try:
        edits = parse_edits(found.text, rendering)
        text = text_of(edited(items_of(hints, rendering), edits), rendering) if edits else hints
    except EditError as error:
        return ParsedUpdate("", str(error), error.kind)
    return replace(checked(text, max_chars), edits=written(edits, rendering), is_unchanged=not edits)


def parse_edits(text: str, rendering: Rendering) -> tuple[Edit, ...]:
    """What an update says between its marker lines; no edits where it says that nothing has to change.

    Raises:
        EditError: Something in it is no edit.
    """
    if rendering == "compact":
        words = text.split()
        return () if words == [NOTHING_COMPACT] else tuple(_edits_of_words(words))
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return () if len(lines) == 1 and _NOTHING.fullmatch(lines[0]) else tuple(map(_edit_of_line, lines))


def _edit_of_line(line: str) -> Edit:
    found = _EDIT.fullmatch(line)
    if not found:
        raise EditError("unreadable_edit", f"this is no edit: {line[:60]!r}")
    if found["added"]:
        return Edit("add", found["added"])
    if found["changed"]:
        return Edit("change", found["text"], _number(found["changed"]))
    return Edit("remove", number=_number(found["removed"]))


def _edits_of_words(words: Sequence[str]) -> Iterator[Edit]:
    rest = iter(words)
    for word in rest:
        if removal := _REMOVAL.fullmatch(word):
            yield Edit("remove", number=_number(removal[1]))
        elif _NUMBER.fullmatch(word):
            text = next(rest, "")
            if not is_word(text):
                raise EditError("unreadable_edit", f"no item follows the number {word[:20]}")
            yield Edit("change", text, _number(word))
        elif is_word(word):
            yield Edit("add", word)
        else:
            raise EditError("unreadable_edit", f"{word!r} stands beside edits")


def is_word(text: str) -> bool:
    """Whether a text can be an item in `compact`: one word that cannot be taken for another part of an edit."""
    return text.split() == [text] and text != NOTHING_COMPACT and not re.fullmatch(r"-?[0-9]+", text)


def _number(digits: str) -> int:
    """As a number; a very long one, of which there is no item, as one of which there is none either."""
    return int(digits[: _MOST_DIGITS + 1])


def edited(items: Sequence[str], edits: Sequence[Edit]) -> tuple[str, ...]:
    """The items after these edits: removed ones are gone, changed ones keep their place, added ones come last.

    What is written and stands there already is not repeated.

    Raises:
        EditError: A number has no item or occurs twice, or the same item is written twice.
    """
    numbers = Counter(edit.number for edit in edits if edit.kind != "add")
    for number, times in numbers.items():
        if not 1 <= number <= len(items):
            raise EditError("unknown_hint", f"there is no hint {number}, there are {len(items)}")
        if times > 1:
            raise EditError("doubled_edit", f"hint {number} is edited {times} times")
    for text, times in Counter(edit.text for edit in edits if edit.text).items():
        if times > 1:
            raise EditError("doubled_edit", f"this is written {times} times: {text[:60]!r}")
    named = {edit.number: edit.text for edit in edits if edit.kind != "add"}
    untouched = {item.strip() for number, item in enumerate(items, 1) if number not in named}
    new = {number: text for number, text in named.items() if text not in untouched}
    kept = [new.get(number, "") if number in named else item for number, item in enumerate(items, 1)]
    added = [edit.text for edit in edits if edit.kind == "add" and edit.text not in untouched]
    return tuple(item for item in (*kept, *added) if item)


def difference(before: Sequence[str], after: Sequence[str]) -> tuple[Edit, ...]:
    """The edits that make one list of items of another, whose order does not count.

    Items that are equal stay. An item that is gone is changed where a new one has the same subject (what stands before
    `=`, `:` or `|`, or before the last word), and removed where none has.
    """
    new = [item for item in dict.fromkeys(after) if item not in before]
    edits = []
    for number, item in enumerate(before, 1):
        if item not in after:
            subject = _subject(item)
            match = next((text for text in new if subject and _subject(text) == subject), None)
            edits.append(Edit("change", match, number) if match else Edit("remove", number=number))
            new = [text for text in new if text != match]
    return (*edits, *(Edit("add", text) for text in new))


def _subject(item: str) -> str:
    found = _SUBJECT_ENDS.search(item)
    return (item[: found.start()] if found else item.rpartition(" ")[0]).strip()


def written(edits: Sequence[Edit], rendering: Rendering) -> str:
    """Edits as an update writes them.

    Raises:
        ValueError: A text of them cannot be an item in `compact`.
    """
    is_compact = rendering == "compact"
    if not edits:
        return NOTHING_COMPACT if is_compact else NOTHING
    return text_of([_as_words(edit) if is_compact else _as_line(edit) for edit in edits], rendering)


def _as_words(edit: Edit) -> str:
    if edit.text and not is_word(edit.text):
        raise ValueError(f"{edit.text!r} cannot be an item of compact hints (`Family.items`)")
    return {"add": edit.text, "change": f"{edit.number} {edit.text}", "remove": f"-{edit.number}"}[edit.kind]


def _as_line(edit: Edit) -> str:
    number = f" {edit.number}" if edit.number else ""
    return f"{edit.kind}{number}" + (f": {edit.text}" if edit.text else "")
