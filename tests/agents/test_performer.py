"""A pack that is played inside an agent program is the pack that codctl's own player plays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from codctl.agents import performer as performers
from codctl.agents import session as sessions
from codctl.agents.proxy.models import ChatModel, ChatReply, ChatRequest, ToolCall
from codctl.cod.attempt import Attempt, Performance
from codctl.cod.trajectory import EpisodeRecord
from codctl.envs.base import PolicyView
from codctl.errors import StageError
from codctl.evaluate.by_agent import AnswerModels
from tests.agents import fakes
from tests.agents.fakes import Fake
from tests.agents.playing import by_itself, inside, pack_of, player_of, solves, without_performance


@pytest.mark.parametrize("program", [fakes.LikeHermes(), fakes.LikeClaude()], ids=lambda one: one.title)
def test_it_is_the_same_to_the_token(program: Fake, tmp_path: Path) -> None:
    packs = [pack_of(), pack_of("alchemy", 2)]
    player = player_of()
    found = inside(player, packs, program, tmp_path)
    assert [without_performance(one) for one in found] == by_itself(player, packs)
    played = [episode.performance for one in found for episode in solves(one)]
    assert {one.ended for one in played if one} == {"ended"}
    assert [one.context for one in played if one] == ["none", "whole", "whole", "none", "whole"]


@pytest.mark.parametrize("arm", ["none", "oracle"])
def test_so_it_is_in_other_arms(arm: str, tmp_path: Path) -> None:
    player, packs = player_of(arm=arm), [pack_of(length=2)]
    found = inside(player, packs, fakes.LikeHermes(), tmp_path)
    assert [without_performance(one) for one in found] == by_itself(player, packs)


def test_so_it_is_with_full_texts(tmp_path: Path) -> None:
    """Hints of several lines, a conversation that has begun, a world that waits."""
    player, packs = player_of("full"), [pack_of(family, 2) for family in ("learn2ask", "terminal")]
    found = inside(player, packs, fakes.LikeHermes(), tmp_path)
    assert [without_performance(one) for one in found] == by_itself(player, packs)


def one(program: Fake, folder: Path, **options: Any) -> EpisodeRecord:
    """The first episode of a pack, played in a program."""
    return solves(inside(player_of(arm="none"), [pack_of(length=1)], program, folder, **options)[0])[0]


def performed(episode: EpisodeRecord) -> Performance:
    assert episode.performance is not None
    return episode.performance


def test_what_the_rows_say(tmp_path: Path) -> None:
    episode = one(fakes.LikeHermes(), tmp_path)
    found = performed(episode)
    assert (found.agent, found.version, found.protocol, found.ended) == ("fake", "1.0", "answer", "ended")
    assert found.model_calls == len(episode.replies) + 1 + (not episode.format_error)
    assert found.tool_calls == len(episode.actions) + 1
    assert found.wall_s > 0
    assert found.peak_mb > 5
    assert sorted(path.name for path in (tmp_path / found.session).iterdir()) == ["exchanges.jsonl", "stderr", "stdout"]


def test_a_session_that_was_broken_off_is_replaced_and_homes_are_kept_on_request(tmp_path: Path) -> None:
    session = tmp_path / "sessions" / "own-frozen_lake-tiny-test-0-0-0"
    session.mkdir(parents=True)
    (session / "exchanges.jsonl").write_text("{torn")
    found = performed(one(fakes.LikeHermes(), tmp_path, keep_homes=True))
    assert tmp_path / found.session == session
    assert sorted(path.name for path in session.iterdir()) == ["exchanges.jsonl", "home", "stderr", "stdout", "work"]
    assert "torn" not in (session / "exchanges.jsonl").read_text()


def test_one_that_never_lets_the_model_act_has_no_score(tmp_path: Path) -> None:
    episode = one(fakes.Talking(), tmp_path)
    assert (episode.outcome, episode.failed) == ("lost", "Fake ended before the model was asked for an action")
    assert performed(episode).ended == "ended"


def test_one_that_lost_its_connection_has_no_score(tmp_path: Path) -> None:
    episode = one(fakes.Losing(), tmp_path)
    assert (episode.outcome, episode.failed) == ("lost", "Fake lost its model: network connection error")


def test_one_that_dies_before_the_model_could_act_has_no_score(tmp_path: Path) -> None:
    episode = one(fakes.Dying(), tmp_path)
    assert (episode.outcome, episode.failed) == ("lost", "Fake ended before the model was asked for an action")
    assert performed(episode).ended == "crashed"


def test_one_that_misses_its_deadline_has_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_GRACE_S", 0.1)
    episode = one(fakes.Hanging(), tmp_path, deadline_s=1.0)
    assert (episode.outcome, episode.failed) == ("lost", "Fake did not end within 1 s")
    assert performed(episode).ended == "timeout"


def test_one_that_hangs_after_its_task_keeps_its_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_GRACE_S", 0.1)
    monkeypatch.setattr(sessions, "_LINGER_S", 0.2)
    player, packs = player_of(arm="none"), [pack_of(length=1)]
    found = inside(player, packs, fakes.Lingering(), tmp_path)
    assert [without_performance(one) for one in found] == by_itself(player, packs)
    assert performed(solves(found[0])[0]).ended == "timeout"


def test_a_call_that_the_program_denies_has_no_score_though_it_ends_with_0(tmp_path: Path) -> None:
    episode = one(fakes.Denying(), tmp_path)
    assert episode.outcome == "lost"
    assert "an action did not reach the world: Permission to use this tool has been denied." in episode.failed
    assert performed(episode).ended == "model_error"


def test_hints_that_are_cut_are_seen(tmp_path: Path) -> None:
    found = inside(player_of(arm="oracle"), [pack_of(length=1)], fakes.Cutting(), tmp_path)
    assert performed(solves(found[0])[0]).context == "cut"


def test_a_program_that_cannot_run_ends_the_evaluation(tmp_path: Path) -> None:
    episode = one(fakes.Broken(), tmp_path)
    with pytest.raises(StageError, match="Fake has ended 3 times without asking the model: fake: error while loading"):
        inside(player_of(arm="none"), [pack_of(length=4)], fakes.Broken(), tmp_path)
    assert episode.failed == "Fake ended before it asked the model: fake: error while loading shared libraries"


class Endless(AnswerModels):
    """A model that never stops calling tools, whose replies the server cuts."""

    def solving(self, attempt: Attempt, seed: int) -> ChatModel:
        return self

    protocol: Literal["answer", "tools"] = "tools"

    async def chat(self, request: ChatRequest) -> ChatReply:
        observe = next(name for name in request.tool_names if name.endswith("observe"))
        return ChatReply("", [ToolCall(f"call{len(request.messages)}", observe, "{}")], "length")


def test_a_model_without_an_end_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performers, "_CALLS", {"none": (0, 5)})
    episode = one(fakes.LikeOpenClaw(), tmp_path, models=Endless())
    assert (episode.outcome, episode.failed) == ("unsolved", "")
    assert episode.feedback == performers.STOPPED
    assert (performed(episode).ended, performed(episode).model_calls) == ("turn_cap", 6)
    assert json.loads((tmp_path / performed(episode).session / "stdout").read_text())["resumed"] == 0


class Writing(AnswerModels):
    """Tasks in the form of the training; in updates a model that writes the agent's memory with the agent's tool."""

    prompts: list[str]

    def __init__(self) -> None:
        self.prompts = []

    def updating(self, view: PolicyView, rollout: int, seed: int) -> ChatModel:
        return self

    protocol: Literal["answer", "tools"] = "tools"

    async def chat(self, request: ChatRequest) -> ChatReply:
        if any(message["role"] == "tool" for message in request.messages):
            return ChatReply("Done.")
        self.prompts.append(request.text)
        assert request.tool_names == ["memory"]
        text = f"Up is K. This is note {len(self.prompts)}."
        return ChatReply("", [ToolCall("call000001", "memory", json.dumps({"text": text}))])


def test_an_agent_may_write_the_hints_itself(tmp_path: Path) -> None:
    models = Writing()
    (found,) = inside(player_of(), [pack_of(length=3)], fakes.LikeHermes(), tmp_path, update="agent", models=models)
    assert [one.hints for one in solves(found)] == ["", *(f"Up is K. This is note {n}." for n in (1, 2))]
    assert [performed(one).context for one in solves(found)] == ["none", "whole", "whole"]
    update = found.of("update")[1]
    assert (update.outcome, update.replies) == ("written", ("Up is K. This is note 2.",))
    assert performed(update).session == "sessions/own-frozen_lake-tiny-test-0-0-1-update"
    assert "Up is K. This is note 1." in models.prompts[1]
    assert "reward" in models.prompts[1]


def test_an_agent_that_writes_nothing_keeps_the_hints(tmp_path: Path) -> None:
    class Idle(Writing):
        async def chat(self, request: ChatRequest) -> ChatReply:
            return ChatReply("There is nothing to note.")

    (found,) = inside(player_of(), [pack_of(length=2)], fakes.LikeHermes(), tmp_path, update="agent", models=Idle())
    (update,) = found.of("update")
    assert (update.outcome, update.hints, update.failed) == ("empty_hints", "", "")
