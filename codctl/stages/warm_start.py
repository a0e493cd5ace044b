"""Stage: SFT on scripted demonstrations."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from codctl.config.schema import Config
from codctl.runs.atomic import write_json
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_whole, sealing
from codctl.stages import cache
from codctl.stages.progress import Progress
from codctl.stages.setup import export, load_speaker, rollout_settings
from codctl.tracking.tracker import Tracker

_STAGE, _RESULT = "warm_start", "result.json"


def warm_start(run: RunDirectory, config: Config, start: Path, tracker: Tracker, progress: Progress) -> Path:
    """Return the folder of the warm-started model (or `start` when the recipe has no warm start).

    A killed warm start begins again: it takes a minute, and from the same seeds it ends the same.
    """
    if not config.warm_start.enabled:
        return start
    final = run.stage(_STAGE)
    is_there = is_whole(final, progress.message)
    if not is_there and cache.fetch(run, _STAGE, config):
        progress.message("the warm start of another run with the same settings is used")
        is_there = True
    if is_there:
        _tell(final, tracker)
        return final / "model"
    from codctl.learn.warm_start import demonstrations, train_on

    started = time.monotonic()
    progress.update("warm start: loading the model", 0, 0, {})
    speaker = load_speaker(start, "float32", config.model.device)  # what is trained; the arithmetic is model.dtype's
    progress.update(f"warm start: playing {config.warm_start.packs} packs of demonstrations", 0, 0, {})
    episodes = demonstrations(config, speaker.chat, rollout_settings(config))
    tracker.rewind(_STAGE, -1)
    losses: list[dict[str, float]] = []

    def report(step: int, log: dict[str, float]) -> None:
        metrics = {"loss": log["loss"], "lr": log.get("learning_rate", 0.0)}
        losses.append({"step": step, **metrics})
        tracker.log(step, _STAGE, metrics)

    def count(done: int, total: int) -> None:
        progress.update("warm start", done, total, {})

    progress.update("warm start", 0, 0, {})
    with sealing(final) as temp:
        with tempfile.TemporaryDirectory() as work:
            train_on(speaker.model, speaker.tokenizer, episodes, config, Path(work), report, count)
        export(speaker, config, temp / "model")
        result = {
            "episodes": len(episodes),
            "tokens": sum(len(e.ids) for e in episodes),
            "epochs": config.warm_start.epochs,
            "seconds": round(time.monotonic() - started, 1),
            "losses": losses,
        }
        write_json(temp / _RESULT, result)
    cache.publish(run, _STAGE, config)
    return final / "model"


def _tell(final: Path, tracker: Tracker) -> None:
    """Log the steps of a warm start that another run has made, unless an earlier attempt has told them all."""
    losses = json.loads((final / _RESULT).read_text(encoding="utf-8")).get("losses")  # an older codctl kept none
    if losses is None or tracker.steps(_STAGE) == [record["step"] for record in losses]:
        return
    tracker.rewind(_STAGE, -1)
    for record in losses:
        tracker.log(int(record["step"]), _STAGE, {"loss": record["loss"], "lr": record["lr"]})
