from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codctl.config.compose import load_config
from codctl.config.suite_file import load_suite
from codctl.config.yaml_files import MOST_VALUES, excess_of, interpolates_too_much
from codctl.errors import UsageError
from codctl.sweeps.study_file import find_study, load_study

ALIASES = "a: &a0 [x, x, x]\n" + "".join(f"b{n}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(11))
INTERPOLATIONS = "a0: text\n" + "".join(f"a{n + 1}: '{f'${{a{n}}}' * 9}'\n" for n in range(11))
TOO_MUCH = {
    "aliases": (ALIASES, "more than 50,000 values"),
    "itself": ("train: &a\n  lr: *a\n", "&a holds itself"),
    "list of itself": ("train: &a [*a]\n", "&a holds itself"),
    "brackets": (f"train: {'[' * 50_000}\n", "more than 50 deep"),
    "braces": (f"train: {'{a: ' * 50_000}\n", "more than 50 deep"),
    "lines": ("\n".join(" " * n + "a:" for n in range(1000)), "more than 50 deep"),
    "digits": (f"seed: {'1' * 5000}\n", "a number of 5,000 digits"),
    "fraction": (f"train: {{lr: 0.{'1' * 5000}}}\n", "a number of 5,002 digits"),
    "base 60": (f"seed: {':'.join('1' * 3000)}\n", "a number of 5,999 digits"),
    "characters": (f"description: {'x' * 1_000_001}\n", "1,000,015 characters"),
}

LOADERS: dict[str, Callable[[Path], object]] = {
    "recipe": lambda path: load_config(str(path)),
    "suite": lambda path: load_suite(path, path.name),
    "study": lambda path: load_study(path, path.name),
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize(("text", "why"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_file_that_holds_too_much_is_refused_at_once(text: str, why: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text(text)
    begun = time.process_time()
    if kind == "recipe":
        assert find_study(str(path)) is None  # `codctl sweep` asks this first
    with pytest.raises(UsageError, match=f"too much for a {kind}: .*{why}"):
        LOADERS[kind](path)
    assert time.process_time() - begun < 10


def test_interpolations_of_interpolations_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text(INTERPOLATIONS)
    with pytest.raises(UsageError, match="stand for too many values"):
        load_config(str(path))
    chain = {f"a{n}": f"${{a{n + 1}}}" for n in range(3000)} | {"a3000": 1}
    assert interpolates_too_much(chain)
    assert not interpolates_too_much({"a": {"b": "${.c} ${..d}", "c": "${d}"}, "d": "${oc.env:HOME} ${e}", "e": "${d}"})
    relative = {"s": {"a0": "x", **{f"a{n + 1}": f"${{.a{n}}}" * 9 for n in range(11)}}}
    assert interpolates_too_much(relative)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ALIASES, r"train/odd\.yaml:\d+: it stands for more than 50,000 values"),
        ("lr: [1\nx: }", r"train/odd\.yaml: broken YAML"),
        (f"lr: {'[' * 5000}", r"train/odd\.yaml:1: lists or sections more than 50 deep"),
    ],
)
def test_files_that_a_recipe_builds_on_have_the_same_limits(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("defaults:\n  - train: odd\n  - _self_\n")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "odd.yaml").write_text(text)
    with pytest.raises(UsageError, match=why):
        load_config(str(path))


@pytest.mark.parametrize("text", ["seed: !!int 'x'\n", f"description: '{'${' * 3000}'\n", "? [1]\n: 2\n", "a: 1\x00\n"])
def test_what_yaml_cannot_make_sense_of_is_one_message(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="broken YAML"):
        load_config(str(path))
    assert find_study(str(path)) is None


def test_what_people_write_is_not_too_much() -> None:
    assert excess_of("a: &a {x: [1, 2]}\n" + "".join(f"b{n}: *a\n" for n in range(1000))) is None
    assert excess_of(f"digest: {'0a' * 32}\n") is None
    found = excess_of(f"a: [{'1, ' * MOST_VALUES}]\n")
    assert found
    assert found.line == 1
