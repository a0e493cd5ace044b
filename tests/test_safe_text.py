from __future__ import annotations

import io
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codctl.log import Lines
from codctl.safe_text import visible, visible_line
from codctl.startup import Data, Talk

OBEYED = {"Cc", "Cs", "Zl", "Zp"}
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b\x1b[31m\x7f\tc\nd", "a\\x00b\\x1b[31m\\x7f\tc\nd"),
        ("50 %\rdone", r"50 %\rdone"),
        ("\x9b2J \u200b \ud800 \U000e0041", r"\x9b2J \u200b \ud800 \U000e0041"),
        ("safe\u202eexe.txt\u2066", r"safe\u202eexe.txt\u2066"),
        ("one\u2028two\u2029three", r"one\u2028two\u2029three"),
        ("pass\u200dword", r"pass\u200dword"),
        ("👩\u200d🔬 می\u200cخواهم 东京 ½ −3 → ✓", "👩\u200d🔬 می\u200cخواهم 东京 ½ −3 → ✓"),  # scripts and emoji stay
    ],
)
def test_what_acts_or_hides_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters(), max_size=30))
def test_nothing_is_left_that_acts(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown.replace("\n", "").replace("\t", "")} & OBEYED
    assert not {unicodedata.bidirectional(c) for c in shown} & TURNING
    assert visible(shown) == shown
    assert "\n" not in visible_line(text)
    shown.encode()


@pytest.mark.parametrize("kind", [Data, Talk])
def test_the_streams_show_what_anything_prints(kind: type[Data | Talk]) -> None:
    there = io.BytesIO()
    stream = kind(there, encoding="utf-8", errors="codctl.plain")
    print("a library's \x1b[2J\ud800", file=stream, flush=True)
    stream.write_own("\x1b[1mours\x1b[0m")
    stream.flush()
    assert there.getvalue() == b"a library's \\x1b[2J\\ud800\n\x1b[1mours\x1b[0m"


def test_a_message_cannot_pass_for_a_line_of_the_log() -> None:
    said = "reply: \x1b]0;title\x07\n2026-11-27 18:04:00,000 INFO    finished"
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.LogRecord("codctl", logging.INFO, "", 0, said, (), sys.exc_info())
    first, forged, *trace = Lines().format(record).split("\n")
    assert first.endswith(r"INFO    reply: \x1b]0;title\x07")
    assert forged.startswith("  2026-11-27")
    assert trace[-1] == r"  ValueError: \x1b[2J"
