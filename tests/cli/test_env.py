from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from codctl.envs.registry import get_family
from codctl.runs.seal import COMPLETE

FROZEN = ("env", "play", "frozen_lake", "--preset", "tiny")


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


# --- list -------------------------------------------------------------------------------------------------------------


def test_list(cli) -> None:
    result = cli("env", "list", "--json").json["result"]
    lake = next(family for family in result["families"] if family["name"] == "frozen_lake")
    assert lake["presets"] == ["tiny", "easy", "hard"]
    assert lake["variants"] == ["paper"]
    assert lake["learnable"] == {"paper": True}
    assert result["broken"] == []
    assert "frozen_lake" in cli("env", "list").out


@pytest.mark.parametrize("command", ["play", "generate", "validate"])
def test_unknown_names_are_answered_with_the_nearest(cli, command: str) -> None:
    for argv, said in (
        (["frozenlake"], "unknown family 'frozenlake'; did you mean 'frozen_lake'?"),
        (["frozen_lake", "--preset", "esay"], "unknown preset of frozen_lake 'esay'; did you mean 'easy'?"),
        (["frozen_lake", "--variant", "papr"], "unknown variant of frozen_lake 'papr'; did you mean 'paper'?"),
    ):
        outcome = cli("env", command, *argv)
        assert outcome.code == 2
        assert outcome.err.startswith(f"error: {said}")
        assert outcome.err.endswith("→ codctl env list\n")


# --- play -------------------------------------------------------------------------------------------------------------


def test_watch_a_policy_that_knows_the_world(cli) -> None:
    outcome = cli(*FROZEN, "--policy", "informed", "--length", "3")
    assert outcome.code == 0
    assert outcome.out.endswith("\nscore: 1.00\n")
    assert outcome.out == cli(*FROZEN, "--policy", "informed", "--length", "3").out
    assert cli(*FROZEN, "--policy", "informd").err.startswith("error: unknown policy of frozen_lake 'informd'")


