"""Stage: SFT on demonstrations; its sealed results are shared by the runs of a folder whose settings agree so far."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from codctl.cod.conversation import Chat
from codctl.cod.trajectory import EpisodeRecord
from codctl.config.defaults import lr_warning, trains_adapters_from_the_start
from codctl.config.freeze import IDENTITY_VERSION, freeze
from codctl.config.schema import Config
from codctl.envs.registry import built_in
from codctl.errors import PreflightError
from codctl.files import atomic, reader
from codctl.files.atomic import write_json
from codctl.files.seal import is_sealed, is_whole, sealing
from codctl.learner.demonstrations import check, digest_of, of_folder, other_source
from codctl.models import hub
from codctl.models.load import check_folder, load_chat, load_tokenizer
from codctl.quantities import counted
from codctl.runs import code
from codctl.runs.directory import RunDirectory
from codctl.runs.progress import Progress
from codctl.seeds import text_digest
from codctl.tracking.tracker import Tracker
from codctl.train.export import name_base
from codctl.train.setup import Speaker, export, rollout_settings

if TYPE_CHECKING:
    from codctl.files.records import WarmStart


FOLDER = ".stages"
# What comes later than these stages or does not reach them. The shaping of rewards belongs to how packs are played.
_LATER = ("name", "description", "train", "engine", "health", "evaluation", "tracking", "cluster")
# Settings of CoD-Train that the warm start takes, too: they change its last bits.
_MEMORY = ("micro_batch_tokens", "logprob_chunk", "activation_checkpointing")


def fetch_shared(run: RunDirectory, stage: str, config: Config) -> bool:
    """Put a shared result into the run; False when there is none that is whole."""
    shared = _shared(run, stage, config)
    if shared is None or not is_sealed(shared):
        return False
    with contextlib.suppress(OSError):  # taken away by another run that publishes the same, or no room
        _link(shared, run.stage(stage))
    return is_sealed(run.stage(stage), verify=True)


def share(run: RunDirectory, stage: str, config: Config) -> None:
    """Let other runs have the sealed result of a stage. A disk that cannot hold it costs only the sharing."""
    shared = _shared(run, stage, config)
    if shared is None or is_sealed(shared, verify=True):
        return
    with contextlib.suppress(OSError):
        _link(run.stage(stage), shared)


def _shared(run: RunDirectory, stage: str, config: Config) -> Path | None:
    """Where it lies, or would; None where the settings do not say all: a plug-in's world may change."""
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
    key = text_digest(json.dumps(about, sort_keys=True))
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


_STAGE, _STEPS, _RESULT = "warm_start", "warm_start_steps", "result.json"


def warm_start(run: RunDirectory, config: Config, start: Path, tracker: Tracker, progress: Progress) -> Path:
    """Return the folder of the warm-started model (or `start` when the recipe has no warm start).

    With `model.lora.rank` it is the adapter of a pretrained model, which CoD-Train trains further. A warm start that
    was stopped continues from its newest checkpoint and ends with the same bits.
    """
    if not config.warm_start.enabled:
        return start
    final = run.stage(_STAGE)
    is_there = is_whole(final, progress.message)
    if not is_there and fetch_shared(run, _STAGE, config):
        progress.message("the warm start of another run with the same settings is used")
        is_there = True
    if is_there:
        _refuse_other_source(final, config)
        _log_again(final, tracker)
    else:
        _make(run, config, start, tracker, progress)
        share(run, _STAGE, config)
    shutil.rmtree(run.stage(_STEPS), ignore_errors=True)
    return final / "model"


