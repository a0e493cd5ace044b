"""What can be known to be wrong before any work starts."""

from __future__ import annotations

from pathlib import Path

from codctl.cod.conversation import TemplateChat
from codctl.config.schema import Config
from codctl.envs.registry import check_world
from codctl.errors import PreflightError
from codctl.evaluate.arms import check_arms
from codctl.learn.models import check_folder, load_tokenizer, pick_device


def preflight(config: Config) -> None:
    """Check a recipe against this machine and the user's files.

    Raises:
        UsageError: Unknown family, preset or arm.
        PreflightError: A model folder that cannot be used, or a device that is not there.
    """
    for part in config.world.parts:
        check_world(part.family, part.preset, part.variant)
    for known in config.model.build.worlds:
        check_world(known.family, known.preset)
    check_arms(config.evaluation.arms)
    if config.model.path:
        folder = Path(config.model.path).expanduser()
        check_folder(folder)
        TemplateChat(load_tokenizer(folder), where=str(folder))
    elif not config.warm_start.enabled and config.train.enabled:
        raise PreflightError(
            "model.path is null and warm_start.enabled is false: RL from random weights cannot start",
            where="warm_start.enabled",
            hint="set warm_start.enabled=true or give model.path=FOLDER",
        )
    if config.model.device == "cuda":
        pick_device("cuda")
