"""codctl import and export: what other tools have written, and what is written for them."""

from __future__ import annotations

from pathlib import Path

import pytest

LAKE = Path(__file__).parents[1] / "trinity" / "lake.yaml"


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRINITY_MODEL_PATH", "Qwen/Qwen3-8B")


def test_a_configuration_becomes_a_recipe_once(tmp_path: Path, cli) -> None:
    out = tmp_path / "lake.yaml"
    found = cli("import", "trinity", str(LAKE), "-o", str(out))
    assert found.code == 0
    assert "buffer.train_batch_size" in found.out
    again = cli("import", "trinity", str(LAKE), "-o", str(out), "--json")
    assert again.code == 6
    plan = cli("plan", str(out), "--json")
    assert plan.json["result"]["steps"] == 1562


def test_without_a_file_the_recipe_is_stdout_and_the_fates_are_talk(cli) -> None:
    found = cli("import", "trinity", str(LAKE))
    assert found.code == 0
    assert found.out.startswith("# Imported from lake.yaml")
    assert "cluster only" in found.err


def test_json_has_both(cli) -> None:
    result = cli("import", "trinity", str(LAKE), "--json").json["result"]
    assert result["recipe"]["train"]["rollouts"] == 8
    assert {fate["outcome"] for fate in result["fates"]} == {"used", "no counterpart", "cluster only"}


def test_a_run_is_written_for_trinity_and_its_model_is_read_back_equal(tmp_path: Path, cli, trained) -> None:
    import torch
    from safetensors.torch import load_file

    from codctl.models import hub
    from codctl.models.load import load_model
    from codctl.runs.directory import RunDirectory

    out = tmp_path / "for-trinity"
    line = ("export", "trinity", "micro", "--out", str(out), "--runs-dir", str(trained.runs_dir))
    result = cli(*line, "--step", "1", "--step", "final", "--json").json["result"]
    assert result["steps"] == [1, 2]
    top = out / "checkpoints" / "codctl" / "codctl" / "micro"
    latest = {"latest_checkpointed_iteration.txt", "latest_state_dict_iteration.txt"}
    assert {path.name for path in top.iterdir()} == {"global_step_1", "global_step_2", *latest}
    assert {(top / name).read_text() for name in latest} == {"2\n"}
    actor = top / "global_step_2" / "actor"
    assert {path.name for path in actor.iterdir()} == {"model.safetensors", "huggingface"}
    files = {path.name for path in (actor / "huggingface").iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= files
    assert not [name for name in files if name.endswith((".safetensors", ".bin", ".pt"))]
    assert any("no worlds like frozen_lake tiny" in note for note in result["notes"])
    final = RunDirectory.open(trained.runs_dir / "micro").final_model
    own = load_file(final / "model.safetensors")
    read = load_model(hub.located(str(actor.parent)), "float32", "cpu").state_dict()
    assert all(torch.equal(read[name], own[name]) for name in own)
    assert cli(*line).code == 6  # it never overwrites


def test_a_checkpoint_is_a_model_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codctl.errors import PreflightError
    from codctl.models import hub

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    step = tmp_path / "global_step_7"
    settings = step / "actor" / "huggingface"
    settings.mkdir(parents=True)
    (settings / "config.json").write_text("{}")
    (step / "actor" / "model_world_size_2_rank_0.pt").write_bytes(b"pickle")
    with pytest.raises(PreflightError, match="pickled shards are not loaded") as caught:
        hub.located(str(step))
    assert f"trinity convert --checkpoint-dir {step} --base-model-dir BASE" in caught.value.hint
    assert hub.located(str(step), weights=False) == settings
    (step / "actor" / "model.safetensors").write_bytes(b"one")
    for path in (step, step / "actor"):
        found = hub.located(str(path))
        assert (found / "model.safetensors").read_bytes() == b"one"
        assert (found / "config.json").read_text() == "{}"
    (settings / "model.safetensors").write_bytes(b"converted")
    assert hub.located(str(step)) == settings


def test_data_and_logs_are_shown(tmp_path: Path, cli) -> None:
    from codctl.config.schema import WorldRef
    from codctl.trinity.written import write_data

    write_data(WorldRef(family="frozen_lake", preset="easy"), tmp_path)
    line = ("import", "trinity-data", str(tmp_path / "frozen_lake_easy"), "--split", "test", "--length", "8")
    found = cli(*line, "--packs", "1", "--json").json["result"]
    assert (found["family"], found["packs"], found["published"]) == ("frozen_lake", 500, True)
    assert found["worlds"] == ["up=K down=Z left=X right=Q"]
    assert "all of them" in cli(*line).out
    assert cli("import", "trinity-logs", str(tmp_path)).code == 2


SAMPLES = Path(__file__).parents[1] / "sessions" / "samples"


def test_sessions_become_a_folder_and_what_they_lack_is_told(tmp_path: Path, cli) -> None:
    out = tmp_path / "imported"
    line = ("import", "sessions", str(SAMPLES / "claude-code.jsonl"), str(SAMPLES / "hermes.jsonl"), "-o", str(out))
    found = cli(*line, "--mask", "--world", "frozen_lake", "--preset", "easy", "--verify", "grep -q 'the goal'")
    assert found.code == 0
    assert "masked          1 email, 1 home" in found.out
    assert "2 of 2 have no exact tokens" in found.out
    assert f"next            codctl train RECIPE warm_start.demonstrations={out}" in found.out
    assert cli(*line).code == 6
    rows = cli("export", "atif", str(out), "-o", str(tmp_path / "atif"), "--json").json["result"]
    assert (rows["documents"], rows["sessions"]) == (2, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--reward", "1", "--verify", "true"), "--reward and --verify both give rewards"),
        (("--reward", "nan"), "expected a finite number, got nan"),
        (("--verify", "'"), "the command cannot be read"),
        (("--verify", " "), "the command is empty"),
        (("--world", "frozen_lak"), "frozen_lake"),
        (("--from", "claude"), "claude-code"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, cli, options: tuple[str, ...], said: str
) -> None:
    found = cli("import", "sessions", str(SAMPLES / "hermes.jsonl"), "-o", str(tmp_path / "out"), *options)
    assert found.code == 2
    assert said in found.err
    assert not (tmp_path / "out").exists()


def test_trajectories_of_a_run_are_written_as_atif(tmp_path: Path, cli, trained) -> None:
    import json

    from tests.sessions.atif_rules import check

    line = ("export", "atif", "micro", "--runs-dir", str(trained.runs_dir))
    result = cli(*line, "--out", str(tmp_path / "after"), "--arm", "own", "--json").json["result"]
    assert result["documents"] == 10  # two packs of three tasks and two updates
    documents = [json.loads(path.read_text()) for path in (tmp_path / "after").glob("micro-*.json")]
    for document in documents:
        check(document)
    first = next(one for one in documents if one["extra"]["kind"] == "solve" and one["extra"]["position"] == 0)
    assert [step["source"] for step in first["steps"][:3]] == ["system", "user", "agent"]
    assert first["steps"][0]["message"] == "lake hints none"
    assert (first["extra"]["reward"], first["extra"]["outcome"]) == (0.0, "cut")
    trained_on = cli(*line, "--out", str(tmp_path / "step"), "--source", "training", "--step", "1", "--limit", "1")
    assert trained_on.code == 0
    assert len(list((tmp_path / "step").glob("micro-*.json"))) == 5
    assert cli(*line, "--out", str(tmp_path / "none"), "--arm", "oracle").code == 2
