"""Bodies as servers write them, and as no server should."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codctl.engines.openai.wire import NotTheFormatError, complaint_of, read_completion, read_models

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
KEYS = st.sampled_from(["choices", "message", "content", "usage", "prompt_tokens", "error", "detail", "data", "id"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
BODIES = st.binary() | JSON.map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"error": {"message": "no such model", "type": "x"}}, "no such model"),
        ({"error": "no such model"}, "no such model"),
        ({"message": "no such model", "object": "error"}, "no such model"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "extra"}]}, '[{"loc": ["body", "seed"], "msg": "extra"}]'),
        ({"error": {"message": None, "detail": "two\nlines\x1b[31m \ud800"}}, "two lines[31m "),
        ({}, "{}"),
    ],
)
def test_what_an_error_says(body: Any, complaint: str) -> None:
    assert complaint_of(json.dumps(body).encode()) == complaint


@pytest.mark.parametrize("body", [b"[" * 10_000, b"\xff\xfe", b""])
def test_an_error_that_is_no_json_is_its_text(body: bytes) -> None:
    assert complaint_of(body) == body.decode(errors="replace")


@given(BODIES)
def test_any_body_is_read_or_refused_in_one_line(body: bytes) -> None:
    said = [complaint_of(body)]
    for read in (read_completion, read_models):
        try:
            read(body)
        except NotTheFormatError as error:
            said.append(str(error))
    assert all(map(str.isprintable, said))


def test_names_of_models() -> None:
    assert read_models(b'{"object": "list", "data": [{"id": "a", "created": 1}, {"id": "b"}]}') == ["a", "b"]


def test_tokens_are_counted_only_where_both_are_given() -> None:
    def tokens(usage: Any) -> tuple[int, int] | None:
        body = {"choices": [{"message": {"content": "x"}}], "usage": usage}
        return read_completion(json.dumps(body).encode()).tokens

    assert tokens({"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}) == (3, 0)
    assert tokens({"prompt_tokens": 3}) is None
    assert tokens(None) is None
    with pytest.raises(NotTheFormatError, match=r"usage\.prompt_tokens"):
        tokens({"prompt_tokens": -3, "completion_tokens": 0})