def _make(run: RunDirectory, config: Config, start: Path, tracker: Tracker, progress: Progress) -> None:
    from codctl.learner.imitation import Imitation, Place, SftStep

    began = time.monotonic()
    if warning := lr_warning(config):
        progress.message(warning)
    check_folder(start)
    tokenizer = load_tokenizer(start)
    chat = load_chat(start, tokenizer)
    episodes = _episodes(config, chat, progress)
    progress.update("warm start: loading the model", 0, 0, {})
    model, source = _trainable(start, config), _source(config)
    imitation = Imitation(model, config, tokenizer=tokenizer, folder=run.stage(_STEPS), source=source)
    for reason in imitation.restore():
        progress.message(f"checkpoint skipped: {reason}")
    if made := len(imitation.steps):
        progress.message(f"continuing the warm start after step {made}")
    tracker.rewind(_STAGE, made or -1)
    learning = time.monotonic()

    def report(step: SftStep) -> None:
        tracker.log(step.step, _STAGE, _metrics(step))

    def watch(place: Place) -> None:
        metrics = {"tokens_per_second": place.tokens / max(time.monotonic() - learning, 1e-9)}
        progress.update(
            "warm start", place.rows, place.all_rows, metrics | (_metrics(place.newest) if place.newest else {})
        )

    imitation.train_on(episodes, report, watch)
    with sealing(run.stage(_STAGE)) as temp:
        _export(Speaker(model, tokenizer, chat), config, temp / "model")
        result = {
            "episodes": len(episodes),
            "tokens": sum(len(e.ids) for e in episodes),
            "epochs": config.warm_start.epochs,
            "source": source,
            "seconds": round(time.monotonic() - began, 1),
            "losses": [{"step": step.step, **_metrics(step)} for step in imitation.steps],
        }
        write_json(temp / _RESULT, result)


def _episodes(config: Config, chat: Chat, progress: Progress) -> list[EpisodeRecord]:
    """What is learned from: the folder of `warm_start.demonstrations`, scripted packs, or both.

    Raises:
        PreflightError: The folder does not suit the recipe.
    """
    from codctl.learner.demonstrations import demonstrations

    warm, found = config.warm_start, list[EpisodeRecord]()
    if warm.demonstrations:
        progress.update("warm start: reading demonstrations", 0, 0, {})
        check(config)
        read = of_folder(config, chat)
        found = read.episodes
        if read.too_long:
            progress.message(
                f"{read.too_long} of {counted(read.too_long + len(found), 'demonstration')} left out: replies "
                "longer than sampling.solve_tokens or sampling.update_tokens"
            )
        if not found:
            raise PreflightError(
                "every demonstration is longer than the token budgets",
                where="warm_start.demonstrations",
                hint="raise sampling.solve_tokens and sampling.update_tokens",
            )
        wanted = round(len(found) * warm.scripted_share / (1 - warm.scripted_share))
        if not wanted:
            return found
        packs = math.ceil(wanted / (2 * config.world.length - 1))
        config = config.model_copy(update={"warm_start": warm.model_copy(update={"packs": packs})})
    else:
        wanted = None

    def played(done: int, total: int) -> None:
        progress.update("warm start: packs of demonstrations", done, total, {})

    played(0, config.warm_start.packs)
    return found + demonstrations(config, chat, rollout_settings(config), played)[:wanted]


def _source(config: Config) -> str:
    folder = config.warm_start.demonstrations
    return digest_of(Path(folder)) if folder else ""


def _refuse_other_source(final: Path, config: Config) -> None:
    """A run keeps the demonstrations that it began with, for as long as their folder is there to tell."""
    folder = config.warm_start.demonstrations
    if not folder or not is_sealed(Path(folder)):
        return
    if _result(final).get("source", "") != _source(config):
        raise other_source(folder)


def _trainable(start: Path, config: Config) -> Any:
    from codctl.models.load import load_trainable

    if not trains_adapters_from_the_start(config):
        lora = config.model.lora.model_copy(update={"rank": 0})
        config = config.model_copy(update={"model": config.model.model_copy(update={"lora": lora})})
    return load_trainable(start, config, config.model.device)


def _export(speaker: Speaker, config: Config, folder: Path) -> None:
    export(speaker, config, folder)
    if trains_adapters_from_the_start(config):
        name_base(folder, config.model)
        (folder / "README.md").unlink()  # PEFT's empty form; the final model has a card


def _result(final: Path) -> WarmStart:
    from codctl.files import records as files

    found: WarmStart = {}
    return reader.read(final / _RESULT, files.WarmStart) or found


def _metrics(step: Any) -> dict[str, float]:
    return {name: value for name, value in asdict(step).items() if name != "step"}


def _log_again(final: Path, tracker: Tracker) -> None:
    """Log the steps of a finished warm start, unless an earlier attempt has logged them all."""
    losses = _result(final).get("losses")
    if losses is None or tracker.steps(_STAGE) == [record["step"] for record in losses]:
        return
    tracker.rewind(_STAGE, -1)
    for record in losses:
        numbers = cast("dict[str, float]", {name: value for name, value in record.items() if name != "step"})
        tracker.log(record["step"], _STAGE, numbers)
