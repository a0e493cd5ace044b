"""Scores of given tokens: those of the learner to the last bit, of the likeliest tokens, of the whole vocabulary."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from codctl.cod.engine import ALL, EngineError
from codctl.config.schema import TrainConfig
from codctl.engines.transformers_engine import TransformersEngine
from codctl.learner.learner import Learner
from codctl.learner.scoring import Scorer
from tests.learner.samples import random_samples


@pytest.mark.parametrize("chunk", [7, 4096])
def test_scores_are_the_learners_to_the_last_bit(model: Any, chunk: int) -> None:
    rows = random_samples(40)
    learner = Learner(
        model, TrainConfig(micro_batch_tokens=256, logprob_chunk=chunk), pad_id=0, temperature=1.0, seed=0
    )
    scorer = Scorer(model, pad_id=0, micro_batch_tokens=256, chunk=chunk, autocast=None)
    for own, scores in zip(learner.score(rows), scorer(rows), strict=True):
        assert np.array_equal(own, scores.logprobs_N)
        assert scores.top_ids_NK is None
        assert scores.top_logprobs_NK is None


def test_the_likeliest_tokens_and_the_whole_vocabulary_are_the_models(model: Any) -> None:
    rows = random_samples(5, seed=1)
    scorer = Scorer(model, pad_id=0, micro_batch_tokens=256, chunk=4096, autocast=None)
    for row, few, every in zip(rows, scorer(rows, 3), scorer(rows, ALL), strict=True):
        with torch.no_grad():
            all_TV = torch.log_softmax(model(input_ids=torch.tensor(row.ids.tolist())[None]).logits[0].float(), -1)
        wanted_NV = all_TV[np.flatnonzero(row.loss_mask) - 1].numpy()
        assert every.top_logprobs_NK is not None
        assert few.top_ids_NK is not None
        assert every.top_logprobs_NK == pytest.approx(wanted_NV, abs=1e-5)
        assert few.logprobs_N == pytest.approx(wanted_NV[range(len(wanted_NV)), row.ids[row.loss_mask]], abs=1e-5)
        assert few.top_logprobs_NK == pytest.approx(-np.sort(-wanted_NV)[:, :3], abs=1e-5)
        assert few.top_logprobs_NK == pytest.approx(np.take_along_axis(wanted_NV, few.top_ids_NK, 1), abs=1e-5)


def test_a_row_without_sampled_tokens_has_no_scores(model: Any) -> None:
    row = random_samples(1, seed=Random(3).randrange(9))[0]
    empty = type(row)(row.ids, row.loss_mask * False, row.logprobs, 0.0)
    scorer = Scorer(model, pad_id=0, micro_batch_tokens=256, chunk=4096, autocast=None)
    assert len(scorer([empty, row], 2)[0].logprobs_N) == 0


def test_the_engine_gives_the_scores_that_it_was_opened_with(model: Any) -> None:
    rows = random_samples(3)
    scorer = Scorer(model, pad_id=0, micro_batch_tokens=256, chunk=4096, autocast=None)
    able = TransformersEngine(model, pad_id=0, max_tokens=512, score=scorer)
    found = asyncio.run(able.score(rows, 2))
    assert [one.logprobs_N.tolist() for one in found] == [one.logprobs_N.tolist() for one in scorer(rows)]
    with pytest.raises(EngineError, match="no log-probs of given tokens"):
        asyncio.run(TransformersEngine(model, pad_id=0, max_tokens=512).score(rows))
