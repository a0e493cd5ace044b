"""Command lines: what is read, and what is refused whole."""

from __future__ import annotations

import pytest

from codctl.envs.terminal.filesystem import Refused
from codctl.envs.terminal.parsing import MAX_LINE, parse_line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ls", [["ls"]]),
        ("  ls \t -l  ", [["ls", "-l"]]),
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("a ''", [["a", ""]]),
        ("a b'c'\"d\"e", [["a", "bcde"]]),
        ("a '*' \"|\" '$x' \\*", [["a", "*", "|", "$x", "*"]]),
        ('a "b\\"c" "d\\e"', [["a", 'b"c', "d\\e"]]),
        ("a;b", [["a"], ["b"]]),
        ("a && b ; c;", [["a"], ["b"], ["c"]]),
        ("cat ~/x '~/x'", [["cat", "~/x", "./~/x"]]),
        ("touch é漢💥", [["touch", "é漢💥"]]),
        ("a # b", [["a", "#", "b"]]),
    ],
)
def test_words(line: str, words: list[list[str]]) -> None:
    assert [command.words for command in parse_line(line, escapes=True)] == words


def test_which_commands_need_success() -> None:
    assert [c.needs_success for c in parse_line("a && b; c && d", escapes=True)] == [False, True, False, True]


def test_backslashes_separate_folders_on_windows() -> None:
    assert parse_line('cd "C:\\My docs\\" x\\y', escapes=False)[0].words == ["cd", "C:\\My docs\\", "x\\y"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a | b", "pipes are not available"),
        ("a || b", "pipes are not available"),
        ("a > b", "redirects are not available"),
        ("a < b", "redirects are not available"),
        ("a &", "background commands are not available"),
        ("a & b", "background commands are not available"),
        ("a `b`", "substitutions are not available"),
        ('a "`b`"', "substitutions are not available"),
        ("a $(b)", "variables and substitutions are not available"),
        ('a "$HOME"', "variables and substitutions are not available"),
        ("rm *.txt", "wildcards are not available, name the files"),
        ("rm a?", "wildcards are not available, name the files"),
        ("rm [ab]", "wildcards are not available, name the files"),
        ("(a)", "groups are not available"),
        ("a 'b", "a quote is not closed"),
        ('a "b', "a quote is not closed"),
        ("a \\", "a backslash ends the line"),
        ("&& a", "a command is missing before && or ;"),
        ("a ;; b", "a command is missing before && or ;"),
        ("a &&", "a command is missing at the end of the line"),
        ("", "a command is missing at the end of the line"),
        ("a\nb", "one line at a time, without control characters"),
        ("a\x00", "one line at a time, without control characters"),
        ("a" * (MAX_LINE + 1), f"the line is longer than {MAX_LINE} characters"),
    ],
)
def test_refused(line: str, message: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_line(line, escapes=True)
    assert str(caught.value) == message
