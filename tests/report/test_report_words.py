"""Word differences are exact, and nothing in them can hide."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codctl.report.story import difference


def _marked(old: str, new: str) -> str:
    marks = {"same": "{}", "ins": "+{}+", "del": "-{}-"}
    return "".join(marks[piece.kind].format(piece.word) + piece.space for piece in difference(old, new)).strip()


@pytest.mark.parametrize(
    ("old", "new", "marked"),
    [
        ("", "up K", "+up K+"),
        ("up K", "", "-up K-"),
        ("up K", "up K", "up K"),
        ("up K left X", "up K down Q left X", "up K +down Q+ left X"),
        ("up K left X", "up K left X right Z", "up K left X +right Z+"),
        ("up K left X", "up Z left X", "up -K- +Z+ left X"),
        ("up  K\nleft X", "up K left X", "up K left X"),
        ("", "", ""),
    ],
)
def test_difference(old: str, new: str, marked: str) -> None:
    assert _marked(old, new) == marked


@given(st.text(max_size=60), st.text(max_size=60))
def test_both_texts_can_be_read_back(old: str, new: str) -> None:
    pieces = difference(old, new)
    kept = [word for p in pieces if p.kind != "del" for word in p.text.split()]
    dropped = [word for p in pieces if p.kind != "ins" for word in p.text.split()]
    assert kept == new.split()
    assert dropped == old.split()
