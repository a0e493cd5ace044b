from __future__ import annotations

import pytest


def test_the_promised_object_for_a_policy(cli) -> None:
    outcome = cli(
        "eval", "--suite", "position-curve", "--policy", "bayes",
        "family=frozen_lake", "preset=hard", "length=3", "--limit", "30", "--json",
    )  # fmt: skip
    assert outcome.code == 0
    found = outcome.json
    assert (found["schema"], found["command"]) == (1, "eval")
    result = found["result"]
    assert (result["suite"], result["packs"], result["length"]) == ("position-curve", 30, 3)
    assert (result["family"], result["preset"]) == ("frozen_lake", "hard")
    own = result["arms"]["own"]
    assert [point["position"] for point in own["success"]] == [0, 1, 2]
    assert set(own["success"][0]) == {"position", "mean", "low", "high"}
    assert own["hint_correctness"][0]["position"] == 1
    assert [point["mean"] for point in own["success"]] == pytest.approx(result["ceilings"]["bayes"])
    assert result["ceilings"]["informed"] == [1.0, 1.0, 1.0]


def test_a_run_is_evaluated_on_the_worlds_it_was_trained_on(cli, trained) -> None:
    argv = ["eval", "--run", "micro", "--runs-dir", str(trained.runs_dir), "--limit", "2", "arms=[own,none]"]
    result = cli(*argv, "--json").json["result"]
    assert (result["run"], result["preset"], result["length"]) == ("micro", "tiny", 3)
    assert set(result["arms"]) == {"own", "none"}
    text = cli(*argv, "length=2").out
    assert text.startswith("position-curve: frozen_lake tiny, 2 packs of 2\n")
    assert "position 1" in text
    assert "position 2" not in text


def test_a_model_folder_is_evaluated_like_its_run(cli, trained) -> None:
    folder = trained.runs_dir / "micro" / "stages" / "cod_train" / "final"
    shared = ["--limit", "2", "arms=[own]", "--json"]
    by_model = cli("eval", "--model", str(folder), *shared).json["result"]
    by_run = cli("eval", "--run", "micro", "--runs-dir", str(trained.runs_dir), *shared).json["result"]
    assert by_model["model"] == str(folder)
    assert by_model["arms"] == by_run["arms"]
