"""A context and the memory of an agent program: out, in, and back again."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.contexts.block import Block
from codctl.contexts.exporters.base import MemoryPlaces
from codctl.contexts.exports import Place, read_exports
from codctl.contexts.store import Context, Origin
from codctl.errors import RefusedError, UsageError
from tests.contexts.crashing import crashes

MEMORY = ".hermes/memories/MEMORY.md"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    context = Context(tmp_path / "contexts" / "lake")
    context.create()
    context.append(context.head().revision, "K moves left.\nQ moves down.", Origin("edit"))
    places = MemoryPlaces(tmp_path / "home", tmp_path / "work")
    places.home.mkdir()
    places.work.mkdir()
    return Place(context, "hermes", places)


def memory(place: Place) -> Path:
    return place.places.home / MEMORY


def test_a_file_that_codctl_made_goes_again_with_its_folders(place: Place) -> None:
    place.export()
    place.export()
    assert [export.existed for export in read_exports(place.context)] == [False]
    assert place.unexport()
    assert not list(place.places.home.iterdir())
    assert read_exports(place.context) == []
    assert not place.unexport()


def test_an_empty_file_that_was_there_stays(place: Place) -> None:
    memory(place).parent.mkdir(parents=True)
    memory(place).touch()
    place.export()
    place.context.append(place.context.head().revision, "another", Origin("edit"))
    place.export()
    assert place.unexport()
    assert memory(place).read_bytes() == b""


def test_changes_that_the_agent_made_are_not_overwritten(place: Place) -> None:
    place.export()
    memory(place).write_text(memory(place).read_text().replace("left", "right"))
    changed = memory(place).read_bytes()
    for act in (place.export, place.unexport):
        with pytest.raises(RefusedError, match="were changed since"):
            act()
    assert memory(place).read_bytes() == changed
    stored = place.take_in()
    assert stored is not None
    assert (stored.text, stored.revision.parent) == ("K moves right.\nQ moves down.", 1)
    assert (stored.origin.source, stored.origin.task) == ("agent", "hermes")
    assert place.take_in() is None  # it is there now
    place.export()
    assert place.exporter.read(place.places) == Block("lake", 2, "K moves right.\nQ moves down.")


def test_changes_can_be_lost_on_purpose(place: Place) -> None:
    place.export()
    memory(place).write_text(memory(place).read_text().replace("left", "right"))
    place.export(force=True)
    assert place.exporter.read(place.places) == Block("lake", 1, "K moves left.\nQ moves down.")
    memory(place).write_text(memory(place).read_text().replace("left", "right"))
    assert place.unexport(force=True)
    assert not memory(place).exists()


def test_nothing_new_makes_no_revision(place: Place) -> None:
    place.export()
    assert place.take_in() is None
    place.context.append(place.context.head().revision, "newer", Origin("edit"))
    assert place.take_in() is None  # what stands there is older, and kept
    assert place.context.head().text == "newer"


def test_what_the_agent_noted_beside_the_hints(place: Place) -> None:
    place.export()
    memory(place).write_text(memory(place).read_text() + "\n§\nX moves right.\n§\nThe lake is cold.")
    assert place.take_in() is None
    stored = place.take_in(own=True)
    assert stored is not None
    assert stored.text == "K moves left.\nQ moves down.\nX moves right.\nThe lake is cold."
    assert place.take_in(own=True) is None
    assert place.unexport()
    assert memory(place).read_text() == "X moves right.\n§\nThe lake is cold."


def test_a_context_can_begin_with_what_an_agent_knows(place: Place, tmp_path: Path) -> None:
    new = Place(Context(tmp_path / "contexts" / "pond"), "hermes", place.places)
    with pytest.raises(UsageError, match="holds nothing"):
        new.take_in()
    assert not new.context.exists
    memory(place).parent.mkdir(parents=True)
    memory(place).write_text("X moves right.\n§\nThe lake is cold.")
    stored = new.take_in()
    assert stored is not None
    assert stored.text == "X moves right.\nThe lake is cold."


def test_a_preview_writes_nothing(place: Place) -> None:
    assert b"K moves left." in place.preview().after
    assert not list(place.places.home.iterdir())
    assert read_exports(place.context) == []


def test_a_prompt_has_no_place(place: Place) -> None:
    shown = Place(place.context, "prompt", place.places)
    assert b"K moves left." in shown.export().after
    assert read_exports(place.context) == []
    assert not shown.unexport()
    with pytest.raises(UsageError, match="nothing that could be read"):
        shown.take_in()


def test_a_crash_anywhere_can_be_taken_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    for seen in crashes(monkeypatch, place.export):  # noqa: B007
        if memory(place).exists():
            assert place.exporter.read(place.places)
    assert seen > 10
    for _ in crashes(monkeypatch, place.unexport):
        read_exports(place.context)
    assert not list(place.places.home.iterdir())
    assert read_exports(place.context) == []


def test_a_record_of_exports_names_no_folder_elsewhere(place: Place, tmp_path: Path) -> None:
    place.export()
    (tmp_path / "empty").mkdir()
    record = place.context.folder / "exports.json"
    record.write_text(record.read_text().replace('"folders": [', f'"folders": ["{tmp_path / "empty"}",'))
    assert place.unexport()
    assert (tmp_path / "empty").is_dir()


def test_without_hints_nothing_is_put_into_a_file(place: Place) -> None:
    place.context.roll_back(0)
    assert place.export().after == b""
    assert not list(place.places.home.iterdir())
    place.context.roll_back(1)
    place.export()
    place.context.roll_back(0)
    place.export()  # what stands there is replaced
    assert place.exporter.read(place.places) == Block("lake", 0, "")
    assert place.unexport()
    assert not list(place.places.home.iterdir())
