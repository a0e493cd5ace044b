"""`codctl evals`: what was played is found again, and goes when asked to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PLAY = ["eval", "--policy", "random", "--suite", "ralph-loop", "--limit", "4", "length=2", "preset=tiny"]


@pytest.fixture
def played(cli, home: Path) -> str:
    """What `codctl eval` printed; a second evaluation is there too."""
    assert cli("eval", "--policy", "bayes", "--limit", "3", "length=2", "preset=tiny").code == 0
    return str(cli(*PLAY).out)


def test_the_list_names_model_suite_and_what_came_out(cli, played: str) -> None:
    outcome = cli("evals", "list", "--json")
    newest, older = outcome.json["result"]["evaluations"]
    assert (newest["model"], newest["suite"], newest["packs"], newest["state"]) == (
        "scripted policy random", "ralph-loop", 4, "finished"
    )  # fmt: skip
    assert newest["worlds"] == ["frozen_lake tiny"]
    assert len(newest["success"][0]) == 2
    assert older["model"] == "scripted policy bayes"
    text = cli("evals", "list", "--suite", "ralph-loop").out.splitlines()
    assert len(text) == 2
    assert text[1].startswith(f"{newest['id']}  scripted policy random  ralph-loop")


def test_show_prints_the_table_again(cli, played: str) -> None:
    newest = cli("evals", "list", "--json").json["result"]["evaluations"][0]
    assert cli("evals", "show", newest["id"][:6]).out == played
    shown = cli("evals", "show", newest["name"], "--json").json["result"]
    assert shown["subject"]["title"] == "scripted policy random"


def test_what_is_not_finished_says_how_it_goes_on(cli, played: str, home: Path) -> None:
    folder = next((home / "runs" / "evaluations").glob("random-*"))
    (folder / "result.json").unlink()
    newest = cli("evals", "list", "--json").json["result"]["evaluations"][0]
    assert (newest["state"], newest["played"], newest["trajectories"]) == ("partly", 24, 24)
    assert "partly, 100" in cli("evals", "list").out
    outcome = cli("evals", "show", folder.name)
    assert (outcome.code, "plays the rest" in outcome.err) == (2, True)


@pytest.mark.parametrize("key", ["preset", "packs"])
def test_a_result_that_lacks_a_key_is_named(cli, played: str, home: Path, key: str) -> None:
    path = next((home / "runs" / "evaluations").glob("random-*")) / "result.json"
    result = json.loads(path.read_text())
    del result["parts"][0][key]
    path.write_text(json.dumps(result))
    outcome = cli("evals", "show", path.parent.name)
    assert outcome.code == 2
    assert f"result.json cannot be used: parts.0.{key} is missing" in outcome.err


def test_rm_asks_first(cli, played: str, home: Path) -> None:
    (home / "runs" / "evaluations" / "notes").mkdir()
    ids = [one["id"] for one in cli("evals", "list", "--json").json["result"]["evaluations"]]
    refused = cli("evals", "rm", *ids)
    assert (refused.code, "--yes deletes without asking" in refused.err) == (2, True)
    assert cli("evals", "rm", "notes", "--yes").code == 2
    outcome = cli("evals", "rm", *ids, "--yes")
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, "deleted 2")
    assert [path.name for path in (home / "runs" / "evaluations").iterdir()] == ["notes"]
    assert cli("evals", "list").out.startswith("no such evaluations in runs")


def test_two_models_are_compared_on_the_packs_that_both_have(cli, home: Path) -> None:
    shared = ["--suite", "position-curve", "preset=tiny", "length=2"]
    for policy, packs in (("random", 20), ("bayes", 12)):
        assert cli("eval", "--policy", policy, "--limit", str(packs), *shared).code == 0
    bayes, random = (one["id"] for one in cli("evals", "list", "--json").json["result"]["evaluations"])
    outcome = cli("evals", "compare", random, bayes)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[:2] == ["A  scripted policy random", "B  scripted policy bayes"]
    assert "12 packs of 2 in common (played: A 20, B 12)" in outcome.out
    result = cli("evals", "compare", random, bayes, "--json").json["result"]
    [difference] = result["parts"][0]["arms"]["own"]["differences"]
    assert difference["mean"]["low"] <= difference["mean"]["mean"] <= difference["mean"]["high"]
    assert "scripted policy bayes" in (home / result["report"]).read_text()
    alone = cli("evals", "compare", bayes)
    assert (alone.code, "two evaluations or more" in alone.err) == (2, True)
