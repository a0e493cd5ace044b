"""A model plays a pack to be watched: worlds, texts and budgets are those of its training unless typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from codctl.config.evalspec import EvalSpec
from codctl.envs.base import Family, Pack, Rendering
from codctl.envtools.env_play import Game, play_by_model
from codctl.envtools.env_seats import Say
from codctl.evaluate.subject import Subject, home_of, open_subject


@dataclass(frozen=True)
class Wanted:
    """What was typed; None where the training decides."""

    preset: str | None
    variant: str | None
    length: int | None
    rendering: Rendering | None


def spec_of(subject: Subject, family: Family, wanted: Wanted) -> EvalSpec:
    """How a model plays packs of a family."""
    home = home_of(subject)
    trained = next((world for world in home.worlds if world.family == family.name), None)
    preset = trained.preset if trained and trained.preset in family.presets else family.presets[0]
    values = dict(home.defaults) | {"family": family.name, "preset": preset}
    values["variant"] = trained.variant if trained else None
    return EvalSpec.model_validate(values | {key: value for key, value in vars(wanted).items() if value is not None})


def watch(subject: Subject, spec: EvalSpec, pack: Pack, say: Say) -> Game:
    """Load the model and let it play."""
    from codctl.train.setup import prepare_process

    prepare_process(subject.config.runtime.threads if subject.config else 2)
    with TemporaryDirectory(prefix="codctl-play-") as scratch:
        performer = open_subject(subject, Path(scratch) / "engine.log")
        return play_by_model(pack, performer, performer.player(spec), say=say)
