"""A run that came from elsewhere imports nothing: wherever a file of it names code, and whatever reads that file."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl import trust
from codctl.cli.main import run
from codctl.errors import PreflightError
from codctl.pipeline.trial import play_suites
from codctl.runs.directory import RunDirectory
from codctl.train.preflight import preflight
from tests.hostile import base, commands

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and its friends warn about each other

STRANGER = "codctl_stranger:Thing"
KEYS = ("engine.kind", "train.loss.kind", "train.credit.returns", "evaluation.arms", "tracking.sinks")


class Silent:
    def update(self, *_: object) -> None: ...
    def message(self, _: str) -> None: ...


@pytest.fixture
def home(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the runs, the module that theirs name where Python finds it, and a home that trusts nothing."""
    home = tmp_path / "home"
    base.copy(source, home)
    sys.modules.pop("codctl_stranger", None)
    (tmp_path / "codctl_stranger.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(trust.TRUSTED, "")
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def was_imported(tmp_path: Path) -> Callable[[], bool]:
    return (tmp_path / "imported").exists


def name_it(path: Path, *keys: str) -> None:
    """Let keys of a JSON file, `a.b` each, name the stranger; a list holds it as its second item."""
    content = json.loads(path.read_text())
    for key in keys:
        *above, last = key.split(".")
        place = content
        for part in above:
            place = place[int(part) if part.isdecimal() else part]
        place[last] = [*place[last][:1], STRANGER] if isinstance(place[last], list) else STRANGER
    path.unlink()
    path.write_text(json.dumps(content))


def name_it_everywhere(runs: Path, *keys: str) -> None:
    for path in runs.rglob("config.json"):
        if base.BYSTANDER not in path.parts and "config" in json.loads(path.read_text()):
            name_it(path, *(f"config.{key}" for key in keys))
    for path in runs.rglob("dispatch.json"):
        name_it(path, "where")
    for path in runs.rglob("result.json"):
        content = json.loads(path.read_text())
        for part in content.get("parts", []):
            part["strategy"] = STRANGER
            part["arms"][STRANGER] = next(iter(part["arms"].values()))
        path.unlink()
        path.write_text(json.dumps(content))


@pytest.mark.parametrize(("keys", "target", "turn"), [(KEYS, "half", 0), (KEYS[1:], "micro", 1)])
def test_no_command_imports_what_a_run_names(
    home: Path, keys: tuple[str, ...], target: str, turn: int, was_imported: Callable[[], bool], capsys: Any
) -> None:
    name_it_everywhere(home / "runs", *keys)
    one, other = base.evaluations(home)
    for words in commands.lines(target, base.SWEEP, one, other, turn):
        assert run(words) != 1, words
        assert not was_imported(), words
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("key", KEYS[:-1])
def test_such_a_run_is_not_continued(
    key: str, home: Path, was_imported: Callable[[], bool], capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    name_it(home / "runs" / "half" / "config.json", f"config.{key}")
    (home / "runs" / "half" / "dispatch.json").unlink()
    assert run(["resume", "half", "--local"]) == 6
    found = " ".join(capsys.readouterr().err.split())
    assert f"this run was made in another folder, so its {key} is not imported: {STRANGER}" in found
    assert f"if you trust it: export CODCTL_TRUSTED={STRANGER}" in found
    assert not was_imported()
    monkeypatch.setenv(trust.TRUSTED, STRANGER)
    with pytest.raises(PreflightError, match="cannot be used"):  # it is imported now, and has no `Thing`
        preflight(RunDirectory(home / "runs" / "half").config())
    assert was_imported()


@pytest.mark.parametrize("override", [f"strategy={STRANGER}", f"arms=[own,{STRANGER}]"])
def test_no_suite_of_a_trial_imports_anything(override: str, home: Path, was_imported: Callable[[], bool]) -> None:
    trial = RunDirectory(home / "runs" / "sweeps" / base.SWEEP / "trials" / base.TRIAL)
    content = json.loads((trial.path / "trial.json").read_text())
    content["suites"] = [{"name": "more", "suite": "position-curve", "overrides": [override, "packs=2"]}]
    (trial.path / "trial.json").write_text(json.dumps(content))
    with pytest.raises(PreflightError, match="is not imported: only the folder of a run names it"):
        play_suites(trial, trial.config(), Silent())
    assert not was_imported()


def test_a_run_that_was_made_here_keeps_its_own(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/none")
    monkeypatch.setenv(trust.TRUSTED, "")
    shutil.copytree(source / "runs" / "half", tmp_path / "half")
    run = RunDirectory(tmp_path / "half")
    name_it(run.path / "config.json", "config.train.loss.kind")
    run.config()
    assert os.environ[trust.TRUSTED] == ""
    run.write_dispatch(
        {"where": "local", "jobs": [], "code": "0" * 16}
    )  # as one that was submitted from this very folder
    run.config()
    assert os.environ[trust.TRUSTED] == STRANGER
