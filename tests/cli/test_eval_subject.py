"""Which model `codctl eval` plays: named, found, refused, or every saved one of a run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

LITTLE = ["--limit", "2", "length=2", "arms=[own]"]


@pytest.fixture
def micro_run(trained, home: Path) -> Path:
    """A finished run of one's own; its checkpoints are those of steps 1 and 2."""
    return Path(shutil.copytree(trained.runs_dir / "micro", home / "runs" / "micro"))


def test_without_a_subject_the_only_finished_run_is_played(cli, micro_run: Path) -> None:
    outcome = cli("eval", "--suite", "position-curve", *LITTLE)
    assert outcome.code == 0
    assert "run micro is the only finished run in runs: it is evaluated" in outcome.err
    assert outcome.out.startswith("run micro, final model (step 2)\n")


def test_of_several_runs_each_is_listed_with_the_line_to_type(cli, micro_run: Path) -> None:
    shutil.copytree(micro_run, micro_run.with_name("other"))
    outcome = cli("eval", "--suite", "ralph-loop")
    assert (outcome.code, outcome.out) == (2, "")
    assert "run micro, finished: final (step 2), warm-start, steps 1, 2" in outcome.err
    assert "→ codctl eval --suite ralph-loop --run other" in outcome.err


def test_a_bare_command_lists_what_there_is(cli, micro_run: Path) -> None:
    outcome = cli("eval")
    assert outcome.code == 2
    assert "`codctl eval --list` shows the suites" in outcome.err
    assert "→ codctl eval --suite position-curve --run micro" in outcome.err
    shutil.rmtree(micro_run)
    assert "no run in runs has saved a model: codctl train tiny" in cli("eval").err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--policy", "bayes", "--run", "micro"], "--run and --policy name different models"),
        (["--policy", "bayes", "--step", "3"], "--step chooses a model of a run"),
        (["--policy", "bayes", "--concurrency", "4"], "--concurrency is for --endpoint"),
        (["--run", "micro", "--price", "1,2"], "--price is for --endpoint"),
        (["--policy", "bayes", "--limit", "4", "packs=9"], "--limit 4 and packs=9 both set the number of packs"),
        (["--policy", "bayes", "--every-checkpoint"], "--every-checkpoint evaluates all saved models of a run"),
        (["--policy", "bayes", "--slurm", "--open"], "--open has nothing to open with --slurm"),
        (["--policy", "bayes", "temperature=0.5"], "temperature means nothing to a scripted policy"),
        (["--endpoint", "http://127.0.0.1:1/v1", "--model-name", "m", "--price", "1,inf"], "expected two prices"),
        (["--policy", "bayes", "--limit", "4", "rendering=poem"], "rendering"),
        (["--policy", "bayes", "model.dtype=bfloat16"], "model.dtype would change nothing: the scripted policy bayes"),
        (
            ["--endpoint", "http://127.0.0.1:1/v1", "--model-name", "m", "runtime.max_batch=4", "engine.kind=vllm"],
            "runtime.max_batch and engine.kind would change nothing: the server runs m",
        ),
        (["--policy", "bayes", "train.lr=1"], "train.lr belongs to training; an evaluation takes model.dtype,"),
        (["--policy", "bayes", "model.dtpye=bfloat16"], 'unknown key "model.dtpye"; did you mean "model.dtype"?'),
        (["--policy", "bayes", "model.dtype=int4"], "model.dtype: expected one of float32, bfloat16"),
    ],
)
def test_an_option_that_would_count_for_nothing_is_refused(cli, argv: list[str], said: str) -> None:
    outcome = cli("eval", "--suite", "position-curve", *argv)
    assert outcome.code == 2
    assert said in outcome.err


def test_a_model_of_unknown_training_is_played_and_says_on_what(cli, tiny_folder: Path, home: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder, home / "foreign"))
    (folder / "codctl.json").unlink(missing_ok=True)
    outcome = cli(
        "eval", "--model", str(folder), *LITTLE, "preset=tiny", "rendering=compact", "solve_tokens=4", "update_tokens=4"
    )
    assert outcome.code == 0
    assert "foreign has no codctl.json that says what it was trained on" in outcome.err
    assert outcome.out.startswith(f"model {folder}\n")


