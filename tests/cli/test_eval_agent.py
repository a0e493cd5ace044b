"""codctl eval --agent: a subject inside an agent program. The program is a fake one, added from outside the package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.engines.openai.fake_server import Answer, says, serving

FAKE = ("--agent", "tests.agents.fakes:LikeHermes")
LITTLE = ("preset=tiny", "length=2", "packs=2", "arms=[own]")
BAYES = ("eval", "--policy", "bayes", *FAKE, *LITTLE)


def folder(home: Path) -> Path:
    (found,) = (home / "runs" / "evaluations").iterdir()
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation inside the fake program, for all who look at it."""
    from codctl.cli.main import run

    runs = tmp_path_factory.mktemp("agent") / "runs"
    assert run([*BAYES, "--runs-dir", str(runs)]) == 0
    return runs


def test_table_and_result_say_who_played_and_how_it_went(cli, home: Path, played: Path) -> None:
    shutil.copytree(played, home / "runs")
    outcome = cli(*BAYES)
    assert outcome.out.startswith(
        "scripted policy bayes, inside Like Hermes 1.0\nLike Hermes 1.0: the model read its training form\n"
    )
    assert "4 sessions of " in outcome.out
    subject = cli(*BAYES, "--json").json["result"]["subject"]
    assert subject["agent"] == {
        "name": FAKE[1],
        "title": "Like Hermes",
        "version": "1.0",
        "protocol": "answer",
        "update": "codctl",
        "tools": "none",
        "sandbox": "none",
    }
    rows = pq.read_table(folder(home) / "rows.parquet").to_pylist()
    mine = [row for row in rows if row["arm"] == "own"]
    assert {row["agent_version"] for row in mine} == {"1.0"}
    assert [row["agent_context"] for row in mine] == ["none", "whole"] * 2
    assert all(row["model_calls"] > 1 and row["wall_s"] > 0 for row in mine)
    assert {row["agent"] for row in rows if row["arm"] == "bayes"} == {None}


def test_in_a_digest_of_its_own(cli, home: Path, played: Path) -> None:
    shutil.copytree(played, home / "runs")
    assert cli("eval", "--policy", "bayes", *LITTLE).code == 0
    names = sorted(path.name.rpartition("-")[0] for path in (home / "runs" / "evaluations").iterdir())
    assert names == ["bayes-position-curve", "bayes-tests.agents.fakes-LikeHermes-position-curve"]


def test_its_sessions_are_imported_with_their_program(cli, home: Path, played: Path) -> None:
    files = map(str, sorted(played.glob("evaluations/*/sessions/*/exchanges.jsonl")))
    outcome = cli("import", "sessions", *files, "-o", "imported", "--reward", "1")
    assert outcome.code == 0, outcome.err
    rows = pq.read_table(home / "imported" / "rows.parquet").to_pylist()
    assert {(row["agent"], row["agent_version"]) for row in rows} == {(FAKE[1], "1.0")}


def test_view_and_page_show_its_own_sessions(cli, home: Path, played: Path) -> None:
    shutil.copytree(played, home / "runs")
    evaluation = folder(home)
    text = cli("view", evaluation.name, "--pack", "0", "--arm", "own", "--sessions").out
    assert "1.0 ended by itself: " in text
    assert "the hints stood whole in its request" in text
    assert "the agent's own session, " in text
    assert "# MEMORY (your personal notes)" in text
    assert 'mcp__world__act(text="' in text
    assert "the agent's own session" not in cli("view", evaluation.name, "--pack", "0").out
    page = (evaluation / "report.html").read_text()
    assert "The context's history in one pack" in page
    assert "The agent's own session: " in page
    assert "# MEMORY (your personal notes)" in page


def test_what_is_gone_of_a_session_is_said(cli, home: Path, played: Path) -> None:
    shutil.copytree(played, home / "runs")
    shutil.rmtree(folder(home) / "sessions")
    text = cli("view", folder(home).name, "--pack", "0", "--arm", "own", "--sessions").out
    assert "nothing is left of its session sessions/own-frozen_lake-tiny-test-0-0-0" in text


