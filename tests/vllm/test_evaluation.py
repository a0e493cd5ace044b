"""A run that samples with vLLM is evaluated with it, without a model in the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from codctl.config.evalspec import EvalSpec
from codctl.evaluate.evaluation import _play
from codctl.evaluate.subject import PolicyUnderTest, open_runner
from codctl.results.journal import MemoryJournal
from codctl.results.summary import summarise

from .conftest import recipe

pytestmark = pytest.mark.vllm


class Silent:
    def update(self, *news: object) -> None: ...

    def message(self, text: str) -> None: ...


def test_an_evaluation_starts_an_engine_and_ends_it(models: dict[str, Path], tmp_path: Path) -> None:
    spec = EvalSpec(packs=4, length=2, arms=("own", "none"), solve_tokens=8, update_tokens=8, preset="tiny")
    before = set(psutil.Process().children(recursive=True))
    performer = open_runner(PolicyUnderTest("run", "r", models["tied"], recipe()), tmp_path / "engine.log")
    journal = MemoryJournal()
    asyncio.run(_play(performer, spec, Silent(), journal))
    assert set(summarise(spec, journal).result["arms"]) >= {"own", "none"}
    assert set(psutil.Process().children(recursive=True)) <= before
    assert (tmp_path / "engine.log").stat().st_size
