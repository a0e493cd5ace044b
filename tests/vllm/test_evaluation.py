"""A run that samples with vLLM is evaluated with it, without a model in the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from codctl.config.evalspec import EvalSpec
from codctl.evaluate.runner import play
from codctl.evaluate.subject import PolicyRunner, PolicyUnderTest, open_runner
from codctl.results.journal import MemoryJournal
from codctl.results.summary import Summary, summarise

from .conftest import recipe

pytestmark = pytest.mark.vllm


async def _played(runner: PolicyRunner, spec: EvalSpec) -> Summary:
    assert runner.check
    assert runner.close
    journal = MemoryJournal()
    await runner.check()
    try:
        await play(runner.player(spec), spec, journal, lambda *news: None)
    finally:
        await runner.close()
    return summarise(spec, journal)


def test_an_evaluation_starts_an_engine_and_ends_it(models: dict[str, Path], tmp_path: Path) -> None:
    spec = EvalSpec(packs=4, length=2, arms=("own", "none"), solve_tokens=8, update_tokens=8, preset="tiny")
    before = set(psutil.Process().children(recursive=True))
    runner = open_runner(PolicyUnderTest("run", "r", models["tied"], recipe()), tmp_path / "engine.log")
    summary = asyncio.run(_played(runner, spec))
    assert set(summary.result.arms) >= {"own", "none"}
    assert set(psutil.Process().children(recursive=True)) <= before
    assert (tmp_path / "engine.log").stat().st_size
