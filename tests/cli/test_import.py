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
