"""How trajectories are played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from codctl.cod.context import ParsedUpdate, parse_update
from codctl.cod.delta import parse_delta
from codctl.cod.prompts import AnswerRule, is_strict, without_reasoning
from codctl.envs.base import Rendering, UpdateRule


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
    update: UpdateRule = "rewrite"

    @property
    def reads_strictly(self) -> bool:
        return is_strict(self.answers, self.rendering)

    def read_update(self, reply: str, hints: str) -> ParsedUpdate:
        """The hints that a reply makes of these."""
        text = reply if self.reads_strictly else without_reasoning(reply)
        if self.update == "delta":
            return parse_delta(text, hints, self.max_chars, self.rendering)
        return parse_update(text, self.max_chars)
