"""Engines that are killed or hang in mid-rollout, servers by URL, and what is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from codctl.cod.engine import Weights
from codctl.engines.replicas import Replicas
from codctl.engines.vllm.served import command
from codctl.engines.vllm.settings import settings_of

from .conftest import failures, gap, open_vllm, play, player, recipe, running

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def mortal(loop: asyncio.Runner, models: dict[str, Path], tmp_path_factory: Any) -> Iterator[Replicas]:
    """An engine whose deadline is short enough to be waited for."""
    log = tmp_path_factory.mktemp("mortal") / "vllm.log"
    yield from running(loop, open_vllm(recipe(deadline_s=10.0), models["untied"], engines=(), log=log))


async def interrupted(engine: Replicas, base: Path, number: int, **changes: Any) -> list[Any]:
    """A rollout whose engine gets a signal after its first replies."""
    rollout = asyncio.create_task(play(player(engine, base, **changes), packs=8))
    while not engine.stats.new_tokens:
        await asyncio.sleep(0.01)
    member: Any = engine.members[0]
    os.killpg(member._backend.pid, number)
    return await rollout


def test_what_a_killed_engine_loses_is_asked_again(
    mortal: Replicas, models: dict[str, Path], loop: asyncio.Runner, new_weights: Callable[..., Path]
) -> None:
    weights = new_weights(models["untied"], 7)
    loop.run(mortal.update_weights(Weights(7, weights)))
    trajectories = loop.run(interrupted(mortal, models["untied"], signal.SIGKILL))
    assert not failures(trajectories)
    assert mortal.stats.restarts == 1
    assert gap(trajectories, weights) < 1e-4  # those before and those after
    again = loop.run(play(player(mortal, models["untied"], seed=1)))
    assert not failures(again)
    assert gap(again, weights) < 1e-4


def test_a_hanging_engine_is_started_again(
    mortal: Replicas, models: dict[str, Path], loop: asyncio.Runner, new_weights: Callable[..., Path]
) -> None:
    trajectories = loop.run(interrupted(mortal, models["untied"], signal.SIGSTOP, deadline_s=10.0))
    assert any("no reply within 10 s" in reason for reason in failures(trajectories))
    weights = new_weights(models["untied"], 8)
    loop.run(mortal.update_weights(Weights(8, weights)))  # waits until there is somebody to take them
    again = loop.run(play(player(mortal, models["untied"], seed=1)))
    assert not failures(again)
    assert gap(again, weights) < 1e-4


def test_a_server_by_url_trains_the_same(
    loop: asyncio.Runner, models: dict[str, Path], new_weights: Callable[..., Path], tmp_path: Path
) -> None:
    config = recipe(lora=False)
    settings = settings_of(config, models["untied"], on_gpus=False)
    port = free_port()
    argv = command(settings, Path("unused"))
    at = argv.index("--uds")
    argv[at : at + 2] = ["--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        **settings.environment,
        "VLLM_SERVER_DEV_MODE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url)
        engine = open_vllm(recipe(lora=False, servers=(url,)), models["untied"], engines=(), log=tmp_path / "unused")
        loop.run(engine.start())
        weights = new_weights(models["untied"], 9)
        loop.run(engine.update_weights(Weights(9, weights)))
        trajectories = loop.run(play(player(engine, models["untied"])))
        loop.run(engine.aclose())
        assert not failures(trajectories)
        assert gap(trajectories, weights) < 1e-4
        assert server.poll() is None  # somebody else's
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_nothing_outlives_a_killed_process(models: dict[str, Path], tmp_path: Path) -> None:
    script = (
        "import asyncio\nfrom pathlib import Path\nfrom tests.vllm.conftest import open_vllm, recipe\n"
        f"folder, log = Path({str(models['tied'])!r}), Path({str(tmp_path / 'log')!r})\n"
        "engine = open_vllm(recipe(), folder, engines=(), log=log)\n"
        "asyncio.run(engine.start())\n"
    )
    root = Path(__file__).parents[2]
    chief = psutil.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        children = until(
            lambda: [p for p in chief.children(recursive=True) if "vllm.entrypoints" in " ".join(p.cmdline())]
        )
    finally:
        children_all = chief.children(recursive=True)
        chief.kill()
        chief.wait()
    assert children
    until(lambda: not [p for p in children_all if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    import httpx

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    until(answers, 240)


def until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found
