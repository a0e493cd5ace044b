"""Scores of given tokens through vLLM are the learner's log-probs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codctl.cod.engine import Weights
from codctl.cod.trajectory import EpisodeRecord
from codctl.engines.provider import Opening
from codctl.engines.replicas import Replicas
from codctl.engines.vllm.provider import Vllm
from codctl.learner.scoring import Scorer
from codctl.models.load import load_model

from .conftest import play, player, recipe, running

pytestmark = pytest.mark.vllm

_ALLOWED = 1e-4  # float32
_TOP = 24  # more than vLLM lists by default


@pytest.fixture(scope="module")
def teacher(loop: asyncio.Runner, models: dict[str, Path], tmp_path_factory: Any) -> Any:
    """The tied model in an engine that was opened for scores."""
    log = tmp_path_factory.mktemp("teacher") / "vllm.log"
    folder = models["tied"]
    yield from running(loop, Vllm().open(Opening(recipe(), folder, folder, (), log, top=_TOP)))


def scored(folder: Path, rows: list[EpisodeRecord], top: int, base: Path) -> Any:
    model: Any = load_model(base, "float32", "cpu")
    if folder != base:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder).eval()
    return Scorer(model, pad_id=0, micro_batch_tokens=4096, chunk=4096, autocast=None)(rows, top)


def test_scores_are_the_learners(
    teacher: Replicas, loop: asyncio.Runner, models: dict[str, Path], new_weights: Callable[..., Path]
) -> None:
    """Of the base and of two adapters on it, one after the other in one engine; rows are another policy's."""
    base, gaps, own = models["tied"], [], []
    trajectories = loop.run(play(player(teacher, base), packs=2, rollouts=2))
    rows = [episode for one in trajectories for episode in one.episodes]
    assert sum(row.loss_tokens for row in rows) > 200
    for step, folder in enumerate([base, new_weights(base, 1, lora=True), new_weights(base, 2, lora=True)]):
        if step:
            loop.run(teacher.update_weights(Weights(step, folder)))
        found = loop.run(teacher.score(rows, _TOP))
        wanted = scored(folder, rows, _TOP, base)
        gaps += [np.abs(a.logprobs_N - b.logprobs_N).max() for a, b in zip(found, wanted, strict=True)]
        gaps += [np.abs(a.top_logprobs_NK - b.top_logprobs_NK).max() for a, b in zip(found, wanted, strict=True)]
        own.append(np.concatenate([one.logprobs_N for one in found]))
    print(f"scores: largest gap to the learner's {max(gaps):.2g}")
    assert max(gaps) < _ALLOWED
    sampled = np.concatenate([row.logprobs[row.loss_mask] for row in rows])
    assert np.abs(own[0] - sampled).max() < _ALLOWED  # the base scores its own replies
    assert np.abs(own[1] - own[0]).mean() > 1e-2  # the adapters say something else
    assert np.abs(own[2] - own[1]).mean() > 1e-2
