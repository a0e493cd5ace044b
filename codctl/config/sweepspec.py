"""What a study file says: training sets × ablations × seeds, and what every trained model is asked afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, field_validator

from codctl.config.evalspec import Seed
from codctl.config.names import NAME, refuse_reserved
from codctl.config.overrides import Override
from codctl.config.schema import Section, cosmetic, evaluation, training

_Seeds = Annotated[tuple[Seed, ...], Field(strict=False)]


class StudyFile(Section):
    """The top of a study file; what is inside train, ablations, evaluate and sizes is looked at one by one."""

    name: str = Field(description="Name of the study.", pattern=NAME)
    description: str = cosmetic("", "What it asks, in one line.")
    size: str = cosmetic("tiny", "The size that is used when none is named.")
    seeds: _Seeds = training((0,), "Training seeds.", min_length=1)
    train: dict[str, Any] = training({}, "Training sets by name.")
    ablations: dict[str, Any] = training({"cod": {}}, "Overrides by name; each training set is trained with each.")
    evaluate: dict[str, Any] = evaluation({}, "Suites by name; every trained model plays each.")
    sizes: dict[str, Any] = training({}, "What is different at each size.")

    _name_is_not_reserved = field_validator("name")(refuse_reserved)


class TrainingSpec(Section):
    """One training set."""

    recipe: str | None = training(None, "Recipe to start from; null starts from the defaults of every key.")
    overrides: dict[str, Any] = training({}, "Keys of a recipe and their values.")


class EvaluationSpec(Section):
    """One suite that every trained model plays."""

    suite: str = Field(description="A shipped suite, or a YAML file beside the study.")
    overrides: dict[str, Any] = evaluation({}, "Keys of an evaluation and their values.")
    limit: int | None = evaluation(None, "Packs of each evaluation; null keeps those of the suite.", ge=2, le=1_000_000)


class SizeSpec(Section):
    """One size of a study: what it leaves out is as at the top."""

    description: str = cosmetic("", "What it is for, in one line.")
    overrides: dict[str, Any] = training({}, "Keys of a recipe and their values, for every training set.")
    seeds: Annotated[tuple[Seed, ...] | None, Field(strict=False)] = training(
        None, "Training seeds; null is those at the top.", min_length=1
    )
    train: dict[str, Any] | None = training(None, "Training sets by name; null is those at the top.")
    evaluate: dict[str, Any] | None = evaluation(None, "Suites by name; null is those at the top.")


@dataclass(frozen=True)
class Training:
    """One training set, checked.

    Attributes:
        recipe: As a command line names it; None for the defaults of every key.
        overrides: In the order in which they are set.
        place: Where it stands.
    """

    recipe: str | None
    overrides: tuple[Override, ...]
    place: str


@dataclass(frozen=True)
class Evaluation:
    """One suite, checked as far as the study file goes.

    Attributes:
        suite: Name of a shipped one, or path of a file.
        overrides: `key=value` each.
        place: Where it stands.
    """

    suite: str
    overrides: tuple[Override, ...]
    place: str


@dataclass(frozen=True)
class Study:
    """A study at one size.

    Attributes:
        name: Of the study.
        description: What it asks.
        size: Which one.
        is_default_size: Whether it is meant when none is named.
        seeds: Training seeds.
        trainings: By name.
        ablations: Overrides by name.
        evaluations: By name.
    """

    name: str
    description: str
    size: str
    is_default_size: bool
    seeds: tuple[int, ...]
    trainings: Mapping[str, Training]
    ablations: Mapping[str, tuple[Override, ...]]
    evaluations: Mapping[str, Evaluation]
