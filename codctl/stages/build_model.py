"""Stage: build the tiny model, unless the recipe brings one."""

from __future__ import annotations

from pathlib import Path

from codctl.config.schema import Config
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_whole, sealing
from codctl.stages.progress import Progress


def build_model(run: RunDirectory, config: Config, progress: Progress) -> Path:
    """Return the folder that training starts from."""
    if config.model.path:
        return Path(config.model.path).expanduser()
    final = run.stage("model")
    if not is_whole(final, progress.message):
        from codctl.learn.tiny import build_folder

        progress.message("building tokenizer and model")
        with sealing(final) as temp:
            build_folder(config.model.build, config.world, config.seed, temp)
    return final
