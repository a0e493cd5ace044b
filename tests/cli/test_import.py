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
