"""Tables fit the terminal, and lose nothing by it."""

from __future__ import annotations

import re
import sys

import pytest

from codctl.cli import _output, _table

HEADERS = ["name", "status", "at", "success by position", "alive", "job"]
ROWS = [
    ["tiny", "running", "cod_train 34/100", "0.12 0.30 0.52 0.61", "1:20 ago", "12345"],
    ["a-run-with-a-long-name", "finished", "", "0.12 0.30 0.52 0.61", "", ""],
]
PATHS = [["12 B", "left half-written by a killed process", "/home/someone/projects/runs/.trash/tiny/step-100"]]


def laid_out(headers: list[str], rows: list[list[str]], columns: int | None) -> list[str]:
    return _table.lay_out(headers, rows, [False] * len(headers), columns, lambda text: text).split("\n")


@pytest.mark.parametrize("columns", [36, 60, 80, 140])
@pytest.mark.parametrize(
    ("headers", "rows"), [(HEADERS, ROWS), (["size", "what", "path"], PATHS)], ids=["status", "paths"]
)
def test_a_table_fits_and_loses_no_character(headers: list[str], rows: list[list[str]], columns: int) -> None:
    lines = laid_out(headers, rows, columns)
    assert max(map(len, lines)) <= columns
    shown = sorted("".join("".join(lines).split()))
    whole = sorted("".join("".join(cell for row in [headers, *rows] for cell in row).split()))
    assert shown == whole or columns < 80  # as records, headers repeat and empty cells are left out
    assert not [letter for letter in set(whole) if whole.count(letter) > shown.count(letter)]


def test_cells_break_at_words_and_long_words_behind_punctuation() -> None:
    lines = laid_out(["size", "what", "path"], PATHS, 70)
    assert lines == [
        "size  what                             path",
        "12 B  left half-written by a killed    /home/someone/projects/runs/",
        "      process                          .trash/tiny/step-100",
    ]


def test_widths_are_those_with_the_fewest_lines() -> None:
    lines = laid_out(["size", "what", "path"], PATHS, 76)
    assert lines == [
        "size  what                  path",
        "12 B  left half-written by  /home/someone/projects/runs/.trash/tiny/step-100",
        "      a killed process",
    ]


def test_what_cannot_stand_side_by_side_stands_below_each_other() -> None:
    assert laid_out(HEADERS, ROWS, 45)[:8] == [
        "name                 tiny",
        "status               running",
        "at                   cod_train 34/100",
        "success by position  0.12 0.30 0.52 0.61",
        "alive                1:20 ago",
        "job                  12345",
        "",
        "name                 a-run-with-a-long-name",
    ]


def test_an_indented_cell_goes_on_indented() -> None:
    assert laid_out(["  part", "GiB"], [["  weights, trained", "1"]], 18)[1:] == ["  weights,     1", "  trained"]


def test_intervals_stay_on_one_line() -> None:
    text = "\n".join(laid_out(["arm", "position 1"], [["own hints of this model", "0.50 [0.40\xa00.60]"]], 24))
    assert "[0.40 0.60]" in text
    assert "\xa0" not in text


def test_without_a_terminal_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = ["x" * 200, "two words " * 30]
    assert _output.table(["a", "b"], [row], cut_last=True).splitlines()[1] == "  ".join(row).rstrip()
    assert _output.prose("word " * 100) == "word " * 100


def test_the_terminal_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [[1, "hint " * 20]]
    assert max(map(len, _output.table(["n", "hint"], rows).splitlines())) <= 40
    assert _output.table(["n", "hint"], rows, cut_last=True).splitlines()[1].endswith("…")
    assert len(_output.table(["n", "hint"], rows, cut_last=True).splitlines()) == 2
    assert _output.facts([("run", "word " * 20)]).splitlines()[1].startswith("     word")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR")
    coloured = _output.table(["n", "hint"], rows)
    assert max(len(re.sub(r"\033\[\d+m", "", line)) for line in coloured.splitlines()) <= 40
