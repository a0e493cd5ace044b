"""What one evaluation plays: the closed schema behind `codctl eval … key=value`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from codctl.config.schema import Section, identity

StrategyName = Literal["cod", "ralph_full", "ralph_sample", "drift", "distractor", "poison", "long"]


class EvalSpec(Section):
    """Worlds, arms and sampling of one evaluation."""

    name: str = identity("position-curve", "What it is called in results.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    family: str = identity("frozen_lake", "Family of worlds.")
    preset: str = identity("easy", "Difficulty preset of the family.")
    variant: str | None = identity(None, "Distribution of worlds; null is the family's first.")
    rendering: Literal["full", "compact"] = identity(
        "full", "Prompt text: `full` for real LLMs, `compact` for tiny ones."
    )
    length: int = identity(4, "Pack length: tasks per world.", ge=1, le=64)
    strategy: StrategyName = identity("cod", "How the tasks of a pack are put together.")
    drift_at: int | None = identity(
        None, "First position with other hidden facts (strategy=drift); null is the middle.", ge=1
    )
    poison: float = identity(0.5, "Probability that an account is false (strategy=poison).", ge=0, le=1)
    foreign_family: str | None = identity(
        None, "Family of the distractors (strategy=distractor); null is the next one."
    )
    foreign_preset: str | None = identity(None, "Their preset; null is `easy`, or the family's first.")
    split: Literal["validation", "test"] = identity("test", "Which held-out packs.")
    packs: int = identity(500, "Packs.", ge=2)
    seeds: Annotated[tuple[int, ...], Field(strict=False)] = identity(
        (0,), "Sampling seeds; each plays all packs.", min_length=1
    )
    arms: Annotated[tuple[str, ...], Field(strict=False)] = identity(
        ("own", "none", "shuffled", "oracle", "history"), "Control contexts to compare.", min_length=1
    )
    temperature: float = identity(1.0, "Sampling temperature.", gt=0, le=5)
    solve_tokens: int = identity(512, "Most new tokens in one solve turn.", ge=1)
    update_tokens: int = identity(1024, "Most new tokens in one update.", ge=1)
    resamples: int = identity(2000, "Bootstrap resamples behind the intervals.", ge=100)
