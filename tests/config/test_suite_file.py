"""Broken suite files: each one message with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.config.suite_file import STRATEGY_KEYS, SuiteEntry, load_suite
from codctl.errors import UsageError

GOOD = """\
name: mine
description: What it asks.
evaluations:
  - name: one
    worlds: [{family: frozen_lake, preset: hard}, alchemy]
    strategy: drift
    drift_at: 3
    length: 6
  - name: two
    seeds: [1, 2]
"""

# What is changed in GOOD, and what is said of it (place, message, hint).
BROKEN = {
    "unknown key": (("strategy:", "stratgy:"), "mine.yaml:6", "unknown key stratgy; did you mean strategy?"),
    "unknown key at the top": (
        ("description:", "descripton:"),
        "mine.yaml:2",
        "unknown key descripton; did you mean description?",
    ),
    "unknown key of a world": (
        ("preset: hard", "presset: hard"),
        "mine.yaml:5",
        "unknown key presset; did you mean preset?",
    ),
    "a family that is a number": (
        ("family: frozen_lake", "family: 7"),
        "mine.yaml:5",
        "family: expected text, got 7",
    ),
    "worlds that are neither": (
        ("worlds: [{family: frozen_lake, preset: hard}, alchemy]", "worlds: hardest"),
        "mine.yaml:5",
        'worlds: expected one of trained, harder, others, got "hardest"',
    ),
    "a world that is a list": (
        ("alchemy]", "[alchemy]]"),
        "mine.yaml:5",
        "worlds: expected families, or sections with keys family, preset, variant",
    ),
    "unknown strategy": (
        ("strategy: drift", "strategy: drfit"),
        "mine.yaml:6",
        "strategy: expected one of cod, ralph_full, ralph_sample, drift, distractor, poison, long, or "
        'package.module:name, got "drfit"',
    ),
    "wrong type": (
        ("length: 6", "length: six"),
        "mine.yaml:8",
        'length: expected a whole number from 1 to 64, got "six"',
    ),
    "a key of another strategy": (
        ("strategy: drift", "strategy: cod"),
        "mine.yaml:7",
        "drift_at belongs to strategy drift, this evaluation plays cod",
    ),
    "no name": (("- name: two\n    seeds", "- seeds"), "mine.yaml:9", None),
    "the same name twice": (("name: two", "name: one"), "mine.yaml:9", "name: two evaluations are called 'one'"),
    "a name that is a path": (("name: two", "name: ../two"), "mine.yaml:9", None),
    "no evaluations": (
        (GOOD[GOOD.index("evaluations") :], ""),
        "mine.yaml",
        "evaluations: expected a list of sections with keys name, worlds, strategy, …",
    ),
    "a key twice": (
        ("length: 6", "length: 6\n    length: 7"),
        "mine.yaml:9",
        "broken YAML: found duplicate key length",
    ),
    "broken YAML": (("name: mine", "name: [mine"), "mine.yaml:2", None),
    "a list": ((GOOD, "- name: mine\n"), "mine.yaml", "a suite is a mapping of keys to values"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_a_good_file(path: Path) -> None:
    path.write_text(GOOD)
    suite = load_suite(path, "mine.yaml", ["length=4"])
    assert (suite.name, [entry.name for entry in suite.entries]) == ("mine", ["one", "two"])
    one, two = suite.entries
    assert [(w.family, w.preset) for w in one.worlds] == [("frozen_lake", "hard"), ("alchemy", None)]
    assert one.given == {"strategy": "drift", "drift_at": 3, "length": 4}
    assert (two.worlds, two.given) == ("trained", {"seeds": (1, 2), "length": 4})
    assert suite.overridden == {"length"}


@pytest.mark.parametrize(("change", "where", "message"), BROKEN.values(), ids=BROKEN)
def test_one_message_with_its_line(path: Path, change: tuple[str, str], where: str, message: str | None) -> None:
    assert change[0] in GOOD
    path.write_text(GOOD.replace(*change))
    with pytest.raises(UsageError) as caught:
        load_suite(path, "mine.yaml")
    assert caught.value.where == where
    assert len(caught.value.problems) == 1
    if message is not None:
        assert caught.value.message == message


def test_what_is_missing_is_named(path: Path) -> None:
    path.write_text(GOOD.replace("- name: two\n    seeds", "- seeds"))
    with pytest.raises(UsageError, match=r"^name is missing; expected text that matches"):
        load_suite(path, "mine.yaml")


def test_file_and_command_line_are_judged_together(path: Path) -> None:
    path.write_text(GOOD.replace("length: 6", "lenght: 6"))
    with pytest.raises(UsageError) as caught:
        load_suite(path, "mine.yaml", ["packs=0", "presett=x", "name=x"])
    assert caught.value.message == "4 problems with mine.yaml"
    assert [(p.where, p.message) for p in caught.value.problems] == [
        ("mine.yaml:8", "unknown key lenght; did you mean length?"),
        ("override packs=0", "packs: expected a whole number from 1 to 1,000,000, got 0"),
        ("override presett=x", "unknown key presett; did you mean preset?"),
        ("override name=x", "name: the suite names its evaluations"),
    ]


def test_an_override_is_judged_once_for_all_parts(path: Path) -> None:
    path.write_text(GOOD)
    with pytest.raises(UsageError) as caught:
        load_suite(path, "mine.yaml", ["packs=0"])
    assert (caught.value.where, caught.value.message) == (
        "override packs=0",
        "packs: expected a whole number from 1 to 1,000,000, got 0",
    )


def test_keys_of_strategies_are_keys_of_an_evaluation() -> None:
    assert set(STRATEGY_KEYS) <= set(SuiteEntry.model_fields)
