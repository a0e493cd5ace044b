"""Hints get into the files of agent programs and out again, and no byte of anybody else's changes."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from codctl.contexts.block import CAVEAT, Block, find_blocks
from codctl.contexts.exporters.base import EXPORTERS, BudgetError, Exporter, MemoryPlaces
from codctl.errors import RefusedError, UsageError
from tests.contexts.crashing import crashes

FILES = [name for name in EXPORTERS.built_in if name != "prompt"]
AGENT_JSON = b'{\n  "id": "default",\n  "system_prompt_files": [\n    "AGENTS.md",\n    "SOUL.md"\n  ]\n}\n'

hints = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20), max_size=4).map(
    lambda lines: "\n".join(lines).strip()
)
foreign = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from(["notes", "", "§", "\r\n", " ", "# Rules", "ü", "\n"]), max_size=8).map(
        lambda lines: "\n".join(lines).encode()
    ),
)


def places_in(folder: Path) -> MemoryPlaces:
    places = MemoryPlaces(folder / "home", folder / "work")
    places.home.mkdir(exist_ok=True)
    places.work.mkdir(exist_ok=True)
    workspace = places.home / ".qwenpaw" / "workspaces" / "default"
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "agent.json").write_bytes(AGENT_JSON)
    return places


@pytest.fixture
def places(tmp_path: Path) -> MemoryPlaces:
    return places_in(tmp_path)


@pytest.fixture(params=FILES)
def exporter(request: pytest.FixtureRequest) -> Exporter:
    return EXPORTERS.get(request.param)


def file_of(exporter: Exporter, places: MemoryPlaces) -> Path:
    path = exporter.file(places)
    assert path
    return path


def everything(places: MemoryPlaces) -> dict[str, bytes]:
    """All files and folders below both places."""
    found: dict[str, bytes] = {}
    for root in (places.home, places.work):
        for path in root.rglob("*"):
            found[str(path)] = path.read_bytes() if path.is_file() else b""
    return found


def unexport(exporter: Exporter, places: MemoryPlaces, done: object, name: str | None = None) -> bool:
    from codctl.contexts.exporters.base import Exported

    assert isinstance(done, Exported)
    return exporter.unexport(places, name, existed=done.before is not None, folders=done.folders)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=15)
@given(before=st.none() | foreign, text=hints, later=hints)
@example(before=b"", text="K moves left.", later="")
@example(before=b"a note\n", text="one", later="two")
@example(before=b"\n\xc2\xa7\n", text="one", later="two")
def test_in_and_out_leaves_every_byte(name: str, before: bytes | None, text: str, later: str) -> None:
    exporter = EXPORTERS.get(name)
    assume("\n§\n" not in f"\n{text}\n{later}\n")
    with TemporaryDirectory() as folder:
        places = places_in(Path(folder))
        path = file_of(exporter, places)
        if before is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(before)
        untouched = everything(places)
        first = exporter.export(Block("lake", 7, text), places)
        assert exporter.read(places) == Block("lake", 7, text)
        assert (before or b"") in path.read_bytes()
        once = everything(places)
        again = exporter.export(Block("lake", 7, text), places)
        assert everything(places) == once
        assert again.before == again.after == first.after
        exporter.export(Block("lake", 8, later), places)
        assert exporter.read(places) == Block("lake", 8, later)
        assert unexport(exporter, places, first)
        assert everything(places) == untouched
        assert not unexport(exporter, places, first)


def test_two_contexts_in_one_file(exporter: Exporter, places: MemoryPlaces) -> None:
    untouched = everything(places)
    lake = exporter.export(Block("lake", 1, "one"), places)
    exporter.export(Block("pond", 2, "two"), places)
    exporter.export(Block("lake", 3, "three"), places)
    assert exporter.read(places, "lake") == Block("lake", 3, "three")
    assert exporter.read(places, "pond") == Block("pond", 2, "two")
    assert exporter.read(places, "sea") is None
    assert unexport(exporter, places, lake, "pond")
    assert exporter.read(places, "pond") is None
    assert exporter.read(places) == Block("lake", 3, "three")
    assert unexport(exporter, places, lake)
    assert everything(places) == untouched


def test_what_the_program_writes_beside_the_block_stays(exporter: Exporter, places: MemoryPlaces) -> None:
    done = exporter.export(Block("lake", 1, "one"), places)
    path = file_of(exporter, places)
    note = b"\n\xc2\xa7\nmy own note" if exporter.name == "hermes" else b"my own note"
    path.write_bytes(path.read_bytes() + note)
    assert exporter.own_text(places) == "my own note"
    exporter.export(Block("lake", 2, "two"), places)
    assert exporter.read(places) == Block("lake", 2, "two")
    assert unexport(exporter, places, done)
    assert path.read_bytes() == b"my own note"


def test_the_caveat_stands_before_the_hints(exporter: Exporter, places: MemoryPlaces) -> None:
    exporter.export(Block("lake", 1, "K moves left."), places)
    assert f"{CAVEAT}\n\nK moves left.\n" in file_of(exporter, places).read_text()


def test_an_editor_may_change_the_ends_of_lines(exporter: Exporter, places: MemoryPlaces) -> None:
    exporter.export(Block("lake", 1, "one\ntwo"), places)
    path = file_of(exporter, places)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert exporter.read(places) == Block("lake", 1, "one\ntwo")
    exporter.export(Block("lake", 2, "three"), places)
    assert exporter.read(places) == Block("lake", 2, "three")


@pytest.mark.parametrize(
    "damage",
    [
        (r"\[/codctl hints\]", ""),
        (r"\[codctl hints name=lake rev=1\]\n", ""),
        ("rev=1", "rev=one"),
        ("Notes from", "My notes from"),
        ("one", "one\n[codctl hints name=other rev=1]"),
    ],
)
def test_a_damaged_block_is_nobodys_to_overwrite(
    exporter: Exporter, places: MemoryPlaces, damage: tuple[str, str]
) -> None:
    exporter.export(Block("lake", 1, "one"), places)
    path = file_of(exporter, places)
    path.write_text(re.sub(*damage, path.read_text()) + "more of the user's")
    damaged = path.read_bytes()
    for act in (lambda: exporter.export(Block("lake", 2, "two"), places), lambda: exporter.unexport(places)):
        with pytest.raises(RefusedError, match="damaged"):
            act()
    assert path.read_bytes() == damaged


def test_hints_that_could_not_be_found_again_are_refused(exporter: Exporter, places: MemoryPlaces) -> None:
    untouched = everything(places)
    with pytest.raises(UsageError, match="marks where hints begin and end"):
        exporter.export(Block("lake", 1, "first\n[/codctl hints]\nthen"), places)
    assert everything(places) == untouched


@pytest.mark.parametrize("name", ["claude-code", "claude-code-memory"])
def test_claude_code_leaves_comments_out(name: str, places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get(name)
    with pytest.raises(UsageError, match="would leave that comment out"):
        exporter.export(Block("lake", 1, "a\n  <!-- b -->"), places)
    exporter.export(Block("lake", 1, "a <!-- b -->"), places)


def test_hermes_keeps_its_entries_apart(places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get("hermes")
    for text in ("a\n§\nb", "§\nb", "a\n§"):
        with pytest.raises(UsageError, match="§"):
            exporter.export(Block("lake", 1, text), places)
    path = file_of(exporter, places)
    path.parent.mkdir(parents=True)
    path.write_text("first\n§\nsecond\n")  # as people's editors leave it
    exporter.export(Block("lake", 1, "The sign § is fine."), places)
    entries = [entry.strip() for entry in path.read_text().split("\n§\n")]
    assert entries == [str(Block("lake", 1, "The sign § is fine.")), "first", "second"]
    assert "\n§\n".join(entries) == path.read_text().strip()  # otherwise Hermes locks its memory tool


def filled(exporter: Exporter, limit: int, unit: str) -> str:
    """Hints with which a file of nothing else has this length."""
    frame = exporter.added(str(Block("lake", 1, "")), "")
    if unit == "chars":
        return "x" * (limit - len(frame))
    return "\n".join("x" * (limit - frame.count("\n") + 1 - (not frame.endswith("\n"))))


@pytest.mark.parametrize(
    ("name", "unit", "limit"),
    [
        ("hermes", "chars", 2_200),
        ("openclaw", "chars", 20_000),
        ("claude-code-memory", "chars", 25_000),
        ("claude-code-memory", "lines", 200),
    ],
)
def test_a_file_that_would_be_cut_is_not_written(name: str, unit: str, limit: int, places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get(name)
    path = file_of(exporter, places)
    for length in (limit - 1, limit):
        exporter.export(Block("lake", 1, filled(exporter, length, unit)), places)
        text = path.read_text()
        assert (len(text) if unit == "chars" else len(text.splitlines())) == length
    with pytest.raises(BudgetError) as caught:
        exporter.export(Block("lake", 1, filled(exporter, limit + 1, unit)), places)
    assert f"{limit + 1:,} {'characters' if unit == 'chars' else 'lines'} where {limit:,} are read" in str(caught.value)
    assert path.read_text() == text


@pytest.mark.parametrize(("name", "limit"), [("claude-code", 8_000), ("agents-md", 20_000), ("qwenpaw", 8_000)])
def test_a_file_that_is_long_is_written_with_a_warning(name: str, limit: int, places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get(name)
    for length, warns in ((limit - 1, False), (limit, False), (limit + 1, True)):
        done = exporter.export(Block("lake", 1, filled(exporter, length, "chars")), places)
        assert len(done.after) == length
        assert (f"{length:,} characters where {limit:,} are read" in done.warning) is warns


def test_what_is_there_counts_too(places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get("hermes")
    path = file_of(exporter, places)
    path.parent.mkdir(parents=True)
    path.write_text("x" * 2_100)
    with pytest.raises(BudgetError):
        exporter.export(Block("lake", 1, "one"), places)
    (path.parents[1] / "config.yaml").write_text("memory: {memory_char_limit: 3000}")
    exporter.export(Block("lake", 1, "one"), places)
    (path.parents[1] / "config.yaml").write_text(": not yaml")
    with pytest.raises(BudgetError):
        exporter.export(Block("lake", 1, "one"), places)


def test_links_are_not_followed(exporter: Exporter, places: MemoryPlaces, tmp_path: Path) -> None:
    path = file_of(exporter, places)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("private")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    acts = [
        lambda: exporter.export(Block("lake", 1, "one"), places),
        lambda: exporter.read(places),
        lambda: exporter.own_text(places),
        lambda: exporter.unexport(places),
    ]
    for act in acts:
        with pytest.raises(RefusedError, match="link"):
            act()
    path.unlink()
    path.mkdir()
    with pytest.raises(RefusedError, match="no regular file"):
        exporter.export(Block("lake", 1, "one"), places)
    assert elsewhere.read_text() == "private"


def test_links_on_the_way_are_not_followed(places: MemoryPlaces, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (places.work / ".claude").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="link"):
        EXPORTERS.get("claude-code").export(Block("lake", 1, "one"), places)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_private_file_stays_private(exporter: Exporter, places: MemoryPlaces) -> None:
    path = file_of(exporter, places)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    path.chmod(0o600)
    exporter.export(Block("lake", 1, "one"), places)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_crash_anywhere_leaves_the_old_or_the_new(
    exporter: Exporter, places: MemoryPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of(exporter, places)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    untouched = everything(places)
    new = exporter.plan(Block("lake", 1, "one"), places).after
    seen = 0
    for seen in crashes(monkeypatch, lambda: exporter.export(Block("lake", 1, "one"), places)):  # noqa: B007
        assert path.read_bytes() in (b"mine", new)
    assert seen > 2
    assert path.read_bytes() == new
    for _ in crashes(monkeypatch, lambda: exporter.unexport(places)):
        assert path.read_bytes() in (b"mine", new)
    assert everything(places) == untouched


def test_the_hints_of_qwenpaw_are_named_in_its_configuration(places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get("qwenpaw")
    path = file_of(exporter, places).parent / "agent.json"
    exporter.export(Block("lake", 1, "one"), places)
    assert json.loads(path.read_text())["system_prompt_files"] == ["AGENTS.md", "SOUL.md", "COD_HINTS.md"]
    path.write_text(json.dumps(json.loads(path.read_text())))  # as QwenPaw itself may write it
    exporter.export(Block("lake", 2, "two"), places)
    assert json.loads(path.read_text())["system_prompt_files"] == ["AGENTS.md", "SOUL.md", "COD_HINTS.md"]
    exporter.unexport(places, existed=False)
    assert json.loads(path.read_text()) == json.loads(AGENT_JSON)


@pytest.mark.parametrize("content", ["", "{}", '{"system_prompt_files": 3}', "no json", '["system_prompt_files"]'])
def test_a_configuration_without_the_list_is_left_alone(content: str, places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get("qwenpaw")
    path = file_of(exporter, places).parent / "agent.json"
    path.write_text(content)
    with pytest.raises(RefusedError, match="system_prompt_files"):
        exporter.export(Block("lake", 1, "one"), places)
    assert path.read_text() == content
    assert not file_of(exporter, places).exists()


def test_the_memory_of_claude_code_is_that_of_the_repository(places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get("claude-code-memory")
    assert file_of(exporter, places).parts[-3].endswith("-work")
    (places.work.parent / ".git").mkdir()
    path = file_of(exporter, places)
    assert path.parts[-3] == re.sub(r"[^A-Za-z0-9]", "-", str(places.work.parent))
    exporter.export(Block("lake", 1, "one"), places)
    (path.parent / "ice.md").write_text("---\nname: ice\ndescription: about ice\n---\n\nThe ice is thin.\n")
    path.write_text(path.read_text() + "- [Ice](ice.md)\n")
    assert exporter.own_text(places) == "- [Ice](ice.md)\nThe ice is thin."


def test_the_prompt_is_only_shown(places: MemoryPlaces) -> None:
    exporter = EXPORTERS.get("prompt")
    untouched = everything(places)
    done = exporter.export(Block("lake", 1, "one"), places)
    assert done.path is None
    assert find_blocks(done.after.decode()) == [Block("lake", 1, "one")]
    assert exporter.read(places) is None
    assert not exporter.unexport(places)
    assert everything(places) == untouched


def test_a_block_whose_end_was_cut_does_not_swallow_the_next() -> None:
    cut = str(Block("lake", 1, "one two three"))[:-20]
    assert find_blocks(f"{cut}\nother text\n{Block('lake', 2, 'two')}") == [Block("lake", 2, "two")]