def test_an_evaluation_that_was_killed_goes_on(cli, home: Path, played: Path) -> None:
    """The journal has one pack whole; of the other there is only what a session had left behind."""
    shutil.copytree(played, home / "runs")
    evaluation = folder(home)
    lines = (evaluation / "journal.jsonl").read_text().splitlines(keepends=True)
    lost = ["curve/frozen_lake-tiny", "own", 0, 1]
    (evaluation / "journal.jsonl").write_text("".join(one for one in lines if json.loads(one).get("unit") != lost))
    for name in ("COMPLETE.json", "result.json"):
        (evaluation / name).unlink()
    for session in (evaluation / "sessions").iterdir():
        (session / "of before").write_text("")
    before = pq.read_table(evaluation / "rows.parquet").drop_columns(["wall_s", "peak_mb"])
    assert cli(*BAYES).code == 0
    assert pq.read_table(evaluation / "rows.parquet").drop_columns(["wall_s", "peak_mb"]) == before
    again = {path.name for path in (evaluation / "sessions").iterdir() if not (path / "of before").exists()}
    assert again == {f"own-frozen_lake-tiny-test-1-0-{position}" for position in range(2)}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--protocol", "answer"], "--protocol is for --agent"),
        (["--update", "agent"], "--update is for --agent"),
        (["--agent-tools", "all"], "--agent-tools is for --agent"),
        (["--agent-deadline", "5"], "--agent-deadline is for --agent"),
        (["--agent-sandbox", "unshare"], "--agent-sandbox is for --agent"),
        (["--keep-homes"], "--keep-homes is for --agent"),
        ([*FAKE, "--protocol", "tools"], "a scripted policy reads no prompt and calls no tools"),
        ([*FAKE, "--update", "agent"], "--update agent needs a model that uses the agent's memory"),
        ([*FAKE, "--every-checkpoint"], "--every-checkpoint plays in codctl's own loop"),
        (["--every-checkpoint", "--keep-homes"], "--keep-homes is for --agent"),
        (["--agent", "hermess"], "unknown agent 'hermess'; did you mean 'hermes'?"),
        (["--agent", "tests.agents.fakes:AGENT"], "it is not a subclass of codctl.agents.program.AgentProgram"),
    ],
)
def test_options_that_mean_nothing_are_refused(cli, home: Path, argv: list[str], said: str) -> None:
    outcome = cli("eval", "--policy", "bayes", *argv)
    assert outcome.code in (2, 3)
    assert said in outcome.err
    assert not (home / "runs").exists()


def test_a_job_gets_the_options_as_they_were_typed(cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []

    def submit(argv: list[str], *_: object, **__: object) -> dict[str, object]:
        sent.append(argv)
        return {"folder": "f", "pid": None, "jobs": ["7"]}

    monkeypatch.setattr("codctl.jobs.launch.send_command", submit)
    typed = [*BAYES, "--agent-deadline", "9", "--concurrency", "3"]
    monkeypatch.setattr("sys.argv", ["codctl", *typed, "--slurm"])
    assert cli(*typed, "--slurm").code == 0
    assert sent == [typed]


def test_a_served_model_reads_what_the_agent_writes_and_calls_tools(cli, home: Path) -> None:
    """`--endpoint` in its own form, with the hints of codctl's update prompt."""

    def answer(body: dict[str, Any]) -> Answer:
        if "tools" not in body:
            return says("Noted.\n--- Start of updated hints ---\nUp is K.\n--- End of updated hints ---")
        done = [message for message in body["messages"] if message["role"] == "tool"]
        if len(done) == 2:
            return says("I stop here.")
        name, arguments = ("mcp__world__act", {"text": "K"}) if done else ("mcp__world__observe", {})
        call = {
            "id": f"c{len(done)}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return Answer(body={"choices": [{"message": message, "finish_reason": "tool_calls"}]})

    with serving() as server:
        server.answer = answer
        outcome = cli(
            "eval",
            "--endpoint",
            server.url,
            "--model-name",
            "m",
            *FAKE,
            "preset=tiny",
            "length=2",
            "packs=1",
            "arms=[own]",
        )
    assert "the model read the agent's prompt" in outcome.out
    first, second = (row for row in pq.read_table(folder(home) / "rows.parquet").to_pylist() if row["arm"] == "own")
    assert (first["protocol"], first["model_calls"], first["tool_calls"], first["turns"]) == ("tools", 3, 2, 1)
    assert (second["outcome"], second["agent_context"]) == ("unsolved", "whole")
    assert any("Up is K." in json.dumps(body["messages"]) for body in server.bodies if "tools" in body)
    assert "The agent stopped before the task was over." in cli("view", folder(home).name, "--pack", "0").out
