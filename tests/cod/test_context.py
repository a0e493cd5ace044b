"""Reading updates, and the chain of revisions."""

from __future__ import annotations

import pytest

from codctl.cod.context import END, START, ParsedUpdate, Revision, parse_update, revise
from codctl.cod.prompts import update_reply


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (f"{START}\nup K\n{END}", "up K"),
        (f"{START} up K {END}", "up K"),
        (f"I saw two walls.\n{START}\n- a\n\n- b\n{END}\nDone.", "- a\n\n- b"),
        (f"{START}{'x' * 20}{END}", "x" * 20),
        (update_reply("up K", "compact"), "up K"),
        (update_reply("- K moves up.", "full"), "- K moves up."),
    ],
)
def test_well_formed_updates(reply: str, text: str) -> None:
    assert parse_update(reply, 20) == ParsedUpdate(text)


@pytest.mark.parametrize(
    ("reply", "problem", "kind"),
    [
        ("", "expected each hint marker once, found 0 and 0", "no_hints"),
        ("up K", "expected each hint marker once, found 0 and 0", "no_hints"),
        (f"{START}\nup K", "expected each hint marker once, found 1 and 0", "no_hints"),
        (f"up K\n{END}", "expected each hint marker once, found 0 and 1", "no_hints"),
        (f"{START} a {END} {START} b {END}", "expected each hint marker once, found 2 and 2", "several_hints"),
        (f"{START} a {START} b {END}", "expected each hint marker once, found 2 and 1", "several_hints"),
        (f"{END} up K {START}", "the end marker comes before the start marker", "no_hints"),
        (f"{START}\n \t\n{END}", "the hints are empty", "empty_hints"),
        (f"{START}{END}", "the hints are empty", "empty_hints"),
        (f"{START}{'x' * 21}{END}", "the hints have 21 characters, 20 are allowed", "long_hints"),
        (START.lower() + " a " + END, "expected each hint marker once, found 0 and 1", "no_hints"),
    ],
)
def test_malformed_updates(reply: str, problem: str, kind: str) -> None:
    found = parse_update(reply, 20)
    assert (found.text, found.problem, found.kind) == ("", problem, kind)


def test_a_chain_of_revisions_loses_nothing() -> None:
    zero = Revision()
    one = revise(zero, ParsedUpdate("up K"), position=0, tokens=2, on_parse_failure="keep")
    kept = revise(one, ParsedUpdate("", "no marker"), position=1, tokens=0, on_parse_failure="keep")
    wiped = revise(kept, ParsedUpdate("", "no marker"), position=2, tokens=0, on_parse_failure="wipe")
    again = revise(wiped, ParsedUpdate("down Q"), position=3, tokens=2, on_parse_failure="wipe")
    assert (zero.number, zero.parent, zero.text, zero.written_after) == (0, None, "", None)
    assert one == Revision(1, 0, "up K", 2, 0)
    assert kept == Revision(2, 1, "up K", 2, 1, parsed=False, problem="no marker")
    assert wiped == Revision(3, 2, "", 0, 2, parsed=False, problem="no marker")
    assert again == Revision(4, 3, "down Q", 2, 3)