def test_a_person_gets_the_curve_of_a_model(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who types what the exact Bayes agent says gets its curve, to the digit."""
    watched = cli(*FROZEN, "--policy", "bayes", "--rendering", "compact", "--index", "3", "--json")
    answers = [
        line.removeprefix("> <answer>").removesuffix("</answer>") if line.startswith(">") else line[7:]
        for line in watched.err.splitlines()
        if line.startswith(("> ", "hints> "))
    ]
    typed(monkeypatch, *answers)
    played = cli(*FROZEN, "--rendering", "compact", "--index", "3", "--json")
    assert played.code == watched.code == 0
    expected, found = watched.json["result"], played.json["result"]
    assert (expected.pop("policy"), found.pop("policy")) == ("bayes", None)
    assert found == expected
    assert found["success"] == found["ceilings"]["bayes"]
    assert found["ceilings"]["informed"] == [1.0] * 4
    assert found["hint_correctness"] == [None, 1.0, 1.0, 1.0]
    assert found["finished"]
    assert found["score"] == sum(found["success"]) / 4


def test_hints_come_back_and_an_unreadable_answer_ends_the_task(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "walk", "K is a mystery", "")
    outcome = cli(*FROZEN, "--length", "2")
    assert outcome.code == 0
    first, second = outcome.out.split("=== task 2 of 2")
    assert "'walk' is not an action; the actions are K, Q, X, Z. Reward 0." in first
    assert "K is a mystery" in second
    assert "the <answer> block is empty. Reward 0." in second
    assert outcome.out.endswith("\nscore: 0.00\n")


def test_who_leaves_is_told_what_was_scored(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "walk")
    outcome = cli(*FROZEN, "--length", "2")
    assert outcome.code == 0
    assert outcome.out.endswith("\nscore: 0.00 (stopped early; – was not played)\n")
    typed(monkeypatch, "walk", "none")
    result = cli(*FROZEN, "--length", "3", "--json").json["result"]
    assert (result["success"], result["finished"], result["score"]) == ([0.0, None, None], False, 0.0)
    typed(monkeypatch)
    outcome = cli(*FROZEN)
    assert outcome.code == 0
    assert "=== task 2" not in outcome.out  # who has left is shown nothing more
    assert "nothing was played to its end (stopped early" in outcome.out


def test_ctrl_c_is_leaving(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    outcome = cli(*FROZEN)
    assert outcome.code == 0
    assert "nothing was played to its end" in outcome.out


@pytest.mark.parametrize("strategy", ["ralph_sample", "ralph_full", "drift", "poison", "long"])
def test_hard_orders_can_be_played(cli, strategy: str) -> None:
    result = cli(*FROZEN, "--strategy", strategy, "--policy", "informed", "--json").json["result"]
    assert strategy in result["pack"]
    assert result["success"] == [1.0] * 4


# --- generate ---------------------------------------------------------------------------------------------------------

GENERATE = ("env", "generate", "frozen_lake", "--preset", "tiny", "--packs", "3", "--length", "2", "--split", "test")


def test_generate_is_idempotent_and_repairs(cli, home: Path) -> None:
    first = cli(*GENERATE, "--json").json["result"]
    folder = Path(first["path"])
    assert first == {"path": "datasets/frozen_lake-tiny-paper-test-3x2-full", "packs": 3, "written": True}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"packs.parquet", "README.md", COMPLETE}
    again = cli(*GENERATE)
    assert again.out == f"{folder} is already there, checksums match\n"
    for damaged in ("packs.parquet", "README.md"):
        (folder / damaged).write_bytes(before[damaged][:-1] + b"?")
        assert cli(*GENERATE, "--json").json["result"]["written"]
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_generate_never_overwrites_something_else(cli, home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "thesis.tex").write_text("x")
    outcome = cli("env", "generate", "frozen_lake", "--packs", "2", "--out", "mine")
    assert outcome.code == 6
    assert outcome.err == "error: mine: the folder is not empty and holds no dataset\n  → --out OTHER\n"
    assert cli("env", "generate", "frozen_lake", "--packs", "2", "--out", "data").code == 0
    assert cli("env", "generate", "frozen_lake", "--packs", "3", "--out", "data").code == 6


def test_rows_say_what_the_packs_are_but_not_the_answer(cli, home: Path) -> None:
    from random import Random

    cli(*GENERATE, "--out", "data")
    rows = pq.read_table(home / "data" / "packs.parquet").to_pylist()
    family = get_family("frozen_lake")
    assert [row["pack"] for row in rows] == [f"frozen_lake/tiny/test/{index}" for index in range(3)]
    for row in rows:
        pack = family.pack("test", row["index"], 2, "tiny")
        world, tasks = family.sample(Random(row["seed"]), 2, row["preset"], row["variant"])
        assert (world, tasks) == (pack.world, pack.tasks)
        for task, slot in zip(row["tasks"], pack.slots, strict=True):
            assert [message["role"] for message in task["messages"]] == ["system", "user"]
            assert task["messages"][1]["content"] == slot.begin("full").observation
        assert family.truth(pack.world, "full") not in json.dumps(row)


def test_datasets_reads_the_folder(cli, home: Path) -> None:
    """Really, in a process of its own: no network, its cache elsewhere, the split from the card."""
    cli(*GENERATE, "--out", "data")
    code = (
        "import datasets\n"
        "found = datasets.load_dataset('data', cache_dir='cache')\n"
        "print(list(found), found['test'].num_rows, found['test'][1]['pack'])\n"
        "print(found['test'][1]['tasks'][1]['messages'][1]['content'])\n"
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(home / "hf")}
    done = subprocess.run([sys.executable, "-c", code], env=offline, capture_output=True, text=True, check=True)
    first, text = done.stdout.split("\n", 1)
    assert first == "['test'] 3 frozen_lake/tiny/test/1"
    pack = get_family("frozen_lake").pack("test", 1, 2, "tiny")
    assert text.strip() == pack.slots[1].begin("full").observation


# --- validate ---------------------------------------------------------------------------------------------------------


def test_validate_says_what_it_looked_at(cli) -> None:
    outcome = cli("env", "validate", "frozen_lake", "--preset", "tiny", "--packs", "20", "--json")
    assert outcome.code == 0
    result = outcome.json["result"]
    assert (result["family"], result["preset"], result["variant"]) == ("frozen_lake", "tiny", "paper")
    assert all(check["status"] in ("ok", "not checked") and check["reason"] for check in result["checks"])


def test_validate_fails_with_a_reason_and_a_way_out(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from codctl.envs.frozen_lake.family import FrozenLake

    monkeypatch.setattr(FrozenLake, "facts", lambda self, world: 5)
    outcome = cli("env", "validate", "frozen_lake", "--packs", "10", "--length", "2")
    assert outcome.code == 3
    [failed] = [line for line in outcome.out.splitlines() if line.startswith("FAILED")]
    assert "hints scored" in failed
    _, told = outcome.out.split("\n\nhints scored: ")
    assert "the truth has 5 facts and scores HintScore(right=4" in told
    assert told.endswith("\n  → `score_context` must read every fact that `truth` writes\n")


# --- ceilings ---------------------------------------------------------------------------------------------------------

CEILINGS = ("env", "ceilings", "frozen_lake", "--packs", "20", "--length", "3")


def test_ceilings_of_every_preset_and_policy(cli) -> None:
    outcome = cli(*CEILINGS, "--json")
    curves = outcome.json["result"]["curves"]
    assert [(c["preset"], c["policy"]) for c in curves] == [
        (preset, policy) for preset in ("tiny", "easy", "hard") for policy in ("bayes", "informed")
    ]
    for curve in curves:
        assert len(curve["mean"]) == 3
        assert all(
            low <= mean <= high for low, mean, high in zip(*(curve[k] for k in ("low", "mean", "high")), strict=True)
        )
        assert curve["policy"] == "bayes" or curve["mean"] == [1.0] * 3
    assert "frozen_lake paper tiny bayes: 20 packs of 3" in outcome.err


def test_ceilings_are_written_under_the_mark_and_replaced(cli, home: Path) -> None:
    page = home / "frozen_lake.md"
    page.write_text("# Lake\n\n## Ceilings\n\n<!-- ceilings -->\nold\n\n## After\n\nkept\n")
    assert cli(*CEILINGS, "--write", ".").code == 0
    first = page.read_text()
    assert first.startswith("# Lake\n\n## Ceilings\n\n<!-- ceilings -->\n\nSuccess by position")
    assert first.endswith("\n## After\n\nkept\n")
    assert "old" not in first
    assert "| paper | tiny | informed | 1 | 1 | 1 |" in first
    assert "```sh\ncodctl env ceilings frozen_lake --packs 20 --length 3 --write docs/worlds\n```\n" in first
    assert cli(*CEILINGS, "--write", ".").code == 0
    assert page.read_text() == first


def test_ceilings_without_a_place_say_so_before_they_are_measured(cli, home: Path) -> None:
    outcome = cli(*CEILINGS, "--write", ".")
    assert outcome.code == 2
    assert outcome.err.startswith("error: frozen_lake.md: the page does not exist")
    (home / "frozen_lake.md").write_text("# Lake\n")
    outcome = cli(*CEILINGS, "--write", ".")
    assert (outcome.code, outcome.err.splitlines()[0]) == (
        2,
        "error: frozen_lake.md: the page has no line <!-- ceilings -->",
    )


def test_the_worked_episode_of_the_docs_is_what_one_sees(cli) -> None:
    page = (Path(__file__).parents[2] / "docs/worlds/frozen_lake.md").read_text()
    _, _, block = page.partition("```console\n$ codctl ")
    command, _, rest = block.partition("\n")
    out = cli(*command.split()).out.strip()
    assert rest.startswith("".join(f"{line.rstrip()}\n" for line in out.splitlines()))
