"""Sealed results of the first stages, shared by the runs of one folder whose settings agree so far.

A sweep over the settings of CoD-Train warm-starts each model once. What is shared is keyed by every setting that can
reach the stage and by the code, so that a hit is what the stage would have made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

from codctl.config.freeze import IDENTITY_VERSION, freeze
from codctl.config.schema import Config
from codctl.envs.registry import built_in
from codctl.files import atomic
from codctl.files.seal import is_sealed
from codctl.learner.demonstrations import digest_of
from codctl.models import hub
from codctl.runs import code
from codctl.runs.directory import RunDirectory

FOLDER = ".stages"
# What comes later than these stages or does not reach them. The shaping of rewards belongs to how packs are played.
_LATER = ("name", "description", "train", "engine", "health", "evaluation", "tracking", "cluster")
# Settings of CoD-Train that the warm start takes, too: they change its last bits.
_MEMORY = ("micro_batch_tokens", "logprob_chunk", "activation_checkpointing")


def fetch(run: RunDirectory, stage: str, config: Config) -> bool:
    """Put a shared result into the run; False when there is none that is whole."""
    shared = _shared(run, stage, config)
    if shared is None or not is_sealed(shared):
        return False
    with contextlib.suppress(OSError):  # taken away by another run that publishes the same, or no room
        _link(shared, run.stage(stage))
    return is_sealed(run.stage(stage), verify=True)


def publish(run: RunDirectory, stage: str, config: Config) -> None:
    """Let other runs have the sealed result of a stage. A disk that cannot hold it costs only the sharing."""
    shared = _shared(run, stage, config)
    if shared is None or is_sealed(shared, verify=True):
        return
    with contextlib.suppress(OSError):
        _link(run.stage(stage), shared)


def _shared(run: RunDirectory, stage: str, config: Config) -> Path | None:
    """Where it lies, or would; None where the settings do not say all: a world of somebody else's may change."""
    if not {part.family for part in config.world.parts} <= {family.name for family in built_in()}:
        return None
    settings = {name: value for name, value in freeze(config).items() if name not in _LATER}
    about = {
        "version": IDENTITY_VERSION,
        "code": code.digest(),
        "stage": stage,
        "settings": settings,
        "start": _listing(_start(config)),
        "reward": config.train.reward.model_dump(mode="json"),
        "demonstrations": _demonstrations(config),
        "memory": [getattr(config.train, name) for name in _MEMORY],
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return run.root / FOLDER / f"{stage}-{key}"


def _demonstrations(config: Config) -> str:
    """What tells the user's demonstrations from others, if there are any."""
    folder = config.warm_start.demonstrations
    return digest_of(Path(folder)) if folder and is_sealed(Path(folder)) else ""


def _start(config: Config) -> Path | None:
    """The user's folder that the model comes from, if there is one."""
    model = config.model
    return hub.find(model.path, model.revision, weights=model.init == "weights") if model.path else None


def _listing(folder: Path | None) -> list[list[object]]:
    """What tells a model's folder from another one at the same place, without reading it."""
    if folder is None:
        return []
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [[str(path.relative_to(folder)), (stat := path.stat()).st_size, stat.st_mtime_ns] for path in files]


def _link(source: Path, target: Path) -> None:
    """The same sealed folder at a second place: hard links where the file system has them, else copies."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temp = atomic.temp_sibling(target)
    try:
        shutil.copytree(source, temp, copy_function=_link_file)
        atomic.fsync_tree(temp)
        if is_sealed(target, verify=True):  # published by another run this very moment
            return
        if target.exists():  # damaged
            shutil.rmtree(target)
        temp.rename(target)
        atomic.fsync_folder(target.parent)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _link_file(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
