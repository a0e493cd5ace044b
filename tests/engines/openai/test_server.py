"""The endpoint engine against a real server process, `transformers serve`, with the tiny model."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.conversation import TemplateChat
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import Trajectory
from codctl.engines.openai.engine import EndpointSettings, open_endpoint
from codctl.envs.base import Pack
from codctl.envs.registry import get_family
from codctl.errors import BackendError

pytestmark = pytest.mark.slow

START_S = 300.0
GREEDY = 1e-4  # the batching engine divides by it


@dataclass(frozen=True)
class Served:
    """A model folder and the server that serves it."""

    folder: Path
    url: str

    def settings(self, model: str = "") -> EndpointSettings:
        return EndpointSettings(self.url, model or str(self.folder), concurrency=4, price_prompt=1.0)


@pytest.fixture(scope="module")
def served(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("served")
    folder = place / "model"
    shutil.copytree(tiny_folder, folder)
    teach_the_form(folder)
    (place / "hub").mkdir()
    command = [Path(sys.executable).with_name("transformers"), "serve", folder, "--port", "0", "--host", "127.0.0.1"]
    settings = {"HF_HOME": str(place), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    log = place / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*map(str, command), "--device", "cpu", "--dtype", "float32"],
            env={**os.environ, **settings},
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield Served(folder, wait_for_address(process, log) + "/v1")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The server picks a free port and says which."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    pytest.fail(f"`transformers serve` did not start (exit code {process.poll()}):\n{log.read_text()[-3000:]}")


def teach_the_form(folder: Path) -> None:
    """Train until replies have an answer block, so that episodes are more than one turn long."""
    import torch

    from codctl.models.load import load_model, load_tokenizer

    chat = TemplateChat(load_tokenizer(folder))
    player = Player(ScriptedAgent(EachFamily("demonstrator"), chat), chat, RolloutSettings("compact"), seed=0)
    packs = [get_family("frozen_lake").pack("demonstration", i, 2, "tiny") for i in range(4)]
    episodes = [e for t in asyncio.run(play_all(player, packs, 1)) for e in t.episodes]
    longest = max(len(e.ids) for e in episodes)
    ids = torch.tensor([e.ids.tolist() + [0] * (longest - len(e.ids)) for e in episodes])
    mask = torch.tensor([e.loss_mask.tolist() + [0] * (longest - len(e.ids)) for e in episodes])
    model = load_model(folder, "float32", "cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    labels = ids.masked_fill(mask == 0, -100)
    for _ in range(40):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)


def tiny_packs() -> list[Pack]:
    return [get_family("frozen_lake").pack("test", index, 3, "tiny") for index in range(4)]


def play_here(folder: Path) -> tuple[list[Trajectory], Any]:
    from codctl.config.schema import Config
    from codctl.train.setup import load_speaker, open_in_process

    speaker = load_speaker(folder, "float32", "cpu")
    engine = open_in_process(Config.model_validate({"runtime": {"max_batch": 16}}), speaker)
    settings = RolloutSettings("compact", temperature=GREEDY, solve_tokens=16, update_tokens=24)
    return asyncio.run(play_all(Player(engine, speaker.chat, settings, seed=3), tiny_packs(), 1)), engine.stats


def play_there(served: Served) -> tuple[list[Trajectory], dict[str, Any]]:
    engine, chat = open_endpoint(served.settings())
    asyncio.run(engine.probe())
    before = engine.stats
    rollout = RolloutSettings("compact", temperature=0.0, solve_tokens=16, update_tokens=24)
    found = asyncio.run(play_all(Player(engine, chat, rollout, seed=3), tiny_packs(), 1))
    return found, {k: v - before[k] for k, v in engine.stats.items() if k != "notes"}


def test_a_served_model_plays_as_it_does_at_home(served: Served) -> None:
    here, local = play_here(served.folder)
    there, remote = play_there(served)
    for ours, theirs in zip(here, there, strict=True):
        for mine, other in zip(ours.episodes, theirs.episodes, strict=True):
            assert (other.failed, other.replies, other.observations) == ("", mine.replies, mine.observations)
            assert (other.raw_reward, other.hints, other.turns) == (mine.raw_reward, mine.hints, mine.turns)
    episodes = [episode for trajectory in there for episode in trajectory.episodes]
    assert max(len(episode.replies) for episode in episodes) > 1
    assert remote["prompt_tokens"] == local.prompt_tokens  # the server saw the same conversations, token for token
    assert remote["completion_tokens"] == local.new_tokens
    assert remote["replies"] == remote["requests"] == sum(len(episode.replies) for episode in episodes)
    assert remote["cost"] == pytest.approx(local.prompt_tokens / 1e6)


def test_a_name_that_is_not_served(served: Served) -> None:
    with pytest.raises(BackendError, match=r"400 Bad Request: Server is pinned to .*; requested 'gpt-0'"):
        asyncio.run(open_endpoint(served.settings("gpt-0"))[0].probe())


def test_a_url_without_its_version(served: Served) -> None:
    short = Served(served.folder, served.url.removesuffix("/v1"))
    with pytest.raises(BackendError, match=r"no chat is served here \(404 Not Found: Not Found\)") as caught:
        asyncio.run(open_endpoint(short.settings())[0].probe())
    assert caught.value.hint == f"--endpoint {served.url}"
