"""`codctl eval` as a user meets it: every suite, its files, and what happens when it is interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

SUITES = ["position-curve", "in-domain-hard", "cross-domain", "ralph-loop", "long-life", "robustness", "published"]


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(folder / "rows.parquet").to_pylist()
    return found


def the_folder(home: Path) -> Path:
    (folder,) = (home / "runs" / "evaluations").iterdir()
    return folder


def means(curve: list[dict[str, float]]) -> list[float]:
    return [point["mean"] for point in curve]


def test_the_promised_object_for_a_policy(cli) -> None:
    outcome = cli(
        "eval", "--suite", "position-curve", "--policy", "bayes",
        "family=frozen_lake", "preset=hard", "length=3", "--limit", "30", "--json",
    )  # fmt: skip
    assert outcome.code == 0
    found = outcome.json
    assert (found["schema"], found["command"]) == (1, "eval")
    result, (part,) = found["result"], found["result"]["parts"]
    assert (result["suite"], part["packs"], part["length"]) == ("position-curve", 30, 3)
    assert (part["family"], part["preset"]) == ("frozen_lake", "hard")
    own = part["arms"]["own"]
    assert [point["position"] for point in own["success"]] == [0, 1, 2]
    assert set(own["success"][0]) == {"position", "mean", "low", "high"}
    assert own["hint_correctness"][0]["position"] == 1
    assert [point["mean"] for point in own["success"]] == pytest.approx(means(part["ceiling_curves"]["bayes"]))
    assert means(part["ceiling_curves"]["informed"]) == [1.0, 1.0, 1.0]
    assert part["regret"]["own"]["mean"] == 0


@pytest.mark.parametrize("policy", ["bayes", "random"])
@pytest.mark.parametrize("suite", SUITES)
def test_every_shipped_suite_runs(cli, home: Path, suite: str, policy: str) -> None:
    argv = ["eval", "--suite", suite, "--policy", policy, "--limit", "4"]
    # Long packs of bayes take seconds; that they work is a matter of the length alone.
    argv += ["length=10"] if (suite, policy) == ("long-life", "bayes") else []
    outcome = cli(*argv)
    assert outcome.code == 0, outcome.err
    result = json.loads((the_folder(home) / "result.json").read_text())
    assert f"results  {Path('runs/evaluations') / the_folder(home).name}" in outcome.out
    assert (result["suite"], result["failed_episodes"], result["to_play_again"]) == (suite, 0, 0)
    for part in result["parts"]:
        assert (part["packs"], set(part["arms"])) == (4, {"own"})
        assert all(0 <= point["low"] <= point["mean"] <= point["high"] <= 1 for point in part["arms"]["own"]["success"])
        world = " ".join(filter(None, (part["family"], part["preset"], part["variant"])))
        assert f"{world}, 4 packs of {part['length']}" in outcome.out
    kept = rows(the_folder(home))
    assert {row["part"] for row in kept} == {part["name"] for part in result["parts"]}
    scales = {"random"} if any("graded" in part for part in result["parts"]) else set()
    assert {row["arm"] for row in kept} == {"own", "bayes", "informed"} | scales
    page = (the_folder(home) / "report.html").read_text()
    assert page.count("<svg") >= 4 * len(result["parts"])
    assert "://" not in page


def test_a_result_says_how_prompts_are_written(cli, home: Path, tiny_folder: Path) -> None:
    template = Path(shutil.copytree(tiny_folder, home / "model")) / "chat_template.jinja"
    template.write_text("{{ messages | length }} {{ strftime_now('%d %B %Y') }}" + template.read_text())
    argv = ["family=frozen_lake", "preset=tiny", "rendering=compact", "length=2", "solve_tokens=4", "update_tokens=4"]
    outcome = cli("eval", "--suite", "position-curve", "--model", "model", *argv, "--limit", "2")
    assert outcome.code == 0, outcome.err
    result = json.loads((the_folder(home) / "result.json").read_text())
    found = {"turns": "rendered anew", "system_text": "system role", "stop_tokens": ["<|end|>"]}
    assert result["chat"] == {**found, "date": "01 January 2025"}
    assert outcome.err.count("cannot be followed token by token (the beginning changes") == 1
    assert outcome.err.count("codctl always gives it 01 January 2025") == 1


def test_the_list_of_suites(cli) -> None:
    outcome = cli("eval", "--list")
    assert [line.split()[0] for line in outcome.out.splitlines()[1:]] == SUITES
    assert list(cli("eval", "--list", "--json").json["result"]["suites"]) == SUITES


def test_a_suite_of_ones_own(cli, home: Path) -> None:
    (home / "mine.yaml").write_text(
        "name: mine\nevaluations:\n"
        "  - {name: near, worlds: [{family: frozen_lake, preset: tiny}], packs: 3, length: 2}\n"
        "  - {name: far, strategy: drift, drift_at: 1, packs: 3, length: 2, arms: [own]}\n"
    )
    result = cli("eval", "--suite", "mine.yaml", "--policy", "bayes", "--json").json["result"]
    assert [part["name"] for part in result["parts"]] == ["near/frozen_lake-tiny", "far/frozen_lake-easy"]
    assert result["parts"][1]["drift_at"] == 1
    (home / "mine.yaml").write_text("name: mine\nevaluations:\n  - {name: near, pakcs: 3}\n")
    outcome = cli("eval", "--suite", "mine.yaml", "--policy", "bayes")
    assert (outcome.code, outcome.err) == (2, "error: mine.yaml:3: unknown key pakcs; did you mean packs?\n")


LITTLE = ["--limit", "2", "length=2", "arms=[own]"]
RALPH = ["eval", "--suite", "ralph-loop", "--policy", "random", "--limit", "6", "length=3", "preset=tiny"]


def test_tables_say_where_facts_change_and_what_was_solved_by_attempt(cli) -> None:
    text = cli(*RALPH).out
    assert "attempt 1" in text
    assert "solved by attempt 3" in text
    assert "position 1 " not in text
    drift = cli("eval", "--policy", "bayes", "--limit", "4", "strategy=drift", "drift_at=2").out
    assert "the hidden facts change at position 3" in drift
    assert "position 3 (changed)" in drift
    assert "bayes     reference" in drift
    long = cli("eval", "--policy", "random", "--limit", "3", "length=9", "preset=tiny").out
    assert "position  own success" in long


def test_finished_it_plays_nothing_and_says_the_same(cli, home: Path) -> None:
    first = cli(*RALPH)
    before = {path: path.stat().st_mtime_ns for path in the_folder(home).iterdir()}
    again = cli(*RALPH)
    assert (again.code, again.out, again.err) == (0, first.out, "")
    assert {path: path.stat().st_mtime_ns for path in the_folder(home).iterdir()} == before


def test_other_settings_lie_elsewhere_and_fresh_moves_aside(cli, home: Path) -> None:
    cli(*RALPH)
    cli(*RALPH, "seeds=[1]")
    folders = sorted(path.name for path in (home / "runs" / "evaluations").iterdir())
    assert len(folders) == 2
    assert cli(*RALPH, "--fresh").code == 0
    after = sorted(path.name for path in (home / "runs" / "evaluations").iterdir())
    assert len(after) == 3
    assert sum(name.endswith(".old-1") for name in after) == 1


def start(home: Path, *argv: str) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "codctl.cli.main", *argv]
    return subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_lines(home: Path, count: int) -> None:
    """Wait until the journal has so many whole lines."""
    until = time.monotonic() + 180
    while time.monotonic() < until:
        found = list((home / "runs" / "evaluations").glob("*/journal.jsonl"))
        if found and found[0].read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the journal does not grow")


LONG = ["eval", "--suite", "ralph-loop", "--policy", "random", "--limit", "40", "length=4", "arms=[own,shuffled]"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_anywhere_the_same_command_plays_the_rest(cli, home: Path, number: signal.Signals) -> None:
    process = start(home, *LONG)
    wait_for_lines(home, 100)
    process.send_signal(number)
    _, talk = process.communicate(timeout=180)
    assert process.returncode == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[number.name]
    if number != signal.SIGKILL:
        assert "the same command continues: codctl eval --suite ralph-loop" in talk
        assert "Traceback" not in talk
    stopped = the_folder(home)
    assert not (stopped / "result.json").exists()
    kept = [line for line in (stopped / "journal.jsonl").read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert cli(*LONG).code == 0
    lines = (stopped / "journal.jsonl").read_bytes().splitlines(keepends=True)
    assert lines[: len(kept)] == kept  # nothing was played twice
    units = [tuple(json.loads(line)["unit"]) for line in lines if b'"unit"' in line]
    assert len(units) == len(set(units)) == 2 * 4 * 40
    assert cli(*LONG, "--runs-dir", "whole").code == 0
    whole = home / "whole" / "evaluations" / stopped.name
    assert rows(stopped) == rows(whole)
    results = [json.loads((folder / "result.json").read_text()) for folder in (stopped, whole)]
    assert results[0]["parts"] == results[1]["parts"]
    assert results[1]["attempts"] == 1


def test_one_process_at_a_time(cli, home: Path) -> None:
    process = start(home, *LONG)
    try:
        wait_for_lines(home, 5)
        outcome = cli(*LONG)
    finally:
        process.kill()
        process.communicate()
    assert outcome.code == 6
    assert "this evaluation is in use by process" in outcome.err
    assert "→ wait for it" in outcome.err


def test_a_run_is_evaluated_on_the_worlds_it_was_trained_on(cli, trained) -> None:
    argv = ["eval", "--run", "micro", "--runs-dir", str(trained.runs_dir), "--limit", "2", "arms=[own,none]"]
    result = cli(*argv, "--json").json["result"]
    (part,) = result["parts"]
    assert (result["subject"]["name"], part["preset"], part["length"]) == ("micro", "tiny", 3)
    assert set(part["arms"]) == {"own", "none"}
    text = cli(*argv, "length=2").out
    assert text.startswith("run micro, final model (step 2)\nposition-curve: frozen_lake tiny, 2 packs of 2\n")
    assert "position 2" in text
    assert "position 3" not in text
    assert "with only 2 packs the intervals are wide and rule out little" in text


def test_a_model_folder_is_evaluated_like_its_run(cli, trained) -> None:
    folder = trained.runs_dir / "micro" / "stages" / "cod_train" / "final"
    shared = ["--limit", "2", "arms=[own]", "--json"]
    by_model = cli("eval", "--model", str(folder), *shared).json["result"]
    by_run = cli("eval", "--run", "micro", "--runs-dir", str(trained.runs_dir), *shared).json["result"]
    assert by_model["subject"] == {
        "kind": "model", "name": str(folder), "folder": str(folder), "title": f"model {folder}",
        "dtype": "float32", "engine": "transformers",
    }  # fmt: skip
    assert by_model["parts"] == by_run["parts"]


def unfinished(trained, runs_dir: Path, name: str = "micro") -> Path:
    """A copy of the run that lacks its final model and the checkpoint of its last step."""
    copy = runs_dir / name
    shutil.copytree(trained.runs_dir / "micro", copy)
    shutil.rmtree(copy / "stages" / "cod_train" / "final")
    shutil.rmtree(copy / "stages" / "cod_train" / "checkpoints" / "step-000002")
    return copy


def test_an_unfinished_run_is_played_with_its_newest_checkpoint(cli, trained, home: Path) -> None:
    unfinished(trained, home / "runs")
    text = cli("eval", "--run", "micro", *LITTLE).out
    assert text.startswith("run micro, step 1 of 2\n")
    assert "runs/evaluations/micro-step-1-position-curve-" in text
    page = next((home / "runs" / "evaluations").glob("micro-step-1-*/report.html")).read_text()
    assert "run micro, step 1 of 2" in page
    chosen = cli("eval", "--run", "micro", "--step", "warm-start", *LITTLE, "--json").json["result"]["subject"]
    assert (chosen["title"], chosen["step"]) == ("run micro, warm start (step 0)", 0)
    assert not list((home / "runs" / "evaluations").glob(".*"))  # the model that was laid out is gone
    refused = cli("eval", "--run", "micro", "--step", "2", *LITTLE)
    assert (refused.code, "it has warm-start, 1" in refused.err) == (2, True)
    shutil.rmtree(home / "runs" / "micro" / "stages" / "cod_train")
    assert cli("eval", "--run", "micro", *LITTLE).out.startswith("run micro, warm start (step 0)\n")


def test_a_checkpoint_of_the_last_step_plays_as_the_final_model(cli, trained, home: Path) -> None:
    copy = home / "runs" / "micro"
    shutil.copytree(trained.runs_dir / "micro", copy)
    final = cli("eval", "--run", "micro", *LITTLE, "--json").json["result"]
    assert (final["subject"]["checkpoint"], final["subject"]["step"]) == ("final", 2)
    shutil.rmtree(copy / "stages" / "cod_train" / "final")
    last = cli("eval", "--run", "micro", *LITTLE, "--json").json["result"]
    assert last["subject"]["title"] == "run micro, step 2 of 2"
    assert last["parts"] == final["parts"]


def test_one_pack_is_enough_to_look_at(cli, trained, home: Path) -> None:
    argv = ["eval", "--run", "micro", "--runs-dir", str(trained.runs_dir), "--limit", "1", "length=2"]
    outcome = cli(*argv, "--json")
    assert outcome.code == 0
    assert "the arm shuffled needs a second one" in outcome.err
    arms = outcome.json["result"]["parts"][0]["arms"]
    assert list(arms) == ["own", "none", "oracle", "history"]
    assert all(point["high"] - point["low"] > 0.5 for point in arms["own"]["success"])
    refused = cli(*argv, "arms=[own,shuffled]")
    assert (refused.code, "needs the hints of another pack" in refused.err) == (2, True)


def test_evaluations_are_no_runs(cli, home: Path) -> None:
    cli(*RALPH)
    assert cli("runs", "list", "--json").json["result"]["runs"] == []


def test_without_slurm_nothing_is_submitted_or_written(cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    outcome = cli("eval", "--policy", "bayes", "preset=tiny", "--limit", "4", "--slurm")
    assert outcome.code == 7
    assert "on this machine" in outcome.err
    assert list(home.iterdir()) == []
