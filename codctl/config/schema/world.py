"""The worlds of a recipe, and how hints are kept in them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from codctl.config.schema.fields import Section, added, training

_Option = str | int | float | bool
WorldOptions = dict[str, _Option | dict[str, _Option]]


class WorldRef(Section):
    """A family of worlds at a preset: the one reference to worlds in recipes, mixtures and suites."""

    family: str = training("frozen_lake", "Family of worlds (`codctl env list`).")
    preset: str = training("tiny", "Difficulty preset of the family.")
    variant: str | None = training(None, "Distribution of worlds; null is the family's first.")
    options: WorldOptions = added({}, "Settings of the variant's own, where it has some: `{data: FILE.jsonl}`.")
    weight: float = training(1.0, "Share of the packs, relative to the other families.", ge=1e-6, le=1e6)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def keys(self) -> dict[str, Any]:
        """As keys of an evaluation."""
        options = {"options": self.options} if self.options else {}
        return {"family": self.family, "preset": self.preset, "variant": self.variant, **options}

    @property
    def label(self) -> str:
        """In the name of a part of a suite: `frozen_lake-tiny`."""
        return "-".join(filter(None, (self.family, self.preset, self.variant)))


class MixtureRef(WorldRef):
    turn_penalty: float | None = training(
        None,
        "Shaping in this family: penalty × turns used / turn budget; null: as `train.reward.turn_penalty` says.",
        ge=0,
        le=1,
    )


class WorldConfig(Section):
    family: str = training("frozen_lake", "Family of worlds to train on (`codctl env list`).")
    preset: str = training("tiny", "Difficulty preset of the family.")
    variant: str | None = training(None, "Distribution of worlds; null is the family's first.")
    options: WorldOptions = added({}, "Settings of the variant's own, where it has some: `{data: FILE.jsonl}`.")
    mixture: Annotated[tuple[MixtureRef, ...], Field(strict=False)] = training(
        (), "Several families with weights; replaces family, preset, variant and options."
    )
    rendering: Literal["full", "terse", "compact"] = training(
        "full", "Prompt text: `full` for LLMs, `terse` for small pretrained ones, `compact` for tiny ones."
    )
    length: int = training(4, "Pack length S: tasks per world.", ge=1, le=64)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _each_family_once(self) -> WorldConfig:
        names = [part.family for part in self.mixture]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the mixture has the family {twice} twice; results are kept by family")
        return self

    @property
    def parts(self) -> tuple[MixtureRef, ...]:
        """The families with their weights; one when there is no mixture."""
        alone = MixtureRef(family=self.family, preset=self.preset, variant=self.variant, options=self.options)
        return self.mixture or (alone,)

    def without_options(self) -> WorldConfig:
        """The same worlds where what options name, such as files and servers, does not count."""
        mixture = tuple(part.model_copy(update={"options": {}}) for part in self.mixture)
        return self.model_copy(update={"options": {}, "mixture": mixture})


class ContextConfig(Section):
    update: Literal["rewrite", "delta"] = added(
        "rewrite",
        "How an update changes the hints: `rewrite`: it writes all of them anew; `delta`: it adds, changes and removes "
        "numbered items, and nothing else is touched.",
    )
    on_parse_failure: Literal["keep", "wipe"] = training(
        "keep", "What a malformed update does to the hints (`wipe` in the paper)."
    )
    parse_failure_reward: float = training(-0.1, "Reward of a malformed update.", ge=-1000, le=0)
    max_chars: int = training(4000, "Longest hint text; longer counts as malformed.", ge=16, le=10_000_000)
