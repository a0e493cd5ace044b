"""A new run that goes on from another one's newest checkpoint, with settings that may differ. Stdlib only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.errors import Problem, RefusedError, UsageError
from codctl.files import atomic
from codctl.files.seal import newest_sealed, why_not_sealed
from codctl.runs import manifest
from codctl.runs.directory import RunDirectory, create

if TYPE_CHECKING:
    from codctl.config.schema import Config


def check_fork(source: RunDirectory, config: Config) -> Path:
    """The checkpoint that a fork would go on from. Nothing is written.

    Raises:
        UsageError: The source has no complete checkpoint.
        RefusedError: The checkpoint does not fit the new settings.
    """
    from codctl.config.freeze import changed_identity

    newest, _ = newest_sealed(source.checkpoints)
    if newest is None:
        raise UsageError(
            f"run {source.name!r} has no checkpoint yet",
            where=str(source.path),
            hint=f"wait for its first one (codctl status {source.title}), or train from the start without --fork",
        )
    changed = changed_identity(source.config(), config)
    if misfits := {key: values for key, values in changed.items() if key.startswith("model.")}:
        raise RefusedError(
            "a checkpoint does not fit another model",
            where=str(newest),
            hint="take these changes back, or train from the start without --fork",
            problems=tuple(Problem(f"{key}: {old!r} → {new!r}") for key, (old, new) in misfits.items()),
        )
    return newest


def refuse_other_origin(path: Path, source: str) -> None:
    """Refuse to go on with an existing run as if it had been forked from another one.

    Args:
        path: The existing run's folder.
        source: The run that `--fork` names.

    Raises:
        RefusedError: It was made otherwise. The source need not be there any more.
    """
    run = RunDirectory.open(path)
    origin = run.manifest().get("forked_from")
    if origin and origin["run"] in (source, Path(source).name):
        return
    made = f"was forked from {origin['run']!r}" if origin else "was not forked"
    raise RefusedError(
        f"run {run.name!r} exists and {made}, so it cannot go on from {source!r}",
        where=str(path),
        hint=f"--fork {source} --name OTHER makes a new run, --fork {source} --fresh moves this one aside, "
        "without --fork this one goes on",
    )


def fork(source: RunDirectory, runs_dir: Path, config: Config, *, recipe: str, command: Sequence[str]) -> RunDirectory:
    """Make a run that holds the source's model, warm start, metrics and newest checkpoint.

    Args:
        source: The run to go on from; it is only read.
        runs_dir: Where runs live.
        config: Of the new run, under another name.
        recipe: As the user named it.
        command: The command line.

    Raises:
        UsageError: The source has no complete checkpoint.
        RefusedError: The name is taken, or the checkpoint does not fit the new settings.
    """
    from codctl.config.freeze import changed_identity, digest, frozen_file

    newest, changed = check_fork(source, config), changed_identity(source.config(), config)

    def fill(folder: Path) -> None:
        for part in (Path("stages/model"), Path("stages/warm_start"), newest.relative_to(source.path)):
            if (source.path / part).is_dir():
                shutil.copytree(source.path / part, folder / part)
                atomic.fsync_tree(folder / part)
        if source.metrics_path.exists():
            shutil.copyfile(source.metrics_path, folder / source.metrics_path.name)
        if problem := why_not_sealed(folder / newest.relative_to(source.path)):
            raise RefusedError(f"the checkpoint changed while it was copied: {problem}", where=str(newest))

    path, identity = runs_dir / config.name, digest(config)
    content = manifest.new(
        name=config.name, recipe=recipe, command=command, digest=identity, root=os.path.relpath(runs_dir, path)
    )
    content["forked_from"] = {
        "run": source.title,
        "digest": source.manifest()["digest"],
        "checkpoint": newest.name,
        "changed": {key: list(values) for key, values in changed.items()},
    }
    if not create(path, content, frozen_file(config), fill):
        raise RefusedError("there is a run of this name", where=str(path), hint=f"--fork {source.name} --name OTHER")
    return RunDirectory.open(path)
