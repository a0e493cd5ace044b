"""What a suite file says: evaluations, each with its worlds and whatever else it sets of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Section, cosmetic, evaluation

WORLD_KEYS = ("family", "preset", "variant")
# Keys that mean something to one strategy only.
STRATEGY_KEYS = {
    "drift_at": "drift",
    "poison": "poison",
    "foreign_family": "distractor",
    "foreign_preset": "distractor",
}


class WorldChoice(Section):
    """One kind of world. What is left out, the subject's training or the family decides."""

    family: str = Field(description="Family of worlds (`codctl env list`).")
    preset: str | None = evaluation(None, "Difficulty preset of the family.")
    variant: str | None = evaluation(None, "Distribution of worlds; null is the family's first.")


class SuiteEntry(EvalSpec):
    """One evaluation of a suite. Every key but the name may be left out."""

    name: str = Field(description="What its results are called.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    worlds: Literal["trained", "harder", "others"] = evaluation(
        "trained", "Worlds of the training, their harder presets, or other families; or a list of worlds."
    )


class SuiteHead(Section):
    """The top of a suite file, without its evaluations."""

    name: str = Field(description="Name of the suite.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = cosmetic("", "What it asks, in one line.")


@dataclass(frozen=True)
class EntrySpec:
    """One evaluation of a suite, checked.

    Attributes:
        name: Of the evaluation.
        worlds: Which worlds it wants.
        given: The keys of an evaluation that the file or the command line set.
    """

    name: str
    worlds: Literal["trained", "harder", "others"] | tuple[WorldChoice, ...]
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SuiteSpec:
    """A suite with the overrides of the command line, checked; the worlds are not looked up yet.

    Attributes:
        name: Of the suite.
        description: What it asks.
        entries: Its evaluations.
        overridden: Keys that the command line set.
    """

    name: str
    description: str
    entries: tuple[EntrySpec, ...]
    overridden: frozenset[str] = frozenset()
