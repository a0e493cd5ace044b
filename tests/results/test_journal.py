"""The journal keeps whole lines whatever happens, and tells what must be played again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.errors import RefusedError, StageError
from codctl.results.journal import FileJournal, Record, Unit
from tests.results import made

ONE, TWO = Unit("p/x", "own", 0, 1), Unit("p/x", "none", 0, 1)


def record(unit: Unit = ONE, *, success: float | None = 1.0, again: bool = False) -> Record:
    return Record(unit, "lake/1", (made.row(success=success),), ("é \ud800", ""), None, again)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_what_was_appended_is_there_in_the_next_session(path: Path) -> None:
    with FileJournal(path, "d") as journal:
        journal.append(record())
        journal.append(record(TWO))
        journal.end_session({"seconds": 1.5, "usage": {}})
        assert journal.get(ONE) == record()
    with FileJournal(path, "d") as journal:
        assert journal.get(ONE) == record()
        assert journal.is_done(TWO)
        assert not journal.is_done(Unit("p/x", "own", 1, 1))
        assert journal.sessions == [{"seconds": 1.5, "usage": {}}]


def test_a_later_record_replaces_a_failed_one(path: Path) -> None:
    with FileJournal(path, "d") as journal:
        journal.append(record(again=True, success=None))
        assert not journal.is_done(ONE)
        assert journal.to_play_again == 1
        journal.append(record())
    with FileJournal(path, "d") as journal:
        assert journal.is_done(ONE)
        assert journal.to_play_again == 0
        assert journal.get(ONE) == record()


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(min_value=0, max_value=2_000))
def test_torn_anywhere_it_loses_at_most_what_was_being_written(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
    units = [Unit("p/x", "own", 0, number) for number in range(8)]
    with FileJournal(path, "d") as journal:
        for unit in units:
            journal.append(record(unit))
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    lines = whole[:cut].count(b"\n")
    with FileJournal(path, "d") as journal:
        assert [journal.is_done(unit) for unit in units] == [number < lines - 1 for number in range(8)]
        for unit in units:
            if not journal.is_done(unit):
                journal.append(record(unit))
    assert path.read_bytes() == whole


def test_a_journal_of_something_else_is_refused(path: Path) -> None:
    FileJournal(path, "d").__exit__(None, None, None)
    with pytest.raises(RefusedError, match="another model or suite"):
        FileJournal(path, "e")


def test_a_damaged_line_is_named(path: Path) -> None:
    with FileJournal(path, "d") as journal:
        journal.append(record())
        journal.append(record(TWO))
    path.write_bytes(path.read_bytes().replace(b'"own"', b'"own', 1))
    with pytest.raises(StageError) as caught:
        FileJournal(path, "d")
    assert caught.value.message.startswith("line 2 is damaged")
    assert caught.value.hint == "--fresh starts over"
