"""Do everything whose outcome is frozen, in one folder and in this process."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.golden import commands, runs
from tests.golden.normal import normal

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@contextlib.contextmanager
def settled(home: Path) -> Iterator[None]:
    """In a folder with the recipes, without anything of the user's."""
    runs.prepare(home)
    (home / "bad.yaml").write_text(commands.BAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("codctl.runs.code.fix", lambda runs_dir: None)
        patch.setenv("PATH", "/nowhere")  # no SLURM
        yield


def call(*words: str) -> Answer:
    """Run a command line as the console script does."""
    from codctl.cli.main import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    return Answer(code, out.getvalue(), err.getvalue())


def train(home: Path, name: str) -> Path:
    with settled(home):
        done = call(*runs.command(name))
    assert done.code == 0, done.err + done.out
    return home / "runs" / name


def record(home: Path) -> dict[str, Any]:
    """All that is frozen: the content of each file, by name."""
    trained = {name: train(home, name) for name in runs.RUNS}
    suites = {suite: _suite(home, suite) for suite in commands.SUITES}
    _suite(home, "position-curve", "random")  # to compare with
    return {
        "fingerprint": runs.fingerprint(),
        "runs": {name: runs.outcome(run, all_metrics=name == "small") for name, run in trained.items()},
        "structure": {name: runs.structure(run) for name, run in trained.items()},
        "suites": suites,
        "refusals": {line: _refusal(home, line) for line in commands.REFUSALS},
        "commands": {line: _answer(home, line) for line in commands.COMMANDS},
    }


def on_another_cpu(line: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What is the same on every CPU of the answer to a command line."""
    if noun(line) in commands.OF_A_MODEL or "small" in line.split():
        return {"exit": answer["exit"], "result": sorted(answer["result"])}
    return answer


def _suite(home: Path, suite: str, policy: str = "bayes") -> dict[str, Any]:
    """The result of a shipped suite, played by a scripted policy."""
    with settled(home):
        done = call("eval", "--policy", policy, "--suite", suite, "--limit", "2", "--json")
    assert done.code == 0, done.err + done.out
    [folder] = (home / "runs" / "evaluations").glob(f"{policy}-{suite}-*")
    return dict(normal(json.loads((folder / "result.json").read_text()), home))


def _answer(home: Path, line: str) -> dict[str, Any]:
    """Exit code and JSON of a command line."""
    with settled(home):
        done = call(*_words(home, line), "--json")
    found = json.loads(done.out)
    result = found.get("result", found.get("error"))
    is_by_names = line in commands.BY_NAMES
    return {"exit": done.code, "result": _names(result) if is_by_names else normal(result, home)}


def _refusal(home: Path, line: str) -> list[Any]:
    """Exit code and message of a command line that is refused: it prints nothing else and writes no file."""
    before = _files(home)
    with settled(home):
        done = call(*_words(home, line))
    assert done.out == "", line
    assert _files(home) == before, line
    return [done.code, *(normal(text, home) for text in done.err.splitlines())]


def noun(line: str) -> str:
    words = line.split()
    return " ".join(words[:2] if words[0] in ("runs", "evals", "recipe", "env", "model") else words[:1])


def _words(home: Path, line: str) -> list[str]:
    evaluations = home / "runs" / "evaluations"
    known = {
        "EVAL": lambda: next(evaluations.glob("bayes-position-curve-*")).name,
        "OTHER": lambda: next(evaluations.glob("random-position-curve-*")).name,
        "GONE": lambda: next(evaluations.glob("bayes-long-life-*")).name,
    }
    words: list[str] = []
    for word in line.split():
        words += runs.SHORT if word == "SHORT" else [known[word]()] if word in known else [word]
    return words


def _names(value: Any) -> Any:
    """The keys of objects, and the names of what a list holds."""
    if isinstance(value, dict):
        return {key: _names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [item["name"] if isinstance(item, dict) and "name" in item else _names(item) for item in value]
    return type(value).__name__


def _files(home: Path) -> set[str]:
    return {str(path) for path in home.rglob("*") if path.is_file()}
