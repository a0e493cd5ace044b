"""Evaluations during and after the training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from codctl.config.registries import ARMS, NamesIn
from codctl.config.schema.fields import MOST_PACKS, MOST_STEPS, Section, added, evaluation


class EvaluationConfig(Section):
    enabled: bool = added(True, "Evaluate during and after the training.", "evaluation")
    every: int = evaluation(0, "Steps between evaluations on validation packs; 0 for none.", ge=0, le=MOST_STEPS)
    every_packs: int = evaluation(100, "Validation packs of a periodic evaluation.", ge=1, le=MOST_PACKS)
    packs: int = evaluation(500, "Held-out test packs of the final evaluation.", ge=2, le=MOST_PACKS)
    arms: Annotated[tuple[str, ...], Field(strict=False), NamesIn(ARMS)] = evaluation(
        ("own", "none", "shuffled", "oracle", "history"), "Control contexts of the final evaluation.", min_length=1
    )
    long_length: int = evaluation(8, "Second pack length of the final evaluation; 0 for none.", ge=0, le=64)
