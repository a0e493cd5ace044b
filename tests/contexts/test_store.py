"""A context keeps every revision, whatever happens while it is written."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from codctl.contexts import store
from codctl.contexts.store import Context, Origin, find_context, list_contexts
from codctl.errors import RefusedError, UsageError
from codctl.files.lock import RunLock
from tests.contexts.crashing import crashes


@pytest.fixture
def lake(tmp_path: Path) -> Context:
    context = Context(tmp_path / "lake")
    context.create()
    return context


def written(context: Context, text: str, *, problem: str = "") -> int:
    origin = Origin("update", "tiny", "task 3", 0.5) if problem else Origin("edit")
    return context.append(context.head().revision, text, origin, problem=problem).number


def test_it_begins_empty(lake: Context) -> None:
    head = lake.head()
    assert (head.number, head.text, head.revision.parent, head.origin.source) == (0, "", None, "start")
    lake.create()
    assert lake.numbers() == [0]


def test_a_revision_says_where_it_comes_from(lake: Context) -> None:
    written(lake, "one")
    origin = Origin("update", "tiny", "task 3", 0.5, "add: two", "2026-11-28T13:00:00+00:00")
    number = lake.append(lake.head().revision, "one\ntwo", origin, tokens=9).number
    found = lake.get(number)
    assert found.origin == origin
    assert (found.revision.parent, found.revision.tokens, found.revision.written_after) == (1, 9, 0)
    assert lake.head() == found


def test_a_failed_update_keeps_the_text_and_is_kept_itself(lake: Context) -> None:
    written(lake, "one")
    written(lake, "one", problem="the hints are empty")
    head = lake.head()
    assert (head.number, head.text, head.revision.parsed, head.revision.problem) == (
        2,
        "one",
        False,
        "the hints are empty",
    )
    written(lake, "one", problem="again")
    assert lake.head().revision.written_after == 1


def test_going_back_deletes_nothing(lake: Context) -> None:
    for text in ("one", "two", "three"):
        written(lake, text)
    lake.roll_back(1)
    assert lake.head().text == "one"
    assert written(lake, "four") == 4
    assert lake.head().revision.parent == 1
    assert [stored.text for stored in lake.all()] == ["", "one", "two", "three", "four"]
    with pytest.raises(UsageError, match="no revision 9; its last is 4"):
        lake.roll_back(9)


def test_what_was_made_from_another_revision_is_kept_but_not_put_in_force(lake: Context) -> None:
    before = lake.head().revision
    written(lake, "by hand")
    late = lake.append(before, "by a slow model", Origin("update"))
    assert lake.head().text == "by hand"
    assert lake.get(late.number).text == "by a slow model"


@pytest.mark.parametrize(
    ("text", "stored"),
    [("one\r\ntwo\r", "one\ntwo"), ("  \n one \n", "one"), ("half \ud800", "half ?"), ("", "")],
)
def test_texts_are_stored_in_one_form(lake: Context, text: str, stored: str) -> None:
    written(lake, text)
    assert lake.head().text == stored


def test_a_crash_anywhere_leaves_what_was_there(lake: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    written(lake, "one")
    parent = lake.head().revision
    seen = 0
    for seen in crashes(monkeypatch, lambda: lake.append(parent, "two", Origin("edit"))):  # noqa: B007
        assert lake.head().text in ("one", "two")
        assert {stored.text for stored in lake.all()} <= {"", "one", "two"}
        lake.roll_back(1)
    assert seen > 8
    assert lake.head().text == "two"
    assert not list(lake.folder.rglob(".*"))


def test_a_crash_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(tmp_path / "contexts" / "lake")
    for _ in crashes(monkeypatch, context.create):
        assert not context.exists or context.head().text == ""
    assert context.head().text == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"text": "poison"}, "not the one that was written"),
        ({"number": 5}, "no revision 1"),
        ({"parsed": "yes"}, "parsed"),
        ({"source": "anybody"}, "source"),
    ],
)
def test_a_revision_that_was_changed_is_refused(lake: Context, change: dict[str, object], problem: str) -> None:
    written(lake, "one")
    path = lake.folder / "revisions" / "000001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UsageError, match=problem) as caught:
        lake.head()
    assert caught.value.where == str(path)


@pytest.mark.parametrize("content", ["", "seven", "7 8", "-1", "99"])
def test_a_damaged_head_is_said(lake: Context, content: str) -> None:
    written(lake, "one")
    (lake.folder / "HEAD").write_text(content)
    with pytest.raises(UsageError):
        lake.head()
    lake.roll_back(1)
    assert lake.head().text == "one"


def test_a_link_in_place_of_a_revision_is_not_read(lake: Context, tmp_path: Path) -> None:
    written(lake, "one")
    path = lake.folder / "revisions" / "000001.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(UsageError, match="link"):
        lake.head()


def _append_some(folder: Path, word: str) -> None:
    context = Context(folder)
    for number in range(10):
        context.append(context.head().revision, f"{word} {number}", Origin("edit"), in_force=True)


def test_two_processes_lose_nothing(lake: Context) -> None:
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_append_some, args=(lake.folder, word)) for word in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    texts = [stored.text for stored in lake.all()]
    assert sorted(texts) == sorted(["", *(f"{word} {number}" for word in ("one", "two") for number in range(10))])


def test_a_context_in_use_is_waited_for_and_then_refused(lake: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PATIENCE_S", 0.05)
    with RunLock(lake.folder / "lock"), pytest.raises(RefusedError, match="another process writes to context lake"):
        written(lake, "one")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ü", "../lake"])
def test_names_that_a_block_could_not_carry(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a context"):
        find_context(tmp_path, name)


def test_contexts_are_found_by_name(lake: Context) -> None:
    folder = lake.folder.parent
    (folder / "no-context").mkdir()
    assert [context.name for context in list_contexts(folder)] == ["lake"]
    assert find_context(folder, "lake").head().text == ""
    with pytest.raises(UsageError, match="did you mean 'lake'"):
        find_context(folder, "lke")
    with pytest.raises(UsageError, match="no other in"):
        find_context(folder / "nowhere", "lake")
