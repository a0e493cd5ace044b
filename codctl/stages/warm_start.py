"""Stage: SFT on scripted demonstrations."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from codctl.config.schema import Config
from codctl.runs.atomic import write_json
from codctl.runs.directory import RunDirectory
from codctl.runs.seal import is_sealed, sealing
from codctl.stages.progress import Progress
from codctl.stages.setup import export, load_speaker, rollout_settings
from codctl.tracking.tracker import Tracker


def warm_start(run: RunDirectory, config: Config, start: Path, tracker: Tracker, progress: Progress) -> Path:
    """Return the folder of the warm-started model (or `start` when the recipe has no warm start).

    A killed warm start begins again: it takes a minute, and from the same seeds it ends the same.
    """
    if not config.warm_start.enabled:
        return start
    final = run.stage("warm_start")
    if is_sealed(final, verify=True):
        return final / "model"
    from codctl.learn.warm_start import demonstrations, train_on

    started = time.monotonic()
    speaker = load_speaker(start, config.model.dtype, config.model.device)
    progress.message(f"playing {config.warm_start.packs} packs of demonstrations")
    episodes = demonstrations(config, speaker.chat, rollout_settings(config))
    tracker.rewind("warm_start", -1)

    def report(step: int, steps: int, log: dict[str, float]) -> None:
        metrics = {"loss": log["loss"], "lr": log.get("learning_rate", 0.0)}
        tracker.log(step, "warm_start", metrics)
        progress.update("warm start", step, steps, metrics)

    with sealing(final) as temp:
        with tempfile.TemporaryDirectory() as work:
            train_on(speaker.model, speaker.tokenizer, episodes, config, Path(work), report)
        export(speaker, config, temp / "model")
        result = {
            "episodes": len(episodes),
            "tokens": sum(len(e.ids) for e in episodes),
            "epochs": config.warm_start.epochs,
            "seconds": round(time.monotonic() - started, 1),
        }
        write_json(temp / "result.json", result)
    return final / "model"
