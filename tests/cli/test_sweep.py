"""`codctl sweep` as its user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codctl.files import lock
from codctl.runs.directory import RunDirectory
from tests.cli.conftest import MICRO, Cli, codctl

SUITE = "name: quick\nevaluations: [{name: curve, worlds: trained, packs: 2, arms: [own]}]\n"
DEADLINE_S = 180.0


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < ends_s, f"{what} within {DEADLINE_S:.0f} s"
        time.sleep(0.05)


@dataclass(frozen=True)
class Swept:
    """A sweep of two trials, one of which fails."""

    home: Path
    done: subprocess.CompletedProcess[str]

    @property
    def folder(self) -> Path:
        return self.home / "runs" / "sweeps" / "micro-sweep"


FAILS = "action-stop"  # at the first step
ARGUMENTS = (
    "micro.yaml", "health.silent_groups.action=off,stop", "--suite", "quick.yaml"
)  # fmt: skip


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    home = tmp_path_factory.mktemp("swept")
    (home / "micro.yaml").write_text(MICRO)
    (home / "quick.yaml").write_text(SUITE)
    return Swept(home, codctl("sweep", *ARGUMENTS, cwd=home))


def trial(swept: Swept, name: str) -> RunDirectory:
    return RunDirectory.open(swept.folder / "trials" / name)


def test_a_sweep_that_partly_fails_says_which_and_why_and_exits_5(swept: Swept) -> None:
    assert swept.done.returncode == 5, swept.done.stderr
    assert "1 of 2 trials is incomplete" in swept.done.stderr
    assert "--retry-failed" in swept.done.stderr
    assert f"{FAILS} failed (" in swept.done.stderr
    assert "groups without signal" in swept.done.stderr
    assert "INCOMPLETE: 1 of 2 trials" in swept.done.stdout
    assert trial(swept, "action-off").status() == "finished"
    assert trial(swept, FAILS).status() == "failed"


def test_every_trained_model_plays_the_suites_from_a_copy(swept: Swept) -> None:
    run = trial(swept, "action-off")
    result = json.loads((run.path / "suites" / "quick" / "result.json").read_text())
    assert result["subject"]["name"] == "micro-sweep/action-off"
    assert result["command"][:4] == ["codctl", "eval", "--run", "micro-sweep/action-off"]
    kept = list((swept.folder / "suites").glob("quick-*.yaml"))
    assert [path.read_text() for path in kept] == [SUITE]


def test_results_are_summed_up_in_the_folder_of_the_sweep(swept: Swept) -> None:
    result = json.loads((swept.folder / "result.json").read_text())
    assert [(one["name"], one["is_complete"]) for one in result["trials"]] == [("action-off", True), (FAILS, False)]
    assert (swept.folder / "report.html").is_file()
    assert "INCOMPLETE" in (swept.folder / "table.csv").read_text()


def test_the_same_command_again_starts_nothing(swept: Swept, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept.home)
    again = cli("sweep", *ARGUMENTS, "--json")
    assert again.code == 5
    assert again.json["result"]["complete"] is False
    assert list(again.json["result"]["incomplete"]) == [FAILS]
    assert "2 trials: 1 complete, 1 failed earlier (--retry-failed runs them again)" in again.err
    assert len(trial(swept, "action-off").attempts()) == len(trial(swept, FAILS).attempts()) == 1


def test_a_dry_run_shows_what_would_run_and_writes_nothing(
    swept: Swept, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(swept.home)
    before = {path: path.stat().st_mtime_ns for path in swept.folder.rglob("*")}
    more = [argument.replace("action=off", "action=off,warn") for argument in ARGUMENTS]
    shown = cli("sweep", *more, "--retry-failed", "--dry-run")
    assert shown.code == 0
    states = [" ".join(line.split()[3:]) for line in shown.out.splitlines() if line.startswith("action-")]
    assert states == ["complete", "planned → run", "failed → run"]
    assert "2 trainings to run: about 1 min one after the other without suites, " in shown.out
    assert {path: path.stat().st_mtime_ns for path in swept.folder.rglob("*")} == before


def test_another_base_under_the_same_name_is_refused(swept: Swept, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept.home)
    refused = cli("sweep", *ARGUMENTS, "train.lr=5e-3")
    assert refused.code == 6
    assert "train.lr: 0.001 → 0.005" in refused.err
    assert "--name OTHER" in refused.err


def test_a_sweep_has_one_launcher(swept: Swept, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(swept.home)
    with lock.RunLock(swept.folder / "lock"):
        refused = cli("sweep", *ARGUMENTS, "--retry-failed")
        fresh = cli("sweep", *ARGUMENTS, "--fresh")
    assert (refused.code, fresh.code) == (6, 6)
    assert "sweep 'micro-sweep' is in use by process" in refused.err
    assert trial(swept, "action-off").status() == "finished"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["micro.yaml", "seed=range(0)"], 2, "error: override seed=range(0): seed: the axis has no values\n"),
        (["micro.yaml", "seeed=0,1"], 2, "error: override seeed=0,1: unknown key seeed; did you mean seed?\n"),
        (["nothing.yaml"], 2, "(studies: generalization)"),
        (["micro.yaml", "--suite", "ralf-loop"], 2, "did you mean 'ralph-loop'?"),
        (["micro.yaml", "--slurm", "--detach"], 2, "--slurm and --detach cannot be combined"),
        (["micro.yaml", "model.path=Some/Model"], 3, "hf download Some/Model\n"),
        (["generalization", "size=huge"], 2, "there is no size 'huge' (known: tiny, pair, qwen3-8b)"),
        (["broken.yaml"], 2, "error: broken.yaml:3: unknown key sedes; did you mean seeds?\n"),
    ],
)
def test_what_cannot_be_run_is_refused_and_leaves_nothing(
    home: Path, micro: str, cli: Cli, argv: list[str], code: int, message: str
) -> None:
    (home / "broken.yaml").write_text("name: broken\ntrain: {a: {recipe: micro.yaml}}\nsedes: [0]\nevaluate: {}\n")
    done = cli("sweep", *argv)
    assert done.code == code, done.err
    assert message in done.err
    assert not (home / "runs").exists()


def test_the_published_study_can_be_planned_where_it_cannot_run(home: Path, cli: Cli) -> None:
    shown = cli("sweep", "size=qwen3-8b", "--slurm", "--dry-run", "--json")
    assert shown.code == 0
    found = shown.json["result"]
    assert {entry["labels"]["train"] for entry in found["plan"]["trials"]} == {"frozen_lake", "both", "all"}
    assert "preflight" not in found  # its nodes may have what this machine has not
    (script,) = found["sbatch"]
    assert "#SBATCH --gpus-per-node=8" in script
    assert not (home / "runs").exists()
    assert cli("sweep", "generalization", "size=qwen3-8b").code == 3


def test_a_plan_takes_work_in_proportion_to_its_trials(cli: Cli, micro: str) -> None:
    """What this process itself works, a thousand trials against a hundred: no figure of one machine."""

    def worked(seeds: int) -> float:
        started = time.process_time()
        done = cli("sweep", micro, f"seed=range({seeds})", "train.lr=range(0.001,0.011,0.001)", "--dry-run")
        trials = [line for line in done.out.splitlines() if line.startswith("seed-")]
        assert (done.code, len(trials)) == (0, 10 * seeds)
        return time.process_time() - started

    worked(1)  # imports
    assert worked(100) < 30 * worked(10)


def test_ctrl_c_ends_every_trial_and_the_sweep_can_be_resumed(home: Path, micro: str, cli: Cli) -> None:
    argv = ["sweep", micro, "seed=0,1", "train.steps=200", "--max-parallel", "1"]
    command = [sys.executable, "-m", "codctl.cli.main", *argv]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = RunDirectory(home / "runs/sweeps/micro-sweep/trials/seed-0")
    try:
        wait_for(lambda: (run.path / "attempts/001/attempt.json").is_file(), "the first trial starts")
        worker = json.loads((run.path / "attempts/001/attempt.json").read_text())["pid"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "saving and stopping 1 job, within" in err
    assert err.endswith("error: interrupted: 0 of 2 trials trained\n  → codctl resume micro-sweep\n")
    assert RunDirectory(home / "runs/sweeps/micro-sweep").dispatch()["max_parallel"] == 1
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert run.status() == "interrupted"
    shown: list[dict[str, Any]] = cli(*argv, "--dry-run", "--json").json["result"]["states"]
    assert [(one["status"], one["verdict"]) for one in shown] == [("interrupted", "run"), ("planned", "run")]


def test_a_detached_sweep_goes_on_alone(home: Path, micro: str, cli: Cli) -> None:
    sent = codctl("sweep", micro, "seed=0,1", "--detach", "--json", cwd=home)
    assert sent.returncode == 0, sent.stderr
    folder = home / "runs" / "sweeps" / "micro-sweep"
    assert json.loads(sent.stdout)["result"]["pid"]
    wait_for(lambda: not lock.is_locked(folder / "lock"), "the launcher ends")
    log = (folder / "launcher.log").read_text()
    assert "finished (2 of 2 ended, 0 running)" in log
    assert json.loads((folder / "result.json").read_text())["complete"] is True
    assert cli("sweep", micro, "seed=0,1", "--json").json["result"]["complete"] is True


def test_nothing_starts_that_was_not_named(cli: Cli, home: Path) -> None:
    bare = cli("sweep")
    assert bare.code == 2
    assert "name a study or a recipe" in bare.err
    assert "codctl sweep generalization" in bare.err
    assert "codctl sweep generalization seed=0..1" in cli("sweep", "seed=0..1").err
    assert not (home / "runs").exists()
