"""What codctl does, bit by bit where the CPU allows. `python -m tests.golden` writes the values anew."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from codctl.cli.main import app
from tests.golden import commands
from tests.golden.normal import written
from tests.golden.record import FOLDER, noun, on_another_cpu, record


def golden(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def test_nothing_has_changed(tmp_path: Path) -> None:
    """One test, since all of it is made in one folder."""
    found = record(tmp_path)
    expected = {name: golden(name) for name in found}
    here, there = found.pop("fingerprint"), expected.pop("fingerprint")
    if here != there:
        for values in (found, expected):
            del values["runs"]
            values["commands"] = {line: on_another_cpu(line, one) for line, one in values["commands"].items()}
    if changes := "\n".join(change for name in found for change in _diff(name, expected[name], found[name])):
        pytest.fail(f"{changes}\n\nif this is meant: python -m tests.golden", pytrace=False)
    if here != there:
        pytest.skip(f"weights, metrics and rows are frozen on {there}, and were not compared on {here}")


def _diff(name: str, expected: Any, found: Any) -> Iterator[str]:
    """Lines that differ, with a few around them."""
    lines = [written(value).splitlines() for value in (expected, json.loads(json.dumps(found)))]
    yield from difflib.unified_diff(*lines, f"tests/golden/{name}.json", "now", lineterm="")


def test_every_command_with_json_is_frozen() -> None:
    lines = {noun(line) for line in commands.COMMANDS} | commands.WITHOUT_GOLDEN
    assert lines == set(_with_json(typer.main.get_command(app)))


def _with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _with_json(inner, (*path, name))
    if any("--json" in option.opts for option in command.params):
        yield " ".join(path)
