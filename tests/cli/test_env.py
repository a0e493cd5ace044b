from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from codctl.envs.registry import get_family
from codctl.files.seal import COMPLETE

FROZEN = ("env", "play", "frozen_lake", "--preset", "tiny")


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


# --- list -------------------------------------------------------------------------------------------------------------


def test_list(cli) -> None:
    result = cli("env", "list", "--json").json["result"]
    lake = next(family for family in result["families"] if family["name"] == "frozen_lake")
    assert lake["presets"] == ["tiny", "easy", "hard"]
    assert lake["variants"] == ["default", "paper", "trinity"]
    assert lake["learnable"] == {"default": True, "paper": True, "trinity": True}
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


@pytest.mark.parametrize("how", [["--strict"], []])
def test_a_person_gets_the_curve_of_a_model(cli, monkeypatch: pytest.MonkeyPatch, how: list[str]) -> None:
    """Typing what the exact Bayes agent says gives its curve, to the digit."""
    watched = cli(*FROZEN, "--policy", "bayes", "--rendering", "compact", "--index", "3", "--json")
    answers = [
        line.removeprefix("> <answer>").removesuffix("</answer>") if line.startswith(">") else line[7:]
        for line in watched.err.splitlines()
        if line.startswith(("> ", "hints> "))
    ]
    typed(monkeypatch, *answers)
    played = cli(*FROZEN, "--rendering", "compact", "--index", "3", "--json", *how)
    assert played.code == watched.code == 0
    expected, found = watched.json["result"], played.json["result"]
    assert (expected.pop("policy"), found.pop("policy")) == ("bayes", None)
    assert found == expected
    assert found["success"] == found["ceilings"]["bayes"]
    assert found["ceilings"]["informed"] == [1.0] * 4
    assert found["hint_correctness"] == [None, 1.0, 1.0, 1.0]
    assert found["finished"]
    assert found["score"] == sum(found["success"]) / 4


def test_strict_is_what_a_model_gets(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "walk", "K is a mystery", "")
    outcome = cli(*FROZEN, "--length", "2", "--strict")
    assert outcome.code == 0
    first, second = outcome.out.split("=== task 2 of 2")
    assert "'walk' is not an action; the actions are K, Q, X, Z. Reward 0." in first
    assert "K is a mystery" in second
    assert all("\n<answer>Q</answer>" in text for text in (first, second))
    assert "the <answer> block is empty. Reward 0." in second
    assert outcome.out.endswith("\nscore: 0.00\n")


