"""Registries: names of ours, of plug-ins and by import path; what is not asked for is not imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from codctl import trust
from codctl.errors import PreflightError, UsageError
from codctl.registry import Registry, a_function

BUILT_IN = {"join": "posixpath:join", "split": "posixpath:split"}


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trust.TRUSTED, "\n".join(["posixpath:sep", "nowhere_at_all:go", "way_home:go"]))


def registry() -> Registry[Any]:
    return Registry("way", "codctl.test_ways", BUILT_IN, make=a_function, hint="codctl ways")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, modules: dict[str, str], entries: dict[str, str]) -> None:
    """Put a distribution on the path, as an installer leaves it."""
    info = folder / "ways-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ways\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[codctl.test_ways]", *lines, ""]))
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


def test_a_plugin_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, {"way_home": "def go(): return 'home'"}, {"home": "way_home:go"})
    ways = registry()
    ways.check("home")
    assert ways.names() == ("join", "split", "home")
    assert "way_home" not in sys.modules
    assert ways.get("home")() == "home"
    assert ways.get("home") is ways.get("way_home:go")
    assert list(ways.usable()) == ["join", "split", "home"]
    assert ways.source("home") == "ways 1.0, entry point home = way_home:go"


def test_names_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown way 'jion'; did you mean 'join'\? \(known: join, split\)"):
        registry().get("jion")
    with pytest.raises(UsageError, match=r"'posixpath:join\(\)' is not the import path of a way"):
        registry().check("posixpath:join()")


def test_what_cannot_be_used_says_why() -> None:
    ways = registry()
    with pytest.raises(PreflightError, match="way 'posixpath:join' is not imported: only the folder of a run names it"):
        ways.get("posixpath:join")
    with pytest.raises(PreflightError, match="way 'posixpath:sep' cannot be used: it is not a function"):
        ways.get("posixpath:sep")
    with pytest.raises(PreflightError, match="cannot be used: ModuleNotFoundError: No module named 'nowhere_at_all'"):
        ways.get("nowhere_at_all:go")
    assert ways.broken() == ()  # it is no plug-in that is installed


def test_a_name_that_is_taken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, {}, {"join": "shutil:move", "move": "shutil:move"})
    ways = registry()
    [broken] = ways.broken()
    assert broken.reason == "the name 'join' is taken by codctl itself; choose another"
    assert broken.source == "ways 1.0, entry point join = shutil:move"
    assert ways.get("join").__module__ == "posixpath"
    assert ways.names() == ("join", "split", "move")
