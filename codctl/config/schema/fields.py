"""What every section of a recipe is made of: fields with a class, closed and frozen sections.

A field's description is its help text. Its class (`CLASSES`) says what another value means for a run that exists.
Every number has the bounds of the library that uses it, and is finite: what the schema lets through, runs.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FieldClass = Literal["training", "length", "gate", "evaluation", "resource", "cosmetic"]
CLASSES: dict[FieldClass, str] = {
    "training": "changes what is learned: another value makes another run",
    "length": "how far a run goes: a higher value continues the same run",
    "gate": "a check of each training step; it changes what is learned only with action=skip",
    "evaluation": "how the result is measured: another value evaluates the same run again",
    "resource": "where and how fast it runs: may change at any time",
    "cosmetic": "names, texts and where numbers are shown: may change at any time",
}
MOST_SEED = 2**32 - 1  # what numpy and the trainer of the warm start take
MOST, MOST_STEPS, MOST_PACKS, MOST_TOKENS, MOST_SECONDS = 1e12, 10_000_000, 1_000_000, 10_000_000, 7 * 86_400.0


def classed(kind: FieldClass, default: Any, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"class": kind}, **bounds)


def training(default: Any, description: str, **bounds: Any) -> Any:
    return classed("training", default, description, **bounds)


def evaluation(default: Any, description: str, **bounds: Any) -> Any:
    return classed("evaluation", default, description, **bounds)


def added(default: Any, description: str, kind: FieldClass = "training", **bounds: Any) -> Any:
    """A field that came later: at its default it is left out of the digest, so that older ones still hold."""
    field = classed(kind, default, description, **bounds)
    field.json_schema_extra["added"] = True
    return field


def gate(default: Any, description: str, **bounds: Any) -> Any:
    return added(default, description, "gate", **bounds)


def resource(default: Any, description: str, **bounds: Any) -> Any:
    return classed("resource", default, description, **bounds)


def cosmetic(default: Any, description: str, **bounds: Any) -> Any:
    return classed("cosmetic", default, description, **bounds)


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change, numbers are finite and no texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # pydantic's own does not take sections that hold a dict
