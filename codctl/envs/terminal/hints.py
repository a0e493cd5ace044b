"""Hints about house rules: how facts are written, and which facts a hint states."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from codctl.envs.base import Rendering
from codctl.envs.terminal import terse
from codctl.envs.terminal.rules import REPLACED, SLOTS, VERBS, Surface
from codctl.envs.wording import is_hedged, is_negated, plain

_ALSO = {
    "send": "sends sending upload uploads uploading download downloads downloading transfer transfers transferring",
    "pack": "packs packing archive archives archiving",
    "unpack": "unpacks unpacking extract extracts extracting",
    "erase": "erases erasing delete deletes deleting remove removes removing",
    "move": "moves moving rename renames renaming",
    "copy": "copies copying",
    "make": "makes making mkdir create creates creating",
    "port": "ports ssh login logins",
    "drop": "drops dropping writable",
    "mode": "modes chmod",
}
_SLOT_OF = {word: slot for slot in SLOTS for word in (slot, *_ALSO[slot].split(), *REPLACED.get(slot, ()))}
_REPLACED = {name for names in REPLACED.values() for name in names}  # "use kip, not scp" says what kip does
_CLAUSE = re.compile(r"[;\n]|\.(?:\s|$)")
_DENIED = re.compile(r"\b(?:not|never|rather than)\s+(\w+)")
_WORD = re.compile(r"\w+")
_PAIR = re.compile(r"\b([a-z]+)=(\w+)")


def hint_from(known: Mapping[str, str], rendering: Rendering) -> str:
    """Known facts (slot → value) as a hint, in the order given."""
    if rendering == "compact":
        return " ".join(f"{slot}={value}" for slot, value in known.items()) or "none"
    if rendering == "terse":
        return terse.hint_from(known.items())
    return "\n".join(_sentence(slot, value) for slot, value in known.items()) or "Nothing is known for certain yet."


def _sentence(slot: str, value: str) -> str:
    if slot in VERBS:
        instead = ", ".join(REPLACED[slot])
        return f"- To {slot}: use `{value} {slot} …` instead of {instead}."
    if slot == "port":
        return f"- The port of the remote machine is {value}."
    return f"- The drop folder is {value}." if slot == "drop" else f"- The mode that chmod takes is {value}."


def claims(hints: str, surface: Surface) -> set[tuple[str, str]]:
    """The (slot, value) pairs that a hint states, as `slot=value` or in free text, in either order.

    In free text only values that exist on this surface are seen. A clause that denies something, or says what may be,
    claims nothing.
    """
    found: set[tuple[str, str]] = set()
    for clause in _CLAUSE.split(plain(hints)):
        clause = _DENIED.sub(lambda denied: " " if denied[1].lower() in _REPLACED else denied[0], clause)
        if not is_negated(clause) and not is_hedged(clause):
            found |= {(slot, value) for slot, value in _PAIR.findall(clause) if slot in SLOTS}
            found |= set(_free(_PAIR.sub(" ", clause), surface))
    return found


def _free(clause: str, surface: Surface) -> Iterator[tuple[str, str]]:
    """Pair each slot with the value next to it among the words that are either."""
    values = {*surface.tools, *surface.ports, *surface.drops, *surface.modes}
    words = [word for word in _WORD.findall(clause.lower()) if word in values or word in _SLOT_OF]
    while len(words) > 1:
        first, second = words[0], words[1]
        value, slot = (first, _SLOT_OF.get(second, "")) if first in values else (second, _SLOT_OF[first])
        if slot and value in surface.of(slot):
            yield slot, value
            words = [word for word in words[2:] if _SLOT_OF.get(word) != slot]
        else:
            words = words[1:]
