"""`codctl train RECIPE --dry-run` as a planner."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NO_GPU = "from codctl.plan import hardware; hardware._visible = tuple\n"


@pytest.fixture(autouse=True)
def _no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    from codctl.plan import hardware

    monkeypatch.setattr(hardware, "_visible", tuple)


def test_a_dry_run_prints_the_plan_and_writes_nothing(cli, home, micro: str) -> None:
    outcome = cli("train", micro, "--dry-run", "train.steps=3", "--name", "other")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0].startswith("run       other, digest ")
    for expected in ("device    CPU, 1 thread", "weights, trained", "3 rollout steps", "An estimate"):
        assert expected in outcome.out
    assert [path.name for path in home.iterdir()] == [micro]


def test_the_plan_as_json_comes_with_the_frozen_config(cli, micro: str) -> None:
    result = cli("train", micro, "--dry-run", "train.steps=3", "--json").json["result"]
    assert set(result) == {"digest", "config", "plan"}
    assert (result["config"]["train"]["steps"], result["plan"]["steps"]) == (3, 3)
    assert result["plan"]["gpu"] is None
    assert result["plan"]["tokens"]["trajectories"] == 4


def test_the_published_recipe_is_planned_without_gpu_network_or_weights(home) -> None:
    """And without loading what takes long to load."""
    code = (
        f"import sys, json\n{NO_GPU}from codctl.cli.main import run\n"
        "code = run(['train', 'qwen3-8b', '--dry-run'])\n"
        "heavy = {'torch', 'transformers', 'vllm', 'peft', 'submitit', 'mlflow'} & set(sys.modules)\n"
        "print(json.dumps([code, sorted(heavy)]), file=sys.stderr)\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stderr.splitlines()[-1]) == [0, []]
    for expected in (
        "8,190,735,360 parameters, all trained",
        "8 × h100-80gb, 79.6 GiB each (cluster.gpu)",
        "2 engines × 2 GPUs on GPUs 0–3",
        "4 processes, fsdp",
        "÷ 4 processes",
        "GPU-hours",
    ):
        assert expected in done.stdout


def test_with_slurm_the_job_script_follows_the_plan(cli, micro: str) -> None:
    outcome = cli("train", micro, "--dry-run", "--slurm")
    assert outcome.code == 0
    plan, script = outcome.out.split("#!/bin/bash")
    assert "An estimate" in plan
    assert "#SBATCH --nodes=1" in script
    assert cli("train", micro, "--dry-run", "--slurm", "--json").json["result"]["sbatch"].startswith("#!/bin/bash")


def test_a_plan_that_cannot_fit_is_shown_and_refused(cli) -> None:
    outcome = cli("train", "qwen3-8b", "--dry-run", "train.activation_checkpointing=false")
    assert outcome.code == 3
    assert "DOES NOT FIT" in outcome.out
    assert "GPUs 4–7: to learn takes" in outcome.err
    assert "→ train.activation_checkpointing=true" in outcome.err
    refused = cli("train", "qwen3-8b", "--dry-run", "train.activation_checkpointing=false", "--json")
    assert refused.json["error"]["kind"] == "preflight"


def test_an_unknown_kind_of_gpu_is_named(cli, micro: str) -> None:
    outcome = cli("train", micro, "--dry-run", "cluster.gpu=h300")
    assert outcome.code == 2
    assert "cluster.gpu" in outcome.err
    assert "h200" in outcome.err


def test_every_shipped_recipe_has_a_plan(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from codctl.config.recipes import shipped_recipes

    monkeypatch.setattr("codctl.plan.devices.machine_memory", lambda: 16 << 30)
    for recipe in shipped_recipes():
        outcome = cli("train", recipe.name, "--dry-run")
        assert outcome.code == 0, f"{recipe.name}: {outcome.err}"
        assert "total " in outcome.out


def test_what_this_machine_cannot_hold_is_refused_unless_it_runs_elsewhere(
    cli, micro: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codctl.plan.devices.machine_memory", lambda: 3 << 29)
    monkeypatch.setattr("codctl.plan.fit.machine_memory", lambda: 3 << 29)
    outcome = cli("train", "smollm2-135m", "--dry-run")
    assert outcome.code == 3
    assert "of 1.5 GiB  DOES NOT FIT" in outcome.out
    assert cli("train", "smollm2-135m", "--dry-run", "--slurm").code == 0


def test_a_plan_without_a_run(cli, home, micro: str) -> None:
    outcome = cli("plan", micro, "train.steps=3")
    assert (outcome.code, outcome.err) == (0, "")
    assert "each second" in outcome.out
    assert cli("plan", micro, "train.steps=3", "--json").json["result"]["steps"] == 3
    assert [path.name for path in home.iterdir()] == [micro]
    assert cli("plan", "qwen3-8b", "train.activation_checkpointing=false").code == 3


def test_the_best_layouts_are_named_with_what_to_type(cli) -> None:
    outcome = cli("plan", "qwen3-8b", "--best", "engine.tensor_parallel=1", "engine.lead=0")
    assert outcome.code == 0
    assert "\n1. engine." in outcome.out
    result = cli("plan", "qwen3-8b", "--best", "engine.tensor_parallel=1", "engine.lead=0", "--json").json["result"]
    assert result["best"][0]["step"] < result["now"]["step"]
    assert result["best"][0]["overrides"]


def test_figures_of_ones_own_come_from_a_file(cli, home) -> None:
    (home / "rates.yaml").write_text("decode_share: 0.8\nstep_s: 1e-3\n")
    usual, own = (
        cli("plan", "qwen3-8b", "--json", *words).json["result"]["step"]["step"]
        for words in ([], ["--rates", "rates.yaml"])
    )
    assert own < usual
    shown = cli("plan", "qwen3-8b", "--show-rates", "--rates", "rates.yaml")
    [line] = [line for line in shown.out.splitlines() if line.startswith("decode_share")]
    assert line.split()[1] == "0.8"
    assert line.endswith("yours")
    (home / "rates.yaml").write_text("speed: 3\n")
    refused = cli("plan", "qwen3-8b", "--rates", "rates.yaml")
    assert refused.code == 2
    assert "no rate is called 'speed'" in refused.err
