"""A package outside the tree, installed by pip, adds one of each thing; one run and one evaluation use them all."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from codctl.cod.references import reference_player
from codctl.cod.trajectory import Trajectory
from tests.envs.learn2ask.dialogues import write

PACKAGE = Path(__file__).parents[1] / "plugin_package"
MOST_LINES = 50
RECIPE = """\
name: toy
world: {{family: buttons, preset: usual, rendering: compact, length: 3}}
model: {{build: {{layers: 1, width: 16, heads: 2, kv_heads: 2, ffn: 32, vocab: 300}}}}
sampling: {{solve_tokens: 8, update_tokens: 12}}
warm_start: {{packs: 60, epochs: 4, batch_rows: 16, lr: 2e-2}}
train:
  steps: 2
  packs: 2
  rollouts: 4
  lr: 1e-3
  credit: {{returns: own_reward}}
  loss: {{kind: reinforce, options: {{scale: 0.5}}}}
engine: {{kind: toy, options: {{url: "{url}"}}}}
health: {{look: {{packs: 2}}}}
evaluation: {{packs: 2, arms: [own, lie], long_length: 0}}
tracking: {{mlflow: false, sinks: [lines], options: {{lines: {{file: numbers.txt}}}}}}
runtime: {{threads: 1, progress_s: 1}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the package, built from a copy: building leaves files behind."""
    source, site = tmp_path_factory.mktemp("source") / "toys", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, *offline, "--target", str(site), str(source)], check=True, capture_output=True, timeout=300)
    return site


@pytest.fixture
def server() -> Iterator[Any]:
    """The toy engine's server, which knows nothing of codctl."""
    module = ModuleType("toys_server")
    exec(compile((PACKAGE / "toys" / "server.py").read_text(), "server.py", "exec"), vars(module))
    made = module.Server()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def codctl(site: Path, tmp_path: Path) -> Any:
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(tmp_path / "state")}

    def call(*argv: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "codctl.cli.main", *argv, "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)["result"]
        return found

    return call


def test_each_is_short() -> None:
    for path in sorted((PACKAGE / "toys").glob("*.py")):
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        assert len(lines) < MOST_LINES, path


def test_a_run_and_an_evaluation_use_all_of_them(codctl: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(RECIPE.format(url=server.url))
    codctl("train", "toy.yaml", "--on", "here")
    run = tmp_path / "runs" / "toy"
    while (status := codctl("status", "toy")["runs"][0])["status"] in ("queued", "starting", "running"):
        time.sleep(0.2)
    assert status["status"] == "finished", (status, (run / "attempts/001/log.txt").read_text())
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [record["metrics"] for record in metrics if record["phase"] == "train"]
    assert any(step["grad_norm"] > 0 for step in steps)
    assert server.asked.count("weights") >= 3  # at the start, and after each step
    lines = (run / "numbers.txt").read_text().splitlines()
    assert f"2 train/loss {steps[1]['loss']:g}" in lines
    assert lines[-1] == "finished"
    arms = codctl("train", "toy.yaml")["metrics"]["after"]
    assert set(arms) == {"own", "lie"}

    found = codctl("eval", "--run", "toy", "strategy=twice", "arms=[own,lie]", "packs=2", "length=4")
    assert (found["parts"][0]["strategy"], set(found["parts"][0]["arms"])) == ("twice", {"own", "lie"})
    assert found["parts"][0]["ceiling_curves"] == {}  # buttons have no references


def test_what_there_is_can_be_seen(codctl: Any) -> None:
    [family] = [family for family in codctl("env", "list")["families"] if family["name"] == "buttons"]
    assert family["policies"] == ["random"]
    assert codctl("env", "ceilings", "buttons", "--packs", "10")["curves"] == []
    assert codctl("env", "prompts", "buttons")["prompts"]


@pytest.mark.parametrize("ends", ["played", "no answer", "cancelled"])
def test_what_an_episode_holds_is_given_back(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PACKAGE)
    from toys import world

    held: list[int] = []

    async def waiting(_: float) -> None:
        held.append(len(world.Push.open))
        if ends == "no answer":
            raise ConnectionError("the panel is gone")
        if ends == "cancelled":
            await asyncio.Event().wait()

    monkeypatch.setattr(world, "asyncio", SimpleNamespace(sleep=waiting))

    async def play() -> Trajectory | None:
        pack = world.Buttons().pack("train", 0, 3, "usual")
        playing = asyncio.create_task(reference_player("random", "compact", 0).play(pack, 0))
        while not held:
            await asyncio.sleep(0)
        if ends == "cancelled":
            playing.cancel()
        return None if (await asyncio.wait([playing]), playing.cancelled())[1] else playing.result()

    found = asyncio.run(play())
    assert held == [1] if ends == "cancelled" else held == [1, 1, 1]
    assert world.Push.open == set()
    if found:
        assert {bool(one.failed) for one in found.of("solve")} == {ends == "no answer"}


def test_a_judge_judges_questions(codctl: Any, tmp_path: Path) -> None:
    options = ["--set", f"data={write(tmp_path / 'talks.jsonl')}", "--set"]
    play = ["env", "play", "learn2ask", "--variant", "paper", "--policy", "random", "--index", "3", *options]
    assert codctl(*play, "judge.kind=brief")["reward"] == [0, 0, 1, 1]
    assert codctl(*play, "judge.kind=rule")["reward"] == [0, 0, 0.75, 0.75]  # the same replies


def test_an_exporter_puts_hints_into_a_file_of_its_own(codctl: Any, tmp_path: Path) -> None:
    (tmp_path / "hints").write_text("Press the red one.")
    where = ["--contexts-dir", str(tmp_path)]
    codctl("context", "edit", "buttons", "--from", str(tmp_path / "hints"), *where)
    done = codctl("context", "export", "buttons", "--to", "notes", "--dir", str(tmp_path), *where)
    assert done["most_chars"] == 1_000
    assert "Press the red one." in (tmp_path / "NOTES.md").read_text()
