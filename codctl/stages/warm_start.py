"""Stage: SFT on demonstrations."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codctl.config.defaults import trains_adapters_from_the_start
from codctl.config.schema import Config
from codctl.learn.models import check_folder, load_chat, load_tokenizer
from codctl.runs.atomic import write_json
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_whole, sealing
from codctl.stages import cache
from codctl.stages.export import name_base
from codctl.stages.progress import Progress
from codctl.stages.setup import Speaker, export, rollout_settings
from codctl.tracking.tracker import Tracker

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
    if not is_there and cache.fetch(run, _STAGE, config):
        progress.message("the warm start of another run with the same settings is used")
        is_there = True
    if is_there:
        _log_again(final, tracker)
    else:
        _make(run, config, start, tracker, progress)
        cache.publish(run, _STAGE, config)
    shutil.rmtree(run.stage(_STEPS), ignore_errors=True)
    return final / "model"


def _make(run: RunDirectory, config: Config, start: Path, tracker: Tracker, progress: Progress) -> None:
    from codctl.learn.imitation import Imitation, Place, SftStep
    from codctl.learn.warm_start import demonstrations

    began = time.monotonic()
    check_folder(start)
    tokenizer = load_tokenizer(start)
    chat = load_chat(start, tokenizer)
    progress.update(f"warm start: playing {config.warm_start.packs} packs of demonstrations", 0, 0, {})
    episodes = demonstrations(config, chat, rollout_settings(config))
    progress.update("warm start: loading the model", 0, 0, {})
    model = _trainable(start, config)
    imitation = Imitation(model, config, pad_id=tokenizer.pad_token_id or 0, folder=run.stage(_STEPS))
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
            "seconds": round(time.monotonic() - began, 1),
            "losses": [{"step": step.step, **_metrics(step)} for step in imitation.steps],
        }
        write_json(temp / _RESULT, result)


def _trainable(start: Path, config: Config) -> Any:
    from codctl.learn.trainable import load_trainable

    if not trains_adapters_from_the_start(config):
        lora = config.model.lora.model_copy(update={"rank": 0})
        config = config.model_copy(update={"model": config.model.model_copy(update={"lora": lora})})
    return load_trainable(start, config, config.model.device)


def _export(speaker: Speaker, config: Config, folder: Path) -> None:
    export(speaker, config, folder)
    if trains_adapters_from_the_start(config):
        name_base(folder, config.model)
        (folder / "README.md").unlink()  # PEFT's empty form; the final model has a card


def _metrics(step: Any) -> dict[str, float]:
    return {name: value for name, value in asdict(step).items() if name != "step"}


def _log_again(final: Path, tracker: Tracker) -> None:
    """Log the steps of a finished warm start, unless an earlier attempt has logged them all."""
    losses = json.loads((final / _RESULT).read_text(encoding="utf-8")).get("losses")  # an older codctl kept none
    if losses is None or tracker.steps(_STAGE) == [record["step"] for record in losses]:
        return
    tracker.rewind(_STAGE, -1)
    for record in losses:
        tracker.log(int(record["step"]), _STAGE, {name: value for name, value in record.items() if name != "step"})
