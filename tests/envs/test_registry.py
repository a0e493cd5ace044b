"""Plug-ins: what cannot be used is named with its reason and takes nothing else with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from codctl.cli.main import run
from codctl.envs.registry import FAMILIES, broken_families, families, get_family
from codctl.errors import PreflightError, UsageError

GOOD = """
from codctl.envs.frozen_lake.family import FrozenLake

class Pond(FrozenLake):
    name = "pond"
"""
PLUGINS: dict[str, tuple[str, str]] = {
    # entry point: module text, what is said of it
    "raises": (
        "raise RuntimeError('no\\nworld today')",
        r"RuntimeError: no world today \(.*plugin_raises\.py, line 1\)",
    ),
    "exits": ("import sys; sys.exit('bye')", r"SystemExit: bye \(.*plugin_exits\.py, line 1\)"),
    "missing": ("import nowhere_to_be_found", r"ModuleNotFoundError: No module named 'nowhere_to_be_found' .*"),
    "syntax": ("def Pond(:", r"SyntaxError: .*"),
    "typo": ("Pnd = 1", r"AttributeError: .*has no attribute 'Pond'.*"),
    "function": ("def Pond(): pass", r"it is not a subclass of codctl.envs.base.Family"),
    "abstract": (
        "from codctl.envs.base import Family\nclass Pond(Family):\n    name = 'abstract'",
        r"TypeError: Can't instantiate abstract class Pond .*",
    ),
    "renamed": (GOOD, r"it calls itself 'pond' and its entry point 'renamed'; make them the same"),
    "bare": (
        GOOD.replace('name = "pond"', 'name = "bare"; title = ""; presets = []; policies = ("bayes",)'),
        r"its attribute 'title' must be a text, and is ''; its attribute 'presets' must be a tuple with at least one "
        r"name, and is \[\]; its policies lack random",
    ),
    "frozen_lake": (GOOD, r"the name 'frozen_lake' is taken by codctl itself; choose another"),
}


@pytest.fixture(autouse=True)
def fresh_registry() -> Iterator[None]:
    FAMILIES.forget()
    yield
    FAMILIES.forget()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, distribution: str, entries: dict[str, str]) -> None:
    """Put a distribution on the path, as an installer leaves it: modules, metadata, entry points."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{name} = plugin_{name}:Pond" for name in entries]
    (info / "entry_points.txt").write_text("\n".join(["[codctl.families]", *lines, ""]))
    for name, text in entries.items():
        (folder / f"plugin_{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize("name", PLUGINS)
def test_a_broken_plugin_is_named_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text, said = PLUGINS[name]
    install(tmp_path, monkeypatch, f"dist-{name.replace('_', '-')}", {name: text, "pond": GOOD})
    assert {"frozen_lake", "pond"} <= set(families())
    [broken] = broken_families()
    assert broken.name == name
    assert re.fullmatch(said, broken.reason)
    assert broken.source.endswith(f" 1.0, entry point {name} = plugin_{name}:Pond")
    assert broken.source.startswith("dist-")


def test_asking_for_it_fails_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, monkeypatch, "leaky-pond", {"leak": "raise OSError('the pond is dry')"})
    with pytest.raises(PreflightError, match="the pond is dry"):
        get_family("leak")
    assert run(["env", "play", "leak"]) == 3
    assert run(["env", "list"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(
        "error: leaky-pond 1.0, entry point leak = plugin_leak:Pond: family 'leak' cannot be used: OSError"
    )
    assert "frozen_lake" in out
    assert "broken: leak (leaky-pond 1.0, entry point leak = plugin_leak:Pond)\n  OSError: the pond is dry" in out


def test_of_two_plugins_with_one_name_the_first_by_distribution_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "b", monkeypatch, "b-pond", {"pond": GOOD})
    install(tmp_path / "a", monkeypatch, "a-pond", {"pond": GOOD})
    assert "pond" in families()
    [broken] = broken_families()
    assert broken.source.startswith("b-pond 1.0")
    assert (
        broken.reason == "the name 'pond' is taken by a-pond 1.0, entry point pond = plugin_pond:Pond; choose another"
    )
    assert get_family("pond").name == "pond"


def test_the_callers_of_families_cannot_change_the_registry() -> None:
    families().clear()
    assert "frozen_lake" in families()
    with pytest.raises(UsageError):
        get_family("")
