"""`--help` of every command: examples, groups, nothing cut, nothing that only a programmer understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from codctl.cli._examples import EXAMPLES
from codctl.cli.main import app

ROOT: Any = typer.main.get_command(app)


def commands(command: Any = ROOT, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from commands(inner, f"{path} {name}".strip())


COMMANDS = dict(commands())


@pytest.mark.parametrize("columns", [60, 80, 140])
@pytest.mark.parametrize("path", COMMANDS)
def test_help(cli, monkeypatch: pytest.MonkeyPatch, path: str, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    outcome = cli(*path.split(), "-h")
    assert outcome.code == 0
    assert outcome.out == cli(*path.split(), "--help").out
    text, _, examples = outcome.out.partition("\nExamples:\n")
    assert re.findall(r"  (codctl .+?)(?:   .*)?$", examples, re.MULTILINE)
    assert not re.search(r"<[^>]*\b(str|int|float|bool|list|range|path|text)\b[^>]*>|\[\[|\{", text)
    assert "..." not in text.partition("\n\n")[2]  # in the usage line they are meant
    unbroken = [line for line in text.splitlines() if "<" not in line]  # a list of choices stays in one piece
    assert max(map(len, unbroken)) <= columns


def test_commands_come_in_groups(cli) -> None:
    out = cli("--help").out
    headings = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == [
        "Options:", "Train:", "Follow and control:", "Evaluate and look:", "Put to work:", "Help:",
        "Groups of commands:", "Examples:",
    ]  # fmt: skip


def test_doubles_are_shown_once(cli) -> None:
    out = cli("runs", "--help").out
    assert not re.search(r"^  (status|cancel|resume|logs) ", out, re.MULTILINE)
    assert cli("runs", "status", "--help").code == 0  # they work as before


def test_every_command_has_examples_that_it_reads() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    for path, rows in EXAMPLES.items():
        for line, meaning in rows:
            program, *words = shlex.split(line)
            assert program == "codctl"
            assert line.startswith(f"codctl {path}".strip())
            assert meaning.endswith((".", "?"))
            command, taken = ROOT, 0
            context = ROOT.make_context("codctl", list(words), resilient_parsing=True)
            while hasattr(command, "commands"):
                command, taken = command.commands[words[taken]], taken + 1
            command.make_context(line, words[taken:], parent=context)  # refuses what it does not know


def test_keys_of_eval_are_listed_and_explained(cli) -> None:
    out = " ".join(cli("eval", "--help").out.split())
    for key in ("packs", "length", "arms", "drift_at", "preset"):
        assert key in out
        assert f"eval.{key}\n" in cli("recipe", "explain", f"eval.{key}").out
    assert "recipe explain eval" in out
    assert cli("recipe", "explain", "eval.pack").err.startswith(
        'error: a recipe has no key "eval.pack"; did you mean "eval.packs"?'
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["recipe", "check", "tiny"], "validate"),
        (["recipe", "ls"], "list"),
        (["runs", "rm"], "clean"),
        (["run", "tiny"], "train"),
        (["stop", "tiny"], "cancel"),
        (["trian", "tiny"], "train"),
        (["env", "valdate"], "validate"),
    ],
)
def test_other_names_lead_to_ours(cli, typed: list[str], meant: str) -> None:
    outcome = cli(*typed)
    assert outcome.code == 2
    assert f"did you mean '{meant}'?" in outcome.err


def test_what_is_nothing_like_a_command_gets_no_suggestion(cli) -> None:
    assert "did you mean" not in cli("recipe", "xyzzy").err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--length", "99"], "must be at most 64"),
        (["--length", "0"], "must be at least 1"),
        (["--length", "many"], "expected a whole number"),
        (["--split", "dev"], "'dev' is not one of 'train', 'validation', 'test', 'demonstration'"),
    ],
)
def test_a_wrong_value_is_refused_in_words(cli, argv: list[str], message: str) -> None:
    outcome = cli("env", "play", "frozen_lake", *argv)
    assert outcome.code == 2
    assert outcome.err.splitlines()[0] == f"error: Invalid value for '{argv[0]}': {message}"
