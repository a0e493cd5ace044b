"""Personal details are masked wherever they stand, counted, and nothing else is changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.sessions.mask import Mask
from codctl.sessions.session import Call, Message, Session, Tokens

from .conftest import sample


@pytest.mark.parametrize(
    ("text", "masked", "kinds"),
    [
        ("see /home/jane/work/log.txt", "see /home/user/work/log.txt", {"home": 1}),
        ("jane owns /Users/jane", "user owns /Users/user", {"home": 1, "user": 1}),
        (r"C:\Users\Jane Doe", r"C:\Users\user Doe", {"home": 1}),
        ("projects/-home-jane-work/memory", "projects/-home-user-work/memory", {"home": 1}),
        ("/home/jane, /home/jane and janet", "/home/user, /home/user and janet", {"home": 2}),
        ("mail jane.doe+x@example.co.uk now", "mail [email] now", {"email": 1}),
        ("key sk-ant-api03-abcdefghijklmnop", "key [key]", {"key": 1}),
        ("ghp_abcdefghijklmnop1234 hf_abcdefghijklmnop", "[key] [key]", {"key": 2}),
        ("AKIAIOSFODNN7EXAMPLE", "[key]", {"key": 1}),
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer [key]", {"key": 1}),
        ("export OPENAI_API_KEY=abc123def", "export OPENAI_API_KEY=[key]", {"key": 1}),
        ('{"password": "hunter22"}', '{"password": "[key]"}', {"key": 1}),
        (r"{\"token\": \"hunter22\"}", r"{\"token\": \"[key]\"}", {"key": 1}),
        ("https://jane:secret1@host.org/x", "https://[key]@host.org/x", {"key": 1}),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "[key]", {"key": 1}),
        ("-----BEGIN PRIVATE KEY-----\nabc", "[key]", {"key": 1}),  # cut off
        ("from 192.168.1.17:22 and 2001:db8::1", "from [ip]:22 and [ip]", {"ip": 2}),
        ("at 127.0.0.1, ::1 and 0.0.0.0", "at 127.0.0.1, ::1 and 0.0.0.0", {}),
        ("version 1.2.3.4.5, 12:30:45, a::b and C::D", "version 1.2.3.4.5, 12:30:45, a::b and C::D", {}),
        ("2,048 tokens; max_tokens=4096; token by token", "2,048 tokens; max_tokens=4096; token by token", {}),
        ("/home/user/x and /root/x and ~/x", "/home/user/x and /root/x and ~/x", {}),
        ('{"eos_token": "endoftext", "token": "<|im_end|>"}', '{"eos_token": "endoftext", "token": "<|im_end|>"}', {}),
        ("HF_TOKEN=abcdefgh", "HF_TOKEN=[key]", {"key": 1}),
        ("f(token: str, password: int)", "f(token: str, password: int)", {}),
    ],
)
def test_what_is_masked_and_what_is_not(text: str, masked: str, kinds: dict[str, int]) -> None:
    mask = Mask()
    assert mask.text(text) == masked
    assert dict(mask.counts) == kinds
    assert mask.text(masked) == masked


def test_words_that_a_person_names_are_masked_in_any_case() -> None:
    mask = Mask(["Acme"])
    assert mask.text("ACME's acme, acmes") == "[word]'s [word], acmes"
    assert mask.counts["word"] == 2


def test_names_found_anywhere_are_masked_everywhere() -> None:
    session = Session(
        "1",
        "test",
        messages=(
            Message("user", "I am jane", calls=()),
            Message("assistant", "", (Call("c", "write", {"path": "/home/jane/a", "list": [{"jane": "x jane"}]}),)),
            Message("assistant", "r", reasoning="jane thinks", written="jane wrote"),
        ),
        tools=({"function": {"description": "for jane"}},),
        problem="jane",
        notes=("by jane",),
    )
    found = str(Mask().session(session))
    assert "jane" not in found
    assert "/home/user/a" in found


def test_tokens_that_stand_for_masked_text_are_dropped_and_those_before_it_are_kept() -> None:
    tokens = Tokens((1,), (2,), (0.0,))
    clean, personal = Message("assistant", "yes", tokens=tokens), Message("tool", "/home/jane")
    session = Session("1", "test", messages=(clean, personal, clean))
    found = Mask().session(session)
    assert [m.tokens for m in found.messages] == [tokens, None, None]
    assert Mask().session(replace(session, messages=(clean,))).messages == (clean,)


def test_a_real_session_keeps_its_form() -> None:
    session, mask = sample("claude-code"), Mask()
    found = mask.session(session)
    assert mask.counts == {"email": 1, "home": 1}
    assert found.replies[-1].text.endswith("Mail me at [email]; the log is in /home/user/work/log.txt.")
    assert found.messages[:-1] == session.messages[:-1]


_TEXTS = st.lists(
    st.sampled_from(
        [
            "/home/",
            "jane",
            "@",
            ".org",
            " ",
            "10.0.0.1",
            "::",
            "token=",
            "sk-",
            "a" * 20,
            "\n",
            '"',
            "\\",
            "Bearer ",
            ":",
        ]
    ),
    max_size=12,
).map("".join)


@settings(max_examples=60, deadline=None)
@given(_TEXTS)
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = Mask().text(text)
    assert Mask().text(once) == once
