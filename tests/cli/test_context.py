"""codctl context: every command, as a person types it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from codctl.contexts.block import Block, find_blocks


@pytest.fixture(autouse=True)
def _own_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "person").mkdir()
    monkeypatch.setenv("HOME", str(home / "person"))
    for name in ("CODCTL_CONTEXTS_DIR", "CLAUDE_CONFIG_DIR", "HERMES_HOME", "QWENPAW_WORKING_DIR", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(home: Path, cli: Any):
    """Write the next revision of `lake`."""

    def write(text: str) -> None:
        (home / "hints.md").write_text(text)
        assert cli("context", "edit", "lake", "--from", "hints.md").code == 0

    return write


def value(outcome: Any) -> dict[str, Any]:
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = outcome.json["result"]
    return found


def test_a_context_from_its_beginning(cli: Any, write: Any) -> None:
    assert "no contexts in contexts" in cli("context", "show").out
    write("K moves left.\n")
    write("K moves left.\nQ moves down.\n")
    assert cli("context", "show", "lake").out == "K moves left.\nQ moves down.\n"
    assert "revision 2 (in force), from 1, edited by hand" in cli("context", "show", "lake").err
    assert cli("context", "show", "lake", "--rev", "1").out == "K moves left.\n"
    (one,) = value(cli("context", "show", "--json"))["contexts"]
    assert (one["name"], one["revision"], one["revisions"], one["chars"]) == ("lake", 2, 3, 27)
    assert cli("context", "diff", "lake").out.splitlines()[-2:] == [" K moves left.", "+Q moves down."]
    assert value(cli("context", "diff", "lake", "2", "0", "--json"))["diff"][-1] == "-Q moves down."
    assert "revision 1 of lake is in force (was 2)" in cli("context", "rollback", "lake", "1").out
    revisions = value(cli("context", "log", "lake", "--json"))["revisions"]
    assert [(one["revision"], one["added"], one["is_in_force"]) for one in revisions] == [
        (0, 0, False),
        (1, 1, True),
        (2, 1, False),
    ]
    assert "1 ← in force" in cli("context", "log", "lake").out


def test_an_editor_writes_a_revision(home: Path, cli: Any, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write("one")
    editor = home / "editor.py"
    editor.write_text("import sys, pathlib\npath = pathlib.Path(sys.argv[2])\n")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor} --wait")
    assert "nothing changed: revision 1 is in force" in cli("context", "edit", "lake").out
    with editor.open("a") as file:
        file.write("path.write_text(path.read_text() + 'two')\n")
    assert value(cli("context", "edit", "lake", "--json"))["text"] == "one\ntwo"
    editor.write_text("raise SystemExit(3)")
    failed = cli("context", "edit", "lake")
    assert (failed.code, "exit code 3" in failed.err) == (2, True)
    monkeypatch.delenv("EDITOR")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert "--from FILE" in cli("context", "edit", "lake").err
    assert cli("context", "show", "lake").out == "one\ntwo\n"


def test_hints_go_into_an_agent_and_come_back(home: Path, cli: Any, write: Any) -> None:
    write("K moves left.")
    memory = home / "person" / ".hermes" / "memories" / "MEMORY.md"
    shown = cli("context", "export", "lake", "--to", "hermes", "--dry-run")
    assert "would be written" in shown.out
    assert "+K moves left." in shown.out
    assert not memory.exists()
    done = value(cli("context", "export", "lake", "--to", "hermes", "--json"))
    assert (done["path"], done["changed"], done["most_chars"]) == (str(memory), True, 2200)
    assert find_blocks(memory.read_text()) == [Block("lake", 1, "K moves left.")]
    assert "nothing to change" in cli("context", "export", "lake", "--to", "hermes").out
    memory.write_text(memory.read_text().replace("left", "right") + "\n§\nmine")
    refused = cli("context", "export", "lake", "--to", "hermes")
    assert refused.code == 6
    assert "codctl context import lake --from hermes takes them in" in refused.err
    write("K moves left.\nQ moves down.")
    taken = cli("context", "export", "lake", "--to", "hermes", "--import-first")
    assert "took in what was changed there: revision 3" in taken.err
    assert find_blocks(memory.read_text()) == [Block("lake", 3, "K moves right.")]
    own = value(cli("context", "import", "lake", "--from", "hermes", "--own", "--json"))
    assert (own["is_new"], own["text"], own["parent"]) == (True, "K moves right.\nmine", 3)
    assert "nothing new" in cli("context", "import", "lake", "--from", "hermes", "--own").out
    assert "took the hints of lake out of" in cli("context", "unexport", "lake", "--to", "hermes").out
    assert memory.read_text() == "mine"
    assert "no hints of lake stand in" in cli("context", "unexport", "lake", "--to", "hermes").out


def test_the_folders_of_a_program_can_be_named(
    home: Path, cli: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("one")
    for name in ("project", "config", "other"):
        (home / name).mkdir()
    line = ("context", "export", "lake", "--json", "--to")
    assert value(cli(*line, "claude-code", "--dir", "project"))["path"] == str(
        home / "project" / ".claude" / "rules" / "cod-hints.md"
    )
    monkeypatch.setenv("HERMES_HOME", str(home / "config"))
    assert value(cli(*line, "hermes"))["path"] == str(home / "config" / "memories" / "MEMORY.md")
    assert value(cli(*line, "hermes", "--home", "other"))["path"].startswith(str(home / "other" / ".hermes"))
    assert value(cli(*line, "hermes", "--config-dir", "other"))["path"] == str(home / "other/memories/MEMORY.md")
    changed = home / "other/memories/MEMORY.md"
    changed.write_text(changed.read_text().replace("one", "two"))
    refused = cli(*line[:3], "--to", "hermes", "--config-dir", "other")
    assert f"import lake --from hermes --config-dir {home / 'other'} takes them in" in refused.err
    missing = cli(*line, "hermes", "--home", "nowhere")
    assert json.loads(missing.out)["error"]["where"] == "nowhere"


def test_a_prompt_is_shown(cli: Any, write: Any) -> None:
    write("one")
    assert cli("context", "export", "lake", "--to", "prompt").out == f"{Block('lake', 1, 'one')}\n"


def test_what_does_not_fit_is_refused(cli: Any, write: Any) -> None:
    write("x" * 2_200)
    refused = cli("context", "export", "lake", "--to", "hermes")
    assert refused.code == 6
    assert "characters where 2,200 are read" in refused.err
    write("x" * 8_200)
    warned = cli("context", "export", "lake", "--to", "claude-code")
    assert (warned.code, "warning:" in warned.err) == (0, True)


def test_a_memory_in_which_nothing_stands_begins_no_context(home: Path, cli: Any) -> None:
    assert "holds nothing" in cli("context", "import", "pond", "--from", "hermes").err
    assert not (home / "contexts").exists()


def test_text_that_cannot_be_read(home: Path, cli: Any) -> None:
    (home / "bytes").write_bytes(b"\xff")
    assert "not valid UTF-8" in cli("context", "edit", "lake", "--from", "bytes").err
    assert "cannot read" in cli("context", "edit", "lake", "--from", "nowhere").err
    assert not (home / "contexts").exists()


def test_unknown_names_lead_to_the_nearest(cli: Any, write: Any) -> None:
    write("one")
    assert "did you mean 'lake'" in cli("context", "log", "lke").err
    assert "did you mean 'hermes'" in cli("context", "export", "lake", "--to", "hermse").err