def test_every_checkpoint_is_one_curve_over_the_steps(cli, micro_run: Path, home: Path) -> None:
    argv = ["eval", "--run", "micro", "--every-checkpoint", "--limit", "3", "arms=[own,none]"]
    outcome = cli(*argv)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("run micro, every saved model (3)\n")
    assert "\nposition-curve: frozen_lake tiny, the same 3 packs of 3 for each model\n" in outcome.out
    assert re.findall(r"^ +(\d) +own ", outcome.out, re.MULTILINE) == ["0", "1", "2"]
    result = cli(*argv, "--json").json["result"]
    assert [model["title"] for model in result["models"]] == [
        "run micro, warm start (step 0)", "run micro, step 1 of 2", "run micro, final model (step 2)"
    ]  # fmt: skip
    points = result["parts"][0]["arms"]["own"]
    assert [point["step"] for point in points] == [0, 1, 2]
    alone = cli("eval", "--run", "micro", "--step", "1", "--limit", "3", "arms=[own,none]", "--json").json["result"]
    assert alone["folder"] == result["models"][1]["evaluation"]
    assert alone["parts"][0]["arms"]["own"]["success"] == points[1]["success"]
    page = (home / result["folder"] / "report.html").read_text()
    assert "Success by step, own hints" in page
    assert "<h1>Success at position 3, own hints: 0\xa0% at step 0, 0\xa0% at step 2</h1>" in page
    assert page.count("position 3") >= 2
    assert "://" not in page
    assert cli(*argv).out == outcome.out


@pytest.mark.parametrize("every", [False, True])
def test_a_job_plays_the_model_that_was_found_when_it_was_submitted(
    cli, micro_run: Path, monkeypatch: pytest.MonkeyPatch, every: bool
) -> None:
    sent: list[list[str]] = []

    def submit(argv: list[str], cluster: object, *, folder: Path, where: str, **_: object) -> dict[str, object]:
        assert where == "slurm"
        sent.append(argv)
        return {"folder": str(folder), "jobs": ["7"]}

    monkeypatch.setattr("codctl.jobs.launch.send_command", submit)
    shutil.rmtree(micro_run / "stages" / "cod_train" / "final")
    argv = ["eval", "--suite", "ralph-loop", *(["--every-checkpoint"] if every else []), "--slurm"]
    monkeypatch.setattr("sys.argv", ["codctl", *argv])
    outcome = cli(*argv)
    assert outcome.code == 0, outcome.err
    chosen = ["--run", "micro"] if every else ["--run", "micro", "--step", "2"]
    assert sent == [[*argv[:-1], *chosen]]
    assert every or outcome.out.startswith("run micro, step 2 of 2\n")
    assert not (micro_run.parent / "evaluations").exists()


def test_resource_keys_say_how_a_model_runs_and_the_type_is_part_of_the_result(cli, tiny_folder: Path) -> None:
    argv = ["eval", "--model", str(tiny_folder), *LITTLE, "solve_tokens=4", "update_tokens=4", "rendering=compact"]
    argv += ["preset=tiny", "--json"]
    usual = cli(*argv).json["result"]
    assert usual["subject"]["dtype"] == "float32"
    faster = cli(*argv, "runtime.max_batch=1", "runtime.threads=1").json["result"]
    assert faster["digest"] == usual["digest"]
    other = cli(*argv, "model.dtype=bfloat16").json["result"]
    assert other["subject"]["dtype"] == "bfloat16"
    assert other["folder"] != usual["folder"]


def test_vllm_plays_any_folder(cli, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codctl.engines.vllm.settings.find_spec", lambda name: None)
    outcome = cli("eval", "--model", str(tiny_folder), *LITTLE, "rendering=compact", "engine.kind=vllm")
    assert "engine.kind=vllm, but vllm is not installed" in outcome.err


def test_the_models_of_a_run_take_resource_keys_too(cli, micro_run: Path) -> None:
    argv = ["eval", "--run", "micro", *LITTLE, "--json"]
    usual = cli(*argv).json["result"]
    other = cli(*argv, "model.dtype=bfloat16", "--every-checkpoint").json["result"]
    assert {model["dtype"] for model in other["models"]} == {"bfloat16"}
    assert usual["folder"] not in [model["evaluation"] for model in other["models"]]


def test_the_folder_of_a_checkpoint_is_the_step_of_its_run(cli, micro_run: Path) -> None:
    folder = micro_run / "stages" / "cod_train" / "checkpoints" / "step-000001"
    outcome = cli("eval", "--model", str(folder), *LITTLE)
    assert outcome.code == 0, outcome.err
    assert outcome.out == cli("eval", "--run", "micro", "--step", "1", *LITTLE).out
    shutil.rmtree(folder)
    assert "no saved model '1'" in cli("eval", "--model", str(folder), *LITTLE).err
