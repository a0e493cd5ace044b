from __future__ import annotations

import io
import json
from pathlib import Path

import pytest


def test_list(cli) -> None:
    [family] = cli("env", "list", "--json").json["result"]["families"]
    assert family["name"] == "frozen_lake"
    assert family["presets"] == ["tiny", "easy", "hard"]
    assert "frozen_lake" in cli("env", "list").out


def test_watch_a_policy_that_knows_the_world(cli) -> None:
    outcome = cli("env", "play", "frozen_lake", "--policy", "informed", "--length", "3")
    assert outcome.code == 0
    assert outcome.out.endswith("rewards by position: 1 1 1\n")
    assert outcome.out == cli("env", "play", "frozen_lake", "--policy", "informed", "--length", "3").out


def test_a_person_plays_and_their_hints_come_back(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("walk\nK is a mystery\n"))
    outcome = cli("env", "play", "frozen_lake", "--length", "2")
    assert outcome.code == 0
    first, second = outcome.out.split("=== task 2 of 2")
    assert "'walk' is not an action" in first
    assert "K is a mystery" in second
    assert outcome.out.endswith("rewards by position: 0\n")  # stdin ended in the second task


def test_generate_is_idempotent_and_repairs(cli, home: Path) -> None:
    argv = ["env", "generate", "frozen_lake", "--packs", "3", "--length", "2", "--split", "test", "--json"]
    first = cli(*argv).json["result"]
    folder = Path(first["path"])
    assert first == {"path": "datasets/frozen_lake-tiny-test-3x2-full", "packs": 3, "written": True}
    rows = [json.loads(line) for line in (folder / "packs.jsonl").read_text().splitlines()]
    assert [row["pack"] for row in rows] == [f"frozen_lake/tiny/test/{index}" for index in range(3)]
    assert [message["role"] for message in rows[0]["tasks"][1]["messages"]] == ["system", "user"]
    before = (folder / "packs.jsonl").read_bytes()
    assert not cli(*argv).json["result"]["written"]
    (folder / "packs.jsonl").write_text("cut off")
    assert cli(*argv).json["result"]["written"]
    assert (folder / "packs.jsonl").read_bytes() == before


def test_generate_never_overwrites_something_else(cli, home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "thesis.tex").write_text("x")
    outcome = cli("env", "generate", "frozen_lake", "--packs", "2", "--out", "mine")
    assert outcome.code == 6
    assert outcome.err == "error: mine: the folder is not empty and holds no dataset\n  → --out OTHER\n"
    assert cli("env", "generate", "frozen_lake", "--packs", "2", "--out", "data").code == 0
    assert cli("env", "generate", "frozen_lake", "--packs", "3", "--out", "data").code == 6


def test_the_dataset_holds_no_answer(cli, home: Path) -> None:
    from codctl.envs.registry import get_family

    cli("env", "generate", "frozen_lake", "--packs", "5", "--out", "data")
    text = (home / "data" / "packs.jsonl").read_text()
    family = get_family("frozen_lake")
    for index in range(5):
        assert family.truth(family.pack("train", index, 4, "tiny").world, "full") not in text


def test_validate_passes_for_every_preset(cli) -> None:
    for preset in ("tiny", "easy", "hard"):
        outcome = cli("env", "validate", "frozen_lake", "--preset", preset, "--packs", "40", "--json")
        assert outcome.code == 0
        assert all(check["ok"] and check["reason"] for check in outcome.json["result"]["checks"])


def test_validate_fails_with_a_reason(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from codctl.envs.frozen_lake.family import FrozenLake

    monkeypatch.setattr(FrozenLake, "facts", lambda self, world: 5)
    outcome = cli("env", "validate", "frozen_lake", "--packs", "20")
    assert outcome.code == 3
    [failed] = [line for line in outcome.out.splitlines() if line.startswith("FAILED")]
    assert "hints scored" in failed
    assert "the truth scores HintScore(right=4" in failed
