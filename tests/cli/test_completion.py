"""The Tab key, by the protocol that shells speak."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codctl.cli.main import run


@pytest.fixture
def complete(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What bash would offer for a line; its last word is the one that is being typed."""
    for name in ("short", "tiny"):
        (home / "runs" / name).mkdir(parents=True)
        (home / "runs" / name / "manifest.json").touch()
    for step in (9, 10, 20):
        (home / "runs" / "tiny" / "stages" / "cod_train" / "checkpoints" / f"step-{step:06}").mkdir(parents=True)
    stored = home / "runs" / "tiny" / "stages" / "cod_train" / "rollouts"
    stored.mkdir()
    (stored / "step-000008.parquet").touch()
    trial = home / "runs" / "sweeps" / "grid" / "trials" / "seed-0"
    trial.mkdir(parents=True)
    (trial / "manifest.json").touch()
    (trial.parents[1] / "sweep.json").touch()
    (home / "runs" / "evaluations" / "tiny-robustness-12345678").mkdir(parents=True)
    (home / "mine.yaml").touch()

    def call(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_CODCTL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        assert run([]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.split()

    return call


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("codctl tr", ["train"]),
        ("codctl recipe val", ["validate"]),
        ("codctl train --det", ["--detach"]),
        ("codctl train tiny-m", ["tiny-mixture"]),
        ("codctl train mi", ["mine.yaml"]),
        ("codctl report s", ["short"]),
        ("codctl report grid/", ["grid/seed-0"]),
        ("codctl runs compare short t", ["tiny"]),
        ("codctl cancel g", ["grid"]),
        ("codctl status ", ["grid", "short", "tiny"]),
        ("codctl eval --suite r", ["ralph-loop", "robustness"]),
        ("codctl eval --run s", ["short"]),
        ("codctl eval --run=s", ["short"]),
        ("codctl eval --run tiny --step ", ["10", "20", "9", "final", "newest", "warm-start"]),
        ("codctl evals show t", ["tiny-robustness-12345678"]),
        ("codctl eval --policy b", ["bayes"]),
        ("codctl eval pac", ["packs=", "packs=500"]),
        ("codctl eval strategy = di", ["distractor"]),
        ("codctl env play f", ["frozen_lake"]),
        ("codctl env play frozen_lake --preset t", ["tiny"]),
        ("codctl env play alchemy --variant d", ["default"]),
        ("codctl env play terminal --variant d", []),
        ("codctl credit tiny --step ", ["8"]),
        ("codctl env play frozen_lake --strategy d", ["distractor", "drift"]),
        ("codctl recipe explain train.lr_", ["train.lr_schedule", "train.lr_warmup_steps"]),
        ("codctl recipe explain ev", ["eval", "evaluation"]),
        ("codctl train tiny train.lr", ["train.lr=", "train.lr_schedule=", "train.lr_warmup_steps="]),
        ("codctl train tiny train.lr_schedule =", ["constant", "cosine", "linear"]),
        ("codctl train tiny train.lr_schedule = co", ["constant", "cosine"]),
        ("codctl train tiny tracking.mlflow = ", ["false", "true"]),
        ("codctl sweep gen", ["generalization"]),
        ("codctl docs sca", ["scaling"]),
        ("codctl train no-such-thing", []),
    ],
)
def test_offers(complete, line: str, offered: list[str]) -> None:
    found = sorted(complete(line))
    assert [text for text in found if not text.startswith("evaluation.")] == offered


def test_a_key_alone_gets_no_space_behind_its_sign(complete) -> None:
    """Shells put a space behind a lone offer: there are two."""
    assert len(complete("codctl train tiny train.lr_sch")) > 1
    assert len(complete("codctl train tiny train.grad_cl")) > 1


def test_another_runs_folder(complete, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "runs").rename(home / "other")
    assert complete("codctl report s") == []
    assert complete("codctl report --runs-dir other s") == ["short"]
    monkeypatch.setenv("CODCTL_RUNS_DIR", "other")
    assert complete("codctl report s") == ["short"]


def test_it_never_fails(complete, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("a plug-in")

    monkeypatch.setattr("codctl.envs.registry.families", broken)
    assert complete("codctl env play f") == []
    (home / "runs" / "tiny" / "stages" / "cod_train" / "checkpoints" / "step-x").mkdir()
    assert complete("codctl eval --run tiny --step ") == []
    assert complete("codctl report --runs-dir /dev/null ") == []


def test_zsh_and_fish_get_whole_words(home: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "codctl train tiny train.lr_schedule=li")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    for shell in ("zsh", "fish"):
        monkeypatch.setenv("_CODCTL_COMPLETE", f"complete_{shell}")
        assert run([]) == 0
        assert "train.lr_schedule=linear" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_in_bash_and_without_torch(tmp_path: Path) -> None:
    """With the script that `--show-completion` prints; what it runs loads no model library."""
    tool = tmp_path / "codctl"
    tool.write_text(
        f"#!{sys.executable}\n"
        "import atexit, sys\n"
        "heavy = lambda: {'torch', 'transformers', 'mlflow', 'datasets', 'trl'} & set(sys.modules)\n"
        "atexit.register(lambda: heavy() and print('LOADED', heavy()))\n"
        "from codctl.cli.main import main\n"
        "main()\n"
    )
    tool.chmod(0o755)
    code = (
        'source <(_CODCTL_COMPLETE=source_bash codctl); COMP_WORDS=(codctl "$@"); COMP_CWORD=$#; '
        '_codctl_completion codctl; echo "${COMPREPLY[@]}"'
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for words, offered in ((["train", "tiny-m"], "tiny-mixture"), (["env", "play", "f"], "frozen_lake")):
        done = subprocess.run(["bash", "--norc", "-c", code, "bash", *words], env=env, capture_output=True, text=True)
        assert (done.stdout.strip(), done.stderr) == (offered, "")
