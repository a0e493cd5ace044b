"""Imported sessions as a folder: rows, demonstrations that a warm start reads, training rows, and what is missing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from codctl.agents.proxy.models import ChatReply, ChatRequest, Tokens, ToolCall
from codctl.agents.proxy.session import Exchange
from codctl.cod.conversation import ByteChat
from codctl.cod.prompts import solve_messages
from codctl.cod.rollout import Player
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.config.compose import load_config
from codctl.envs.registry import get_family
from codctl.errors import PreflightError, RefusedError
from codctl.learner import demonstrations
from codctl.sessions import rows, training
from codctl.sessions.importing import Imported, Wanted, import_sessions, missing, read_imported
from codctl.sessions.mask import Mask
from codctl.sessions.play import PlayedWorld, demonstration
from codctl.sessions.session import Call, Message, Session
from codctl.sessions.verify import rewarded, verified

from .conftest import AGENTS, SAMPLES, sample

LAKE = PlayedWorld.of("frozen_lake", "easy", None, "full")


def one(session: Session) -> Session:
    return rewarded(session, 1.0)


def imported(out: Path, *agents: str, wanted: Wanted | None = None) -> Imported:
    return import_sessions([SAMPLES / f"{agent}.jsonl" for agent in agents], out, wanted or Wanted())


def test_without_rewards_and_tokens_there_are_rows_that_say_so(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    found = imported(tmp_path / "out", *AGENTS)
    table = pq.read_table(tmp_path / "out" / rows.FILE).to_pylist()
    assert [(row["agent"], row["model_calls"], row["tool_calls"]) for row in table] == [(a, 4, 3) for a in AGENTS]
    assert {(row["success"], row["raw_reward"], row["outcome"], row["tokens"]) for row in table} == {
        (None, None, "no_reward", "none")
    }
    assert missing(found) == [
        "4 of 4 have no reward: --reward or --verify gives one.",
        "4 of 4 have no exact tokens, so there are no training rows of them: only a record of codctl's model proxy can "
        "have them.",
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "COMPLETE.json", "README.md", "rows.parquet", "sessions.jsonl",
    }  # fmt: skip


def test_the_folder_gives_the_sessions_back(tmp_path: Path) -> None:
    imported(tmp_path / "out", *AGENTS, wanted=Wanted(reward=one))
    back = read_imported(tmp_path / "out")
    for found, agent in zip(back, AGENTS, strict=True):
        assert found.messages == sample(agent).messages
        assert (found.agent, found.reward, found.reward_from) == (agent, 1.0, "given")


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    imported(tmp_path / "out", "hermes")
    with pytest.raises(RefusedError):
        imported(tmp_path / "out", "hermes")


def test_demonstrations_are_what_a_warm_start_reads(tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = imported(out, *AGENTS, wanted=Wanted(reward=one, world=LAKE, mask=Mask()))
    assert found.demonstrations == 4
    recipe = ["world.preset=easy", "world.rendering=full", f"warm_start.demonstrations={out}", "warm_start.packs=4"]
    config = load_config("tiny", recipe)
    demonstrations.check(config)
    read = demonstrations.read(out)
    pack = get_family("frozen_lake").pack("test", 3, 4, "easy")
    episode = pack.slots[0].begin("full")
    for shown, agent in zip(read, AGENTS, strict=True):
        hints = "Z moves up." if agent in ("hermes", "openclaw") else ""
        assert list(shown.messages[:2]) == solve_messages(pack.slots[0], hints, episode.observation, "full")
        assert [m["role"] for m in shown.messages] == ["system", "user", "assistant", "user", "assistant"]
        assert shown.messages[2]["content"] == "I try a code.\n<answer>Z</answer>"
        assert shown.messages[4]["content"] == "<answer>K</answer>"
    record = demonstrations.episode_of(read[0], ByteChat())
    assert record.replies == tuple(m["content"] for m in read[0].messages[2::2])


def test_calls_after_the_end_are_no_part_of_a_demonstration() -> None:
    session = one(sample("openclaw"))
    again = replace(session.replies[2], calls=(Call("c9", "world__act", {"text": "X"}),))
    over = Message("tool", "The task is over. Do not call act again.", call_id="c9")
    repeated = replace(session, messages=(*session.messages, again, over))
    assert demonstration(repeated, LAKE, 0) == demonstration(session, LAKE, 0)


def test_what_is_no_demonstration_is_counted_by_its_reason(tmp_path: Path) -> None:
    def by_agent(session: Session) -> Session:
        return session if session.agent == "hermes" else rewarded(session, float(session.agent == "openclaw"))

    strange = tmp_path / "strange.jsonl"
    strange.write_text((SAMPLES / "openclaw.jsonl").read_text().replace("world__act", "web__fetch"))
    paths = [strange, *(SAMPLES / f"{agent}.jsonl" for agent in ("hermes", "qwenpaw"))]
    found = import_sessions(paths, tmp_path / "out", Wanted(reward=by_agent, world=LAKE))
    assert found.left_out == {"other tools than the world's were called": 1, "no reward": 1, "reward 0": 1}
    assert found.demonstrations == 0
    assert not (tmp_path / "out" / demonstrations.FILE).exists()


@pytest.mark.parametrize(
    ("argv", "reward"),
    [
        (["grep", "-q", "reached the goal"], 1.0),
        (["grep", "-q", "fell into a hole"], 0.0),
        (["sh", "-c", "kill -9 $$"], None),
        (["sh", "-c", "exit 127"], None),
    ],
)
def test_a_command_gives_the_reward(argv: list[str], reward: float | None) -> None:
    found = verified(sample("hermes"), argv)
    assert found.reward == reward
    assert ("it was not verified" in found.notes[-1]) == (reward is None)


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    verified(sample("hermes"), ["cat", f"> {tmp_path}/made; touch {tmp_path}/made"])
    assert not (tmp_path / "made").exists()


def test_a_command_that_is_not_there_or_takes_too_long() -> None:
    with pytest.raises(PreflightError, match="cannot be started"):
        verified(sample("hermes"), ["/nowhere/to/be/found"])
    found = verified(sample("hermes"), ["sleep", "9"], deadline_s=0.05)
    assert found.reward is None
    assert "longer than 0.05 s" in found.notes[-1]


def recorded(folder: Path) -> np.ndarray:
    """A session as the proxy records it where the model gives its tokens; the ids of the episode that it is made of."""
    family = get_family("frozen_lake")
    pack = family.pack("test", 3, 1, "easy")
    player = Player(ScriptedAgent(EachFamily("informed"), ByteChat()), ByteChat(), RolloutSettings(rendering="full"), 1)
    episode = asyncio.run(player.play(pack, 0)).episodes[0]
    ids, begin = episode.ids.tolist(), 0
    messages, lines = [{"role": "user", "content": "play"}], []
    for number, (end, text) in enumerate(zip(episode.turn_ends, episode.replies, strict=True)):
        start = next(place for place in range(begin, end) if episode.loss_mask[place])
        act = ToolCall(f"c{number}", "world__act", json.dumps({"text": episode.actions[number]}))
        tokens = Tokens(ids[:start], ids[start:end], [-0.5] * (end - start))
        reply = ChatReply(tool_calls=[act], written=text, tokens=tokens)
        request = ChatRequest([dict(message) for message in messages])
        lines.append(Exchange(number + 1, "openai", "m", False, request, reply, "", False, 0.1, "").as_json())
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [act.as_message()]},
            {"role": "tool", "tool_call_id": f"c{number}", "content": "seen"},
        ]
        begin = end
    folder.mkdir()
    (folder / "exchanges.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return episode.ids


def test_exact_tokens_become_the_row_that_codctl_itself_trains_on(tmp_path: Path) -> None:
    ids = recorded(tmp_path / "own-0")
    wanted = Wanted(agent="hermes", version="0.19.0", reward=one)
    found = import_sessions([tmp_path / "own-0" / "exchanges.jsonl"], tmp_path / "out", wanted)
    assert (found.inexact, found.training_rows) == (0, 1)
    (row,) = training.read(tmp_path / "out" / training.FILE)
    assert row.ids.tolist() == ids.tolist()
    assert (row.session, row.first, row.replies, row.reward) == ("own-0", 0, 2, 1.0)
    assert set(row.logprobs[row.loss_mask]) == {np.float32(-0.5)}
    assert found.sessions[0].agent == "hermes"
    (back,) = read_imported(tmp_path / "out")
    assert back.tokens == "exact"


def test_masked_text_leaves_no_training_rows(tmp_path: Path) -> None:
    recorded(tmp_path / "own-0")
    record = tmp_path / "own-0" / "exchanges.jsonl"
    record.write_text(record.read_text().replace('"content": "play"', '"content": "play in /home/jane"'))
    found = import_sessions([record], tmp_path / "out", Wanted(mask=Mask()))
    assert (found.training_rows, found.masked) == (0, {"home": 1})
    assert not (tmp_path / "out" / training.FILE).exists()
    assert "jane" not in (tmp_path / "out" / "sessions.jsonl").read_text()


def test_a_folder_is_not_written_where_something_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(Exception, match="no form of sessions"):
        import_sessions([SAMPLES / "hermes.jsonl", tmp_path / "bad"], tmp_path / "out", Wanted())
    assert not (tmp_path / "out").exists()
    assert asdict(LAKE)["preset"] == "easy"
