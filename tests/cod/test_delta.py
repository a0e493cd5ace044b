import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.cod.context import END, START
from codctl.cod.delta import (
    Edit,
    EditError,
    difference,
    edited,
    is_word,
    items_of,
    numbered,
    parse_delta,
    parse_edits,
    text_of,
    written,
)
from codctl.envs.base import Rendering

LINES = "K moves left.\nQ moves up.\nZ is not tried yet."
RENDERINGS: tuple[Rendering, ...] = ("full", "terse", "compact")


def reply(edits: str) -> str:
    return f"I learned something.\n{START}\n{edits}\n{END}"


def test_what_no_edit_names_stays_to_the_letter() -> None:
    found = parse_delta(
        reply("change 2: Q moves down.\nadd: X moves right.\n\nremove 3"), f"  odd\tline {LINES}", 400, "full"
    )
    assert found.text == "  odd\tline K moves left.\nQ moves down.\nX moves right."
    assert (found.edits, found.outcome) == ("change 2: Q moves down.\nadd: X moves right.\nremove 3", "written")


def test_compact_edits_are_words() -> None:
    found = parse_delta(reply("2 up=X -1 down=Z"), "left=K up=Q", 400, "compact")
    assert (found.text, found.edits) == ("up=X down=Z", "2 up=X -1 down=Z")
    assert numbered("left=K up=Q", "compact") == "1 left=K 2 up=Q"


@pytest.mark.parametrize(
    ("said", "hints", "rendering"),
    [("Nothing to change.", LINES, "full"), ("- nothing to change", "", "terse"), ("same", "up=Q", "compact")],
)
def test_nothing_to_change(said: str, hints: str, rendering: Rendering) -> None:
    found = parse_delta(reply(said), hints, 400, rendering)
    assert (found.text, found.problem, found.outcome) == (hints, "", "unchanged")


def test_models_may_write_edits_as_a_list_and_in_capitals() -> None:
    assert parse_edits("- Add: a\n* REMOVE 1\n  Change 2:b  ", "full") == (
        Edit("add", "a"),
        Edit("remove", number=1),
        Edit("change", "b", 2),
    )


@pytest.mark.parametrize(
    ("said", "hints"),
    [
        ("add: Q moves up.\nadd: X moves right.", f"{LINES}\nX moves right."),
        ("change 1: Q moves up.", "Q moves up.\nZ is not tried yet."),
        ("change 2: Q moves up.", LINES),
        ("remove 2\nadd: Q moves up.", "K moves left.\nZ is not tried yet.\nQ moves up."),
    ],
)
def test_what_stands_there_already_is_not_repeated(said: str, hints: str) -> None:
    found = parse_delta(reply(said), LINES, 400, "full")
    assert (found.text, found.outcome) == (hints, "written")


def test_all_hints_may_be_removed() -> None:
    found = parse_delta(reply("-1 -2"), "left=K up=Q", 400, "compact")
    assert (found.text, found.problem) == ("", "")


FAILURES: list[tuple[Rendering, str, str, str]] = [
    ("full", "K moves left.", "unreadable_edit", "this is no edit: 'K moves left.'"),
    ("full", "add:", "unreadable_edit", "this is no edit: 'add:'"),
    ("full", "change 1:", "unreadable_edit", "this is no edit: 'change 1:'"),
    ("full", "change: up", "unreadable_edit", "this is no edit: 'change: up'"),
    ("full", "remove 1: wrong", "unreadable_edit", "this is no edit: 'remove 1: wrong'"),
    ("full", "remove one", "unreadable_edit", "this is no edit: 'remove one'"),
    ("full", "remove ١", "unreadable_edit", "this is no edit: 'remove ١'"),
    ("full", "nothing to change\nadd: a", "unreadable_edit", "this is no edit: 'nothing to change'"),
    ("full", "add: a\nremove 4", "unknown_hint", "there is no hint 4, there are 3"),
    ("full", "change 0: a", "unknown_hint", "there is no hint 0, there are 3"),
    ("full", f"remove {'9' * 5000}", "unknown_hint", "there is no hint 9999999999, there are 3"),
    ("full", "remove 1\nchange 1: a", "doubled_edit", "hint 1 is edited 2 times"),
    ("full", "add: a\nadd: a", "doubled_edit", "this is written 2 times: 'a'"),
    ("full", "add: a\nchange 1: a", "doubled_edit", "this is written 2 times: 'a'"),
    ("full", f"add: {'a' * 400}", "long_hints", "the hints have 446 characters, 400 are allowed"),
    ("full", "", "empty_hints", "the hints are empty"),
    ("full", START, "several_hints", "expected each hint marker once, found 2 and 1"),
    ("compact", "1", "unreadable_edit", "no item follows the number 1"),
    ("compact", "1 -2", "unreadable_edit", "no item follows the number 1"),
    ("compact", "up=K same", "unreadable_edit", "'same' stands beside edits"),
    ("compact", "1 same", "unreadable_edit", "no item follows the number 1"),
    ("compact", "-7", "unknown_hint", "there is no hint 7, there are 3"),
]


@pytest.mark.parametrize(("rendering", "said", "kind", "problem"), FAILURES)
def test_one_bad_edit_makes_all_fail(rendering: Rendering, said: str, kind: str, problem: str) -> None:
    hints = "a b c" if rendering == "compact" else LINES
    found = parse_delta(reply(said), hints, 400, rendering)
    assert (found.text, found.kind, found.problem) == ("", kind, problem)


LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12).map(str.strip)
WORD = st.text("abz=-0129", min_size=1, max_size=4).filter(is_word)


@given(st.data(), st.sampled_from(RENDERINGS))
@settings(max_examples=60, deadline=None)
def test_the_difference_of_two_lists_leads_from_one_to_the_other(data: st.DataObject, rendering: Rendering) -> None:
    item = WORD if rendering == "compact" else LINE.filter(bool)
    lists = st.lists(item, unique=True, max_size=6)
    before, after = data.draw(lists), data.draw(lists)
    edits = difference(before, after)
    assert sorted(edited(before, edits)) == sorted(after)
    assert parse_edits(written(edits, rendering), rendering) == edits
    assert items_of(text_of(before, rendering), rendering) == tuple(before)
    stays = [item for item in before if item in after]
    assert [item for item in edited(before, edits) if item in stays] == stays


def test_an_item_about_the_same_thing_is_changed_others_come_and_go() -> None:
    before = ("left=K", "up=Q")
    assert written(difference(before, ("down=Z", "left=X")), "compact") == "1 left=X -2 down=Z"
    assert written(difference(LINES.split("\n"), ("Q moves down.", "K moves left.")), "full") == (
        "change 2: Q moves down.\nremove 3"
    )


def test_an_edit_that_fails_says_why() -> None:
    with pytest.raises(EditError, match="there is no hint 1, there are 0"):
        edited((), (Edit("remove", number=1),))
