"""What one evaluation plays: the closed schema behind `codctl eval … key=value`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from codctl.config.registries import ARMS, STRATEGIES, NameIn, NamesIn
from codctl.config.schema import MOST_SEED, Section, evaluation
from codctl.config.schema.world import WorldOptions

Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]


class EvalSpec(Section):
    """Worlds, arms and sampling of one evaluation."""

    name: str = evaluation("position-curve", "What it is called in results.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    family: str = evaluation("frozen_lake", "Family of worlds.")
    preset: str = evaluation("easy", "Difficulty preset of the family.")
    variant: str | None = evaluation(None, "Distribution of worlds; null is the family's first.")
    options: WorldOptions = evaluation({}, "Settings of the variant's own, where it has some: `{data: FILE.jsonl}`.")
    rendering: Literal["full", "terse", "compact"] = evaluation(
        "full", "Prompt text: `full` for LLMs, `terse` for small pretrained ones, `compact` for tiny ones."
    )
    length: int = evaluation(4, "Pack length: tasks per world.", ge=1, le=64)
    strategy: Annotated[str, NameIn(STRATEGIES)] = evaluation("cod", "How the tasks of a pack are put together.")
    drift_at: int | None = evaluation(
        None,
        "First position, counted from 0, with other hidden facts (strategy=drift); null is the middle.",
        ge=1,
        le=64,
    )
    poison: float = evaluation(
        0.5, "Probability that an update reads a false report of its episode (strategy=poison).", ge=0, le=1
    )
    distractor_family: str | None = evaluation(
        None, "Family of the distractors (strategy=distractor); null is the next one."
    )
    distractor_preset: str | None = evaluation(None, "Their preset; null is `easy`, or the family's first.")
    strategy_options: dict[str, str | int | float | bool] = evaluation({}, "Settings of a strategy of your own.")
    split: Literal["validation", "test"] = evaluation("test", "Which held-out packs.")
    packs: int = evaluation(500, "Packs.", ge=1, le=1_000_000)
    seeds: Annotated[tuple[Seed, ...], Field(strict=False)] = evaluation(
        (0,), "Sampling seeds; each plays all packs.", min_length=1
    )
    arms: Annotated[tuple[str, ...], Field(strict=False), NamesIn(ARMS)] = evaluation(
        ("own", "none", "shuffled", "oracle", "history"), "Control contexts to compare.", min_length=1
    )
    temperature: float = evaluation(1.0, "Sampling temperature.", ge=0.01, le=5)
    solve_tokens: int = evaluation(512, "Most new tokens in one solve turn.", ge=1, le=10_000_000)
    update_tokens: int = evaluation(1024, "Most new tokens in one update.", ge=1, le=10_000_000)
    suggested_tokens: int | None = evaluation(
        None,
        "Length that the prompts of `full` suggest for a reply; null: a few sentences. Published: 1500.",
        ge=1,
        le=10_000_000,
    )
    answers: Literal["auto", "published", "strict"] = evaluation(
        "auto",
        "Where an answer is read: `published`: one block anywhere in the reply; `strict`: only at its end, exactly as "
        "asked for; `auto`: strict in `compact`, else published.",
    )

    update: Literal["rewrite", "delta"] = evaluation(
        "rewrite", "How an update changes the hints, as `context.update` of a recipe."
    )

    def identity(self) -> dict[str, Any]:
        """What tells this evaluation from others, as JSON. Keys that came later count only where they are set."""
        values = self.model_dump(mode="json")
        return {key: value for key, value in values.items() if key not in _ADDED or value != _ADDED[key]}

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return ((key, value) for key, value in super().__repr_args__() if key not in _ADDED or value != _ADDED[key])


_ADDED: dict[str, Any] = {
    "suggested_tokens": None,
    "answers": "auto",
    "strategy_options": {},
    "options": {},
    "update": "rewrite",
}

# Keys that mean something to one strategy only.
STRATEGY_KEYS = {
    "drift_at": "drift",
    "poison": "poison",
    "distractor_family": "distractor",
    "distractor_preset": "distractor",
}