@pytest.mark.parametrize("line", ["k", "<answer>k</answer>", "\x1b[A\x1b[Dk", "\x1bOBK ", " K"])
def test_a_person_may_type_as_people_do(cli, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    typed(monkeypatch, line)
    outcome = cli(*FROZEN)
    assert "Turn 2 of 5. Action K took you" in outcome.out


@pytest.mark.parametrize("line", ["walk", "K is up", "", "\x1b[A", "<answer></answer>", "KQ"])
def test_what_cannot_be_read_is_asked_for_again(cli, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    typed(monkeypatch, line, "K")
    outcome = cli(*FROZEN)
    assert outcome.out.count("move (K, Q, X or Z)> ") == 3  # this line, K, and the end of the input
    assert ("is not an action; the actions are K, Q, X, Z. Try again" in outcome.out) == bool(
        line.strip("\x1b[A</answer>")
    )
    assert "Turn 2 of 5. Action K took you" in outcome.out
    assert "your hints" not in outcome.out


def test_the_rules_come_once_and_when_asked(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["k"] * 5 + ["K right"]
    typed(monkeypatch, *lines)
    outcome = cli(*FROZEN, "--length", "2")
    assert outcome.out.count("You walk on a frozen lake") == 1
    assert "<answer>" not in outcome.out
    assert "=== task 2 of 2 ===\nYour hints: K right\n" in outcome.out
    typed(monkeypatch, *lines, "?", "HELP")
    assert cli(*FROZEN, "--length", "2").out.count("You walk on a frozen lake") == 3


def test_asking_costs_no_step_where_everything_is_a_command(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "?", "help", "whoami")
    out = cli("env", "play", "terminal").out
    assert out.count("You work at the shell of a local machine") == 3
    assert "Step 2 of 12" in out
    assert "Step 3 of 12" not in out


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("{0} + {1}", "You mixed {0} + {1}"),
        ("{0} {1}", "You mixed {0} + {1}"),
        ("{0}, {1}", "You mixed {0} + {1}"),
        ("{0} and {1}", "You mixed {0} + {1}"),
        ("{2}+{1}", "You mixed {0} + {1}"),
        ("{0} + gold", "no element is called 'gold'. Try again"),
        ("{0}", "expected the names of two elements, got '{0}'. Try again"),
    ],
)
def test_a_mix_is_read_as_people_write_it(cli, monkeypatch: pytest.MonkeyPatch, line: str, answer: str) -> None:
    names = get_family("alchemy").pack("train", 0, 1, "tiny").world.names
    values = (names[0], names[1], names[0].upper())
    typed(monkeypatch, line.format(*values))
    assert answer.format(*values) in cli("env", "play", "alchemy", "--preset", "tiny", "--length", "1").out


@pytest.mark.parametrize("family", ["frozen_lake", "alchemy", "terminal"])
def test_rules_for_people_have_no_tags_and_no_hints(family: str) -> None:
    found = get_family(family)
    for preset in found.presets:
        rules = found.rules(preset)
        assert len(rules) > 200
        assert "<answer>" not in rules
        assert "Hints from" not in rules


def test_a_player_who_leaves_sees_the_score_so_far(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, *["k"] * 5, "")
    outcome = cli(*FROZEN, "--length", "2")
    assert outcome.code == 0
    assert outcome.out.endswith("\nscore: 0.00 (over 1 of 2 tasks: stopped early)\n")
    typed(monkeypatch, *["k"] * 5, "none", "quit", "k")
    result = cli(*FROZEN, "--length", "3", "--json").json["result"]
    assert (result["success"], result["finished"], result["score"]) == ([0.0, None, None], False, 0.0)
    typed(monkeypatch)
    outcome = cli(*FROZEN)
    assert outcome.code == 0
    assert "=== task 2" not in outcome.out  # nothing more is shown
    assert outcome.out.endswith("\nYou stopped before the end of the first task: no score.\n")


@pytest.mark.parametrize(
    ("family", "line", "leaves"), [("frozen_lake", "q", False), ("alchemy", "Q", True), ("terminal", "quit", True)]
)
def test_q_leaves_where_it_is_no_move(
    cli, monkeypatch: pytest.MonkeyPatch, family: str, line: str, leaves: bool
) -> None:
    typed(monkeypatch, line)
    assert (
        "Turn 2 of" not in cli("env", "play", family, "--preset", "tiny" if family != "terminal" else "easy").out
    ) == leaves


def test_ctrl_c_is_leaving(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    outcome = cli(*FROZEN)
    assert outcome.code == 0
    assert "no score" in outcome.out


@pytest.mark.parametrize("strategy", ["ralph_sample", "ralph_full", "drift", "poison", "long", "distractor"])
def test_hard_orders_can_be_played(cli, strategy: str) -> None:
    result = cli(*FROZEN, "--strategy", strategy, "--policy", "informed", "--json").json["result"]
    assert strategy in result["pack"]
    assert result["success"] == [1.0] * 4


def test_an_unknown_order_is_refused_in_words(cli) -> None:
    outcome = cli(*FROZEN, "--strategy", "distracter")
    assert outcome.code == 2
    assert "Value error" not in outcome.err
    assert "distractor" in outcome.err


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_in_a_terminal_texts_fit_and_boards_have_colour(cli, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    typed(monkeypatch, "k")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = cli(*FROZEN, "--length", "2").out
    assert "\033[1mA\033[0m . . ." in out
    plain = re.sub(r"\033\[\d+m", "", out)
    plain = plain.replace("Z)> ", "Z)> \n")  # where a person would have typed Enter
    assert max(map(len, plain.splitlines())) <= columns
    assert "stepping into a hole" in " ".join(plain.split())
    monkeypatch.setenv("NO_COLOR", "1")
    typed(monkeypatch, "k")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli(*FROZEN, "--length", "2").out.replace("Z)> ", "Z)> \n") == plain


def test_watch_a_trained_model(cli, trained) -> None:
    argv = ("env", "play", "frozen_lake", "--run", "micro", "--runs-dir", str(trained.runs_dir))
    outcome = cli(*argv)
    assert outcome.code == 0
    assert "frozen_lake/tiny/train/0" in outcome.out.splitlines()[0]  # the preset of its training
    assert "micro" in outcome.out.splitlines()[0]
    assert outcome.out.count("\n=== task ") == 3  # and its length
    assert "reads>  lake hints none" in outcome.out
    assert outcome.out.count("writes> ") >= 3
    assert "Turn 1 of 5. You have not moved yet." in outcome.out  # what a person would see
    result = cli(*argv, "--length", "2", "--index", "1", "--json").json["result"]
    assert (len(result["success"]), result["run"], result["policy"]) == (2, "micro", None)
    assert all(value is not None for value in result["success"])
    folder = trained.runs_dir / "micro" / "stages" / "cod_train" / "final"
    folder = folder / "model" if (folder / "model").is_dir() else folder
    again = cli("env", "play", "frozen_lake", "--model", str(folder))
    assert again.out.splitlines()[1:] == outcome.out.splitlines()[1:]


def test_one_player_at_a_time(cli) -> None:
    for argv in (
        ["--policy", "bayes", "--run", "x"],
        ["--run", "x", "--model", "y"],
        ["--strict", "--policy", "bayes"],
    ):
        outcome = cli(*FROZEN, *argv)
        assert outcome.code == 2
        assert "cannot be combined" in outcome.err


# --- generate ---------------------------------------------------------------------------------------------------------

GENERATE = ("env", "generate", "frozen_lake", "--preset", "tiny", "--packs", "3", "--length", "2", "--split", "test")


def test_generate_is_idempotent_and_repairs(cli, home: Path) -> None:
    first = cli(*GENERATE, "--json").json["result"]
    folder = Path(first["path"])
    assert first == {"path": "datasets/frozen_lake-tiny-default-test-3x2-full", "packs": 3, "written": True}
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
    assert outcome.err == "error: mine: the folder is not empty and is not a dataset\n  → --out OTHER\n"
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
    assert (result["family"], result["preset"], result["variant"]) == ("frozen_lake", "tiny", "default")
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
    assert [(c["variant"], c["preset"], c["policy"]) for c in curves] == [
        (variant, preset, policy)
        for variant in ("default", "paper", "trinity")
        for preset in ("tiny", "easy", "hard")
        for policy in ("bayes", "informed")
    ]
    for curve in curves:
        assert len(curve["mean"]) == 3
        assert all(
            low <= mean <= high for low, mean, high in zip(*(curve[k] for k in ("low", "mean", "high")), strict=True)
        )
        assert curve["policy"] == "bayes" or curve["mean"] == [1.0] * 3
    assert "frozen_lake default tiny bayes: 20 packs of 3" in outcome.err


def test_ceilings_are_written_under_the_mark_and_replaced(cli, home: Path) -> None:
    page = home / "frozen_lake.md"
    page.write_text("# Lake\n\n## Ceilings\n\n<!-- ceilings -->\nold\n\n## After\n\nkept\n")
    assert cli(*CEILINGS, "--write", ".").code == 0
    first = page.read_text()
    assert first.startswith("# Lake\n\n## Ceilings\n\n<!-- ceilings -->\n\nSuccess by position")
    assert first.endswith("\n## After\n\nkept\n")
    assert "old" not in first
    assert f"| paper | tiny | informed |{3 * ' 1.000 [0.839 1.000] |'}\n" in first
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


# --- demonstrate ------------------------------------------------------------------------------------------------------


def test_demonstrations_are_made_once(cli, home: Path) -> None:
    command = ("env", "demonstrate", "frozen_lake", "--policy", "demonstrator", "--packs", "5", "--best-of", "2")
    first = cli(*command, "--rendering", "compact").out
    assert re.search(
        r"solved  \d+ of 40 tasks, by position: [\d. ]+\nkept    \d+ tasks and \d+ updates of \d packs", first
    )
    assert "codctl train RECIPE warm_start.demonstrations=demonstrations/frozen_lake-tiny-default-compact-5x4" in first
    assert "it was there already" in cli(*command, "--rendering", "compact").out
    found = cli(*command, "--out", "mine", "--json").json["result"]
    assert (found["folder"], found["written"], found["kept"]["packs"]) == ("mine", True, 5)


def test_demonstrate_needs_a_player(cli) -> None:
    found = cli("env", "demonstrate", "frozen_lake")
    assert found.code == 2
    assert "say who demonstrates: --endpoint, --model, --run or --policy" in found.err
