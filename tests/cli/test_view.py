"""`codctl view`: from an index to every word of one pack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Trained

PLAY = ["eval", "--policy", "random", "--limit", "4", "length=2", "preset=easy", "arms=[own,none]", "rendering=full"]


@pytest.fixture
def played(cli, home: Path) -> str:
    """The id of an evaluation."""
    assert cli(*PLAY).code == 0
    return str(cli("evals", "list", "--json").json["result"]["evaluations"][0]["id"])


def test_the_index_leads_to_one_pack_in_full(cli, played: str) -> None:
    index = cli("view", played).out
    assert index.startswith("scripted policy random, position-curve: ")
    assert f"in full: codctl view {played} --typical" in index
    assert index.count("frozen_lake/easy/test/") == 16  # 4 packs of 2 arms and 2 references
    shown = cli("view", played, "--pack", "3").out
    assert shown.startswith("frozen_lake/easy/test/3  arm own")
    for what in ("truth: ", "━━ task 1 of 2: ", "━━ update after task 1: written", "│ You walk on", "▌ ", "read: "):
        assert what in shown
    assert "━━ task 3" not in shown
    assert "\x1b" not in shown


def test_filters_narrow_it_down_to_episodes(cli, played: str) -> None:
    outcome = cli("view", played, "--arm", "none", "--position", "2", "--json").json["result"]
    assert outcome["total"] == 4
    assert {(e["kind"], e["position"]) for one in outcome["trajectories"] for e in one["episodes"]} == {("solve", 1)}
    failed = cli("view", played, "--outcome", "failed", "--limit", "1")
    assert failed.out.count("truth: ") == 1
    assert "trajectories shown; --limit" in failed.err
    unknown = cli("view", played, "--outcome", "hell")
    assert (unknown.code, "there is no outcome 'hell'; stored: " in unknown.err) == (2, True)
    assert cli("view", played, "--search", "no such words").out == "no episode is of this kind\n"
    assert cli("view", played, "--position", "0").code == 2


def test_the_best_and_the_worst_pack_differ_by_what_they_solved(cli, played: str) -> None:
    def solved(rank: str) -> float:
        [one] = cli("view", played, rank, "--arm", "bayes", "--json").json["result"]["trajectories"]
        return sum(e["success"] for e in one["episodes"] if e["kind"] == "solve")

    assert solved("--worst") <= solved("--typical") <= solved("--best")


def test_what_is_not_there_says_what_is(cli, played: str, home: Path) -> None:
    missing = cli("view", "nothing")
    assert (missing.code, "no run and no evaluation 'nothing'" in missing.err) == (2, True)
    [folder] = (home / "runs" / "evaluations").glob("random-*")
    (folder / "trajectories.parquet").unlink()
    (folder / "result.json").unlink()
    assert cli("view", played, "--pack", "1").code == 0  # from the journal, as of an evaluation in progress
    (folder / "journal.jsonl").unlink()
    earlier = cli("view", played)
    assert (earlier.code, "nothing was stored of what was said" in earlier.err) == (2, True)


def test_the_page_holds_what_is_selected(cli, played: str, home: Path) -> None:
    written = cli("view", played, "--html", "out/page.html", "--arm", "own", "--json").json["result"]
    assert (written["page"], written["trajectories"], written["total"]) == ("out/page.html", 4, 4)
    assert "random, position-curve" in (home / "out" / "page.html").read_text()


def test_a_run_has_steps_credit_and_hints_over_time(cli, trained: Trained, home: Path) -> None:
    where = ("--runs-dir", str(trained.runs_dir))
    index = cli("view", "micro", *where).out
    assert "run micro: after, step 2" in index
    assert [line.split() for line in index.splitlines() if line.startswith("training")] == [
        ["training", "1"],
        ["training", "2"],
    ]
    step = cli("view", str(trained.runs_dir / "micro"), "--step", "1", "--json", "--pack", "0").json["result"]
    assert {one["rollout"] for one in step["trajectories"]} == {0, 1}
    episodes = step["trajectories"][0]["episodes"]
    assert all(episode["credit_advantage"] is not None for episode in episodes)
    assert "<|user|>" in episodes[0]["turns"][0]["prompt"]
    assert "advantage " in cli("view", "micro", "--step", "1", "--best", *where).out
    hints = cli("view", "micro", "--hints", "0", *where).out
    assert hints.startswith("hints of frozen_lake/tiny/test/0, arm own")
    assert hints.index("before, step 0") < hints.index("after, step 2")
    steps = cli("view", "micro", "--hints", "0", "--json", *where).json["result"]["steps"]
    in_run = [one for one in steps if one["source"] in ("before", "after")]  # beside evaluations of other tests
    assert [(one["source"], len(one["hints"])) for one in in_run] == [("before", 3), ("after", 3)]
    refused = cli("view", "micro", "--step", "7", *where)
    assert (
        "nothing is stored of step 7\n  → stored: validation, step 0; before, step 0; training, step 1" in refused.err
    )


def test_a_run_without_stored_trajectories_says_so(cli, trained: Trained, home: Path) -> None:
    copy = home / "runs" / "micro"
    shutil.copytree(trained.runs_dir / "micro", copy)
    for path in copy.rglob("trajectories*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "has stored no trajectories yet" in cli("view", "micro").err
    assert json.loads(cli("view", "micro", "--json").out)["error"]["kind"] == "usage"


def test_a_pack_can_be_watched_while_it_is_played(cli, home: Path) -> None:
    outcome = cli(*PLAY, "--show")
    assert outcome.code == 0
    assert outcome.err.count("frozen_lake/easy/test/0, arm ") == 2  # own and none, and not the references
    assert "frozen_lake/easy/test/1" not in outcome.err
    assert "Reward 0." in outcome.err or "Reward 1." in outcome.err
    assert outcome.out.startswith("scripted policy random\n")
    again = cli(*PLAY, "--show")
    assert "it was played before: codctl view " in again.err
    assert "Traceback" not in cli(*PLAY, "--show", "--slurm").err
