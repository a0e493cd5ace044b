"""Each check catches the family that was broken for it, says what is wrong and what to change."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from codctl.envs.base import Family
from codctl.envs.frozen_lake.family import FrozenLake
from codctl.envtools.validate import process
from codctl.envtools.validate.check import Finding, Subject, run_check
from codctl.envtools.validate.family import CHECKS, FIRST, validate_family
from tests.envtools import broken_worlds as broken
from tests.example_world.keypad import Keypad

ALL = {**FIRST, **CHECKS}
CAUGHT: list[tuple[str, type[Family], str]] = [
    ("packs drawn", broken.TooShort, "expected 3 tasks: keypad/easy/test/0 has 2"),
    ("packs drawn", broken.OwnGenerator, "again after other packs gives a different pack"),
    ("episodes end", broken.Endless, "keypad/easy/test/0, position 1: not over after its 3 turns"),
    ("solvable", broken.Jammed, "no policy solves 60 of 60 tasks, the first keypad/easy/test/0, position 1"),
    ("oracle reaches its ceiling", broken.Ignorant, "`informed` fails 5"),
    ("cold success below that", broken.Obvious, "`bayes` solves 100.0% of the first tasks"),
    ("learnable", broken.Unlearnable, "rise "),
    ("learnable", broken.SecretlyLearnable, "the curve must be flat"),
    ("rewards", broken.Generous, "rewards 0, 2 (expected 0 and 1)"),
    ("same in another process", broken.Hashed, "another process draws or plays differently: 'pack 0 "),
    ("same in another Python", broken.Hashed, "Python 3.19 draws or plays differently: 'pack 0 "),
    ("splits disjoint", broken.OneSplit, "keypad/easy/validation/0 is the same pack as keypad/easy/train/0"),
    ("prefixes", broken.Backwards, "keypad/easy/test/0: a pack of 1 is not the beginning of a pack of 64"),
    ("nothing shared", broken.Gossiping, "playing one episode changed another one in progress"),
    ("nothing shared", broken.Wearing, "playing changed the world or the task"),
    ("nothing shared", broken.Counting, "the family itself changed"),
    ("no global randomness", broken.Rolling, "used the global generator of `random`"),
    ("no global randomness", broken.OwnGenerator, "used tests.envtools.broken_worlds._CHANCE"),
    ("needs memory", broken.Forgetful, "gives +0.000"),
    ("memory of its own", broken.SharedMemory, "depends on another trajectory through the same pack"),
    ("redraw", broken.SameAgain, "the redrawn world has the same hidden facts"),
    ("strategies", broken.Gullible, "raises IndexError: list index out of range (keypad.py, line "),
    ("hints scored", broken.Miscounting, "the truth has 6 facts and scores HintScore(right=5"),
    ("hints scored", broken.Credulous, "no hint scores HintScore(right=5"),
    ("messages present", broken.Secretive, "the solve prompt does not show the hints"),
    ("messages present", broken.Muted, "an episode ends without feedback"),
    ("prompt lengths", broken.Talkative, "(at most 40000)"),
    ("hostile answers", broken.Fragile, "raises ValueError: invalid literal for int() with base 10"),
]


def check(name: str, family: Family, *, packs: int = 20, length: int = 3) -> Finding:
    subject = Subject(family, family.presets[0], family.variants[0], packs, length, family)
    return run_check(name, ALL[name], subject, {})


@pytest.fixture
def another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python on PATH that claims another version: what is tested is how it is found, started and compared with."""
    fake = tmp_path / "python3.19"
    fake.write_text(f"""#!/bin/sh
case "$2" in *version_info*) echo 3.19;; *) exec {sys.executable} "$@";; esac
""")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(process, "_version_of", only_the_fake(process._version_of))


def only_the_fake(version_of):
    """Other Pythons of this machine stay out of it."""
    return lambda executable: version_of(executable) if executable.endswith("3.19") else ""


@pytest.mark.parametrize(("name", "family", "reason"), CAUGHT, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_family_is_caught(another_python: None, name: str, family: type[Family], reason: str) -> None:
    found = check(name, family(), packs=3 if name == "prompt lengths" else 20)
    assert found.status == "FAILED"
    assert reason in found.reason
    assert len(found.fix.split()) >= 5  # a sentence, not a word


def test_every_check_has_its_broken_family() -> None:
    assert {name for name, *_ in CAUGHT} == set(ALL)


@pytest.mark.parametrize("family", [FrozenLake(), Keypad()], ids=lambda family: family.name)
def test_a_sound_family_passes_every_check(another_python: None, family: Family) -> None:
    found = validate_family(family, family.presets[0], packs=20, length=3)
    assert [c.name for c in found] == list(ALL)
    assert [c.name for c in found if not c.ok] == ["needs memory"]  # there is no `forget` to compare with
    assert all(c.reason and not c.fix for c in found)


def test_nothing_else_is_tried_when_packs_cannot_be_drawn() -> None:
    assert [(c.name, c.ok) for c in validate_family(broken.TooShort(), "easy", packs=10)] == [
        ("packs drawn", False),
        ("episodes end", True),
    ]


def test_one_error_is_one_failure() -> None:
    found = validate_family(broken.Fragile(), "easy", packs=10, length=2)
    assert [c.name for c in found if c.ok is False] == ["hostile answers"]

    class Raising(broken.Broken):
        def truth(self, world, rendering):
            raise RuntimeError("no truth\ntoday")

    [first, *others] = [c for c in validate_family(Raising(), "easy", packs=10, length=2) if c.ok is not True]
    assert (first.name, first.ok) == ("packs drawn", False)
    assert first.reason.startswith("it raises RuntimeError: no truth today (test_validate.py, line ")
    assert first.reason.endswith("in truth)")
    assert not others


def test_a_variant_with_nothing_to_learn_must_be_flat_and_says_so() -> None:
    class Flat(broken.Unlearnable):
        learnable = broken.SecretlyLearnable.learnable

    for name in ("learnable", "cold success below that"):
        found = check(name, Flat())
        assert found.ok
        assert "nothing to learn" in found.reason


def test_without_another_python_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = check("same in another Python", Keypad())
    assert (found.ok, found.status) == (None, "not checked")
    assert found.reason == "no other Python version on PATH"


def test_another_python_that_cannot_load_the_family_is_no_failure(another_python, tmp_path: Path) -> None:
    (tmp_path / "python3.19").write_text(
        "#!/bin/sh\ncase $2 in *version_info*) echo 3.19;; *) echo no >&2; exit 1;; esac"
    )
    found = check("same in another Python", Keypad())
    assert (found.ok, found.reason) == (None, "Python 3.19 cannot load the family: no")


@pytest.mark.skipif(not process.other_pythons(), reason="no other Python on PATH")
def test_the_other_python_of_this_machine_agrees() -> None:
    found = check("same in another Python", FrozenLake())
    assert found.ok
    assert found.reason.startswith("same packs, same play in Python 3.")
