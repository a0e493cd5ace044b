"""A judge behind a real HTTP server: slow, failing, unreadable, and as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.references import reference_player
from codctl.cod.trajectory import Trajectory
from codctl.engines.openai.judge import EndpointJudge, messages_for, read_verdict
from codctl.envs.base import Pack, act_now
from codctl.envs.learn2ask.data import Row
from codctl.envs.learn2ask.judge import JudgeError, Verdict
from codctl.envs.learn2ask.options import JudgeOptions
from codctl.envs.learn2ask.paper import JudgedEpisode, PaperLearn2Ask
from codctl.envs.registry import check_world
from codctl.errors import BackendError
from tests.engines.openai.fake_server import Answer, FakeServer, refuses, says, serving
from tests.envs.learn2ask.dialogues import write

GOOD = "<think>Hm.\n[format_score] 0</think>\n[format_score] 1\n[content_score] 0.5\n[feedback] Ask more closely."
ROW = Row("1", "1", "migraine", (("user", "My head hurts."),), "continue", ("severity", "fever"))


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as found:
        found.answers = [says(GOOD)]
        yield found


def judge(server: FakeServer, **more: Any) -> EndpointJudge:
    return EndpointJudge(JudgeOptions(kind="endpoint", url=server.url, model="qwen-7b", backoff_s=0.01, **more))


def ask(judge: EndpointJudge, reply: str = "How bad is it?") -> Verdict:
    return asyncio.run(judge.judge(ROW, reply))


def test_a_verdict(server: FakeServer) -> None:
    assert ask(judge(server)) == Verdict(0.5, 1.0, "Ask more closely.")
    [body] = server.bodies
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == ("qwen-7b", 1.0, 0.95, 4096)
    system, user = body["messages"]
    assert "[content_score]" in system["content"]
    assert "- severity\n- fever" in user["content"]
    assert "Patient: My head hurts." in user["content"]
    assert user["content"].endswith("How bad is it?")


@pytest.mark.parametrize("failure", [refuses(503, "overloaded"), Answer(status=0), Answer(torn=True, body={})])
def test_a_failing_request_is_tried_again(server: FakeServer, failure: Answer) -> None:
    server.answers = [failure, failure, says(GOOD)]
    assert ask(judge(server)).content == 0.5
    assert len(server.bodies) == 3


def test_after_six_tries_there_is_no_verdict(server: FakeServer) -> None:
    server.answers = [refuses(500, "no luck")]
    with pytest.raises(JudgeError, match=r"no luck \(after 6 tries\)"):
        ask(judge(server))
    assert len(server.bodies) == 6


def test_a_slow_judge_has_a_deadline_for_each_try(server: FakeServer) -> None:
    server.answers = [Answer(wait_s=0.6, body=says(GOOD).body), says(GOOD)]
    found = judge(server, deadline_s=0.2)
    assert ask(found).content == 0.5
    assert found.deadline_s > 6 * 0.2


@pytest.mark.parametrize(
    "said",
    [
        "",
        "I like it.",
        "[format_score] 1",
        "[format_score] 1 [content_score] 2",
        "[format_score] 1 [content_score] 0.75",
        "[format_score] 1 [content_score] 10",
        "[format_score] 1 [content_score] 0 [content_score] 1",
        "[format_score] one [content_score] 1",
        "<think>[format_score] 1 [content_score] 1",
        "[" * 100_000,
        "[format_score" + " " * 100_000,
    ],
)
def test_what_cannot_be_read_is_not_asked_again(server: FakeServer, said: str) -> None:
    server.answers = [says(said)]
    with pytest.raises(JudgeError, match="cannot be read"):
        ask(judge(server))
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("[format_score] 1\n[content_score] 0\n[feedback] no", Verdict(0, 1, "no")),
        ("**[Format_Score]**: 0.5\n**[Content_Score]**: 1.0\n[feedback]: **ok**", Verdict(1, 0.5, "ok**")),
        ("[format_score] 1 [content_score] 1", Verdict(1, 1, "")),
        ("[format_score] 1, [content_score] 1, [feedback] You missed the FEVER.", Verdict(1, 1, "")),  # a leak
        ("[feedback] a\x1b[31m b\n[format_score] [1]\n[content_score] [0.5]", Verdict(0.5, 1, r"a\x1b[31m b")),
    ],
)
def test_fields_are_read_as_models_write_them(said: str, expected: Verdict) -> None:
    assert read_verdict(said, ROW.facts) == expected


def test_a_long_question_is_cut() -> None:
    assert len(messages_for(ROW, "x" * 10**6)[1]["content"]) < 30_000


@pytest.fixture
def family(server: FakeServer, tmp_path: Path) -> PaperLearn2Ask:
    settings = {"kind": "endpoint", "url": server.url, "model": "qwen-7b", "backoff_s": 0.01, "attempts": 2}
    options = {"data": str(write(tmp_path / "talks.jsonl")), "judge": settings}
    found = check_world("learn2ask", "tiny", "paper", options=options)
    assert isinstance(found, PaperLearn2Ask)
    return found


def played(family: PaperLearn2Ask, split: str = "train", packs: int = 6) -> list[Trajectory]:
    drawn: list[Pack] = [family.pack(split, index, 4, "tiny", "paper") for index in range(packs)]
    player = reference_player("demonstrator", "full", 0)

    async def all_at_once() -> list[Trajectory]:
        return await asyncio.gather(*(player.play(pack, 0) for pack in drawn))

    return asyncio.run(all_at_once())


def test_episodes_wait_for_it_side_by_side(server: FakeServer, family: PaperLearn2Ask) -> None:
    server.answers = [Answer(wait_s=0.05, body=says(GOOD).body)]
    solves = [episode for trajectory in played(family) for episode in trajectory.of("solve")]
    assert {episode.raw_reward for episode in solves} == {1.0, 0.75}  # the demonstrator stops rightly, or is judged
    assert server.peak > 2
    assert len(server.bodies) == sum(episode.raw_reward == 0.75 for episode in solves)
    assert "Ask more closely." in next(e.feedback for e in solves if e.raw_reward == 0.75)


@pytest.mark.parametrize("answer", [says("I like it."), refuses(500, "no luck")])
def test_without_a_verdict_an_episode_has_no_score_and_is_counted(
    server: FakeServer, family: PaperLearn2Ask, answer: Answer
) -> None:
    server.answers = [answer]
    solves = [episode for trajectory in played(family, packs=2) for episode in trajectory.of("solve")]
    lost = [episode for episode in solves if episode.failed]
    assert lost
    assert len(lost) < len(solves)  # ends need no judge
    for episode in lost:
        assert (episode.outcome, episode.format_error) == ("lost", False)
        assert "the judge" in episode.failed


def test_demonstrations_need_no_server(server: FakeServer, family: PaperLearn2Ask) -> None:
    assert all(e.raw_reward == 1.0 for t in played(family, "demonstration") for e in t.of("solve"))
    assert server.bodies == []
    assert family.policies == ("stop", "random")  # references that ask would cost a request each


def test_a_single_action_waits_where_no_loop_runs(server: FakeServer, family: PaperLearn2Ask) -> None:
    slots = [slot for i in range(5) for slot in family.pack("train", i, 4, "tiny", "paper").slots]
    episode = next(slot for slot in slots if slot.task.row.decision == "continue").begin("full")
    assert isinstance(episode, JudgedEpisode)
    assert episode.waits
    assert act_now(episode, "How bad is it?").reward == 0.75


def test_the_probe_says_what_is_wrong(server: FakeServer, family: PaperLearn2Ask) -> None:
    asyncio.run(family.probe())
    server.answers = [refuses(404, "no such model")]
    with pytest.raises(BackendError, match="no such model"):
        asyncio.run(family.probe())
