"""How trajectories are played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from codctl.cod.prompts import AnswerRule, is_strict
from codctl.envs.base import Rendering


@dataclass(frozen=True)
class RolloutSettings:
    """How trajectories are played. Token counts are per reply; `deadline_s` bounds the making of one reply."""

    rendering: Rendering
    temperature: float = 1.0
    solve_tokens: int = 512
    update_tokens: int = 1024
    on_parse_failure: Literal["keep", "wipe"] = "keep"
    parse_failure_reward: float = -0.1
    max_chars: int = 4000
    turn_penalty: float | None = None  # of families whose turns cost something; None: what each says itself
    turn_penalties: Mapping[str, float] = field(default_factory=dict)  # by family, before the above
    deadline_s: float = 600.0
    top_p: float = 1.0
    suggested_tokens: int | None = None
    answers: AnswerRule = "auto"

    @property
    def reads_strictly(self) -> bool:
        return is_strict(self.answers, self.rendering)
