"""Teachers of a distillation in vLLM."""
# ruff: noqa: F811  pytest finds fixtures by the names of arguments

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peft import PeftModel

from codctl.learner.scoring import Scorer
from codctl.models.load import load_model
from tests.train.test_teaching import adapters, base, played, recipe, taught  # noqa: F401  fixtures

pytestmark = pytest.mark.vllm

_ALLOWED = 1e-4  # float32
_TOP = 24  # more than vLLM lists by default


def test_adapters_on_one_base_share_an_engine(base: Path, adapters: dict[str, Path], played: Any) -> None:
    """Their start-up check passes, and each family's rows get the scores of their own teacher."""
    rows, metrics = taught(recipe(engine="vllm", estimator="topk", top_k=_TOP), adapters, base, played)
    assert metrics == {"distill/unscored": 0.0}
    gaps = []
    for family, folder in adapters.items():
        own = [row for row in rows if row.lesson.label.startswith(family)]
        model: Any = PeftModel.from_pretrained(load_model(base, "float32", "cpu"), folder).eval()
        wanted = Scorer(model, pad_id=0, micro_batch_tokens=4096, chunk=4096, autocast=None)(own, _TOP)
        gaps += [np.abs(a.lesson.scores.logprobs_N - b.logprobs_N).max() for a, b in zip(own, wanted, strict=True)]
    print(f"teachers: largest gap to the learner's {max(gaps):.2g}")
    assert max(gaps) < _ALLOWED
