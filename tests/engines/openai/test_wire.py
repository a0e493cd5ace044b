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
        ({"error": {"message": None, "detail": "two\nlines\x1b[31m \ud800"}}, r"two lines\x1b[31m \ud800"),
        ({"error": "x" * 1000}, "x" * 299 + "…"),
        ({}, "{}"),
    ],
)
def test_what_an_error_says(body: Any, complaint: str) -> None:
    assert complaint_of(json.dumps(body).encode()) == (complaint, 0)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"message": "x", "code": 429}}, 429),
        ({"error": {"message": "x", "code": "rate_limit", "status": "503"}}, 503),
        ({"object": "error", "message": "x", "code": 400}, 400),
        ({"error": {"code": 17}}, 0),
        ({"status_code": 502, "detail": "x"}, 502),
        ([], 0),
    ],
)
def test_the_status_that_an_error_names(body: Any, code: int) -> None:
    assert complaint_of(json.dumps(body).encode())[1] == code


@pytest.mark.parametrize("body", [b"[" * 200, b"\xff\xfe", b""])
def test_an_error_that_is_no_json_is_its_text(body: bytes) -> None:
    assert complaint_of(body) == (body.decode(errors="replace"), 0)


@given(BODIES)
def test_any_body_is_read_or_refused_in_one_line(body: bytes) -> None:
    said = [complaint_of(body)[0]]
    for read in (read_completion, read_models):
        try:
            read(body)
        except NotTheFormatError as error:
            said += [str(error), error.complaint]
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
    assert tokens({"prompt_tokens": -3, "completion_tokens": 0}) is None
    assert tokens("many") is None
