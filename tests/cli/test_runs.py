"""Commands that look at a finished run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.jobs.many_trials import bring_to, make_run, make_sweep


def test_list_and_show(cli, trained) -> None:
    where = ["--runs-dir", str(trained.runs_dir)]
    [entry] = cli("runs", "list", *where, "--json").json["result"]["runs"]
    assert (entry["name"], entry["status"], entry["step"]) == ("micro", "finished", 2)
    assert "micro  finished" in cli("runs", "list", *where).out
    shown = cli("runs", "show", "micro", *where, "--json").json["result"]
    assert shown["attempts"][0]["outcome"] == "finished"
    assert {"model", "warm_start", "cod_train/final", "evaluation/after"} <= set(shown["stages"])
    assert shown["latest"]["train"]["step"] == 2
    text = cli("runs", "show", "micro", *where).out
    assert "cod_train/final" in text
    assert "success at position 1 " in text
    assert "position_0" not in text
    assert ".000" not in text  # whole numbers are whole, small ones keep their digits


def test_runs_are_found_by_path_and_by_environment(cli, trained, monkeypatch) -> None:
    assert cli("runs", "show", str(trained.runs_dir / "micro")).code == 0
    monkeypatch.setenv("CODCTL_RUNS_DIR", str(trained.runs_dir))
    assert cli("runs", "show", "micro").code == 0
    outcome = cli("runs", "show", "mikro")
    assert outcome.code == 2
    assert "did you mean micro?" in outcome.err


def test_no_runs_yet(cli) -> None:
    assert cli("runs", "list").out == "no runs in runs\n"
    assert cli("runs", "list", "--json").json["result"] == {"runs": []}


def test_a_damaged_run_is_listed_with_what_is_wrong(cli, home: Path) -> None:
    (home / "runs" / "torn").mkdir(parents=True)
    (home / "runs" / "torn" / "manifest.json").write_text('{"schema": 1')
    [entry] = cli("runs", "list", "--json").json["result"]["runs"]
    assert entry["status"].startswith("unreadable: manifest.json cannot be used: it is not JSON")


def test_logs_print_an_attempt_and_follow_a_finished_one_to_its_end(cli, trained) -> None:
    where = ["--runs-dir", str(trained.runs_dir)]
    log = (trained.runs_dir / "micro" / "attempts" / "001" / "log.txt").read_text()
    assert cli("runs", "logs", "micro", *where).out == log
    assert cli("runs", "logs", "micro", "-f", *where).out == log
    assert cli("logs", "micro", "--json", *where).json["result"]["lines"] == log.splitlines()
    assert cli("logs", "micro", "--json", "-f", *where).code == 2
    outcome = cli("runs", "logs", "micro", "--attempt", "7", *where)
    assert (outcome.code, outcome.err) == (2, "error: run 'micro' has no attempt 7 (it has 1 to 1)\n")


def test_list_by_status_and_with_trials(cli, home: Path) -> None:
    bring_to(make_run(home / "runs", "a"), "finished")
    make_sweep(home / "runs", "s", {"failed": 1, "finished": 1})

    def names(*options: str) -> list[str]:
        return [entry["name"] for entry in cli("runs", "list", *options, "--json").json["result"]["runs"]]

    assert names() == ["a"]
    assert names("--all") == ["a", "s/failed-0", "s/finished-0"]
    assert names("--all", "--status", "finished") == ["a", "s/finished-0"]
    assert cli("runs", "list", "--status", "died").out == "no runs in runs with status died\n"


def test_show_says_why_attempts_ended_and_what_changed_between_them(cli, home: Path) -> None:
    run = make_run(home / "runs", "a")
    bring_to(run, "failed")
    with run.start_attempt():
        pass
    path = run.path / "attempts" / "002" / "environment.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "host": "n2", "packages": {**found["packages"], "torch": "9.9"}}))
    outcome = cli("runs", "show", "a")
    assert "failed    ValueError: a task without a name" in outcome.out
    assert "attempt 2 ran in a different environment from 1:" in outcome.out
    shown = cli("runs", "show", "a", "--json").json["result"]
    [change] = shown["environment"]
    assert [(name, after) for name, _, after in change["changed"]] == [("host", "n2"), ("packages.torch", "9.9")]


def test_compare(cli, home: Path) -> None:
    make_run(home / "runs", "a", seed=1)
    make_run(home / "runs", "b", seed=2)
    outcome = cli("runs", "compare", "a", "b")
    assert "seed  training  1    2" in outcome.out
    assert [entry["key"] for entry in cli("runs", "compare", "a", "b", "--json").json["result"]["config"]] == [
        "seed",
        "name",
    ]
    assert cli("runs", "compare", "a").code == 2


def test_clean_lists_and_deletes_only_when_told_to(cli, trained, home: Path) -> None:
    shutil.copytree(trained.runs_dir, home / "runs")
    shutil.rmtree(home / "runs" / ".stages")  # copied, no run shares its files any more
    folder = home / "runs" / "micro" / "stages" / "cod_train" / "checkpoints"
    outcome = cli("runs", "clean", "--checkpoints")
    assert outcome.out.splitlines()[1].endswith(
        "checkpoints of a finished run  runs/micro/stages/cod_train/checkpoints"
    )
    assert outcome.out.splitlines()[-1] == "nothing was deleted; --yes deletes it"
    assert cli("runs", "clean", "--checkpoints", "--json").json["result"]["removed"] == []
    assert folder.is_dir()
    found = cli("runs", "clean", "--checkpoints", "--yes", "--json").json["result"]
    assert found["removed"] == ["runs/micro/stages/cod_train/checkpoints"]
    assert not folder.exists()
    assert cli("runs", "clean", "--checkpoints").out == "nothing to delete\n"


def test_credit_is_a_table_of_packs_positions_and_rollouts(cli, trained) -> None:
    where = ["--runs-dir", str(trained.runs_dir)]
    result = cli("credit", "micro", *where, "--json").json["result"]
    assert result["step"] == 2
    assert len(result["packs"]) == 2
    # 2 packs × 2 rollouts × (3 solves + 2 updates)
    assert len(result["episodes"]) == 20
    for episode in result["episodes"]:
        assert episode["advantage"] == episode["return"] - episode["baseline"]
    one = cli("credit", "micro", "--step", "1", "--pack", "0", *where)
    assert one.out.startswith("step 1\n\npack frozen_lake/tiny/train/0\nposition  kind    rollout  reward")
    assert one.out.count("pack ") == 1
    summary = cli("credit", "micro", *where).out
    assert summary.startswith("step 2, 2 packs\n")
    assert len(summary.splitlines()) < 30


def test_credit_of_what_was_not_stored(cli, trained) -> None:
    where = ["--runs-dir", str(trained.runs_dir)]
    assert "no rollouts were stored for step 9; stored: 1, 2" in cli("credit", "micro", "--step", "9", *where).err
    assert "step 2 has no pack 'x'" in cli("credit", "micro", "--pack", "x", *where).err


def test_report_is_written_where_it_is_asked_for(cli, home: Path, trained) -> None:
    outcome = cli("report", "micro", "--runs-dir", str(trained.runs_dir), "--out", "page.html")
    assert (outcome.code, outcome.out) == (0, "page.html\n")
    assert "<html" in (home / "page.html").read_text()


def test_figures_are_written_beside_the_page(cli, home: Path, trained) -> None:
    outcome = cli("report", "micro", "--runs-dir", str(trained.runs_dir), "--out", "p.html", "--figures", "f", "--json")
    figures = outcome.json["result"]["figures"]
    assert figures[0]["name"] == "learning"
    assert figures[0]["files"] == ["f/learning.svg", "f/learning.png", "f/learning.csv"]
    assert all((home / path).stat().st_size for one in figures for path in one["files"])


def test_colleagues_can_read_what_a_run_keeps(trained) -> None:
    """safetensors writes files for their owner alone. What is private, keys and sockets, lies in no run."""
    mask = os.umask(0)
    os.umask(mask)
    modes = {path: path.stat().st_mode & 0o777 for path in trained.runs_dir.rglob("*") if path.is_file()}
    assert any(path.suffix == ".safetensors" for path in modes)
    assert not {path: oct(mode) for path, mode in modes.items() if mode != 0o666 & ~mask}
