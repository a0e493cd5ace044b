"""The models of a run that can be evaluated: the start of CoD-Train, its saved checkpoints, and the final model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codctl.config.schema import Config
from codctl.errors import CodctlError, StageError, UsageError
from codctl.files.atomic import follow_umask, storage_errors
from codctl.files.seal import is_sealed, read_info, why_not_sealed
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import FINAL, START, WARM_START

NEWEST = "newest"
_DEPTH = 3  # RUN/stages/cod_train/checkpoints/step-…


@dataclass(frozen=True)
class SavedModel:
    """A model of a run on disk.

    Attributes:
        label: What `--step` calls it: `final`, `warm-start`, `start`, or the number of a checkpoint's step.
        step: Steps of CoD-Train behind it.
        folder: A model folder; of a checkpoint, the folder that it goes on from.
        checkpoint: The checkpoint, when it is one.
    """

    label: str
    step: int
    folder: Path
    checkpoint: Path | None = None


def saved_models(run: RunDirectory, config: Config) -> list[SavedModel]:
    """All of them, by step. The last one is the newest; of a checkpoint and a final model of one step, the latter."""
    begin = _begin(run, config)
    found = [begin] if begin else []
    if begin and config.train.enabled:
        found += [
            SavedModel(str(_step(path)), _step(path), begin.folder, path)
            for path in sorted(run.checkpoints.glob("step-*"))
            if is_sealed(path)
        ]
    final = run.final_model
    if config.train.enabled and is_sealed(final):
        found.append(SavedModel(FINAL, int(read_info(final).get("step", config.train.steps)), final))
    return sorted(found, key=lambda model: (model.step, model.label == FINAL))


def choose(run: RunDirectory, config: Config, step: str) -> SavedModel:
    """The model that `--step` means.

    Args:
        run: The run.
        config: Its recipe.
        step: `newest`, `final`, `warm-start`, or a number of steps.

    Raises:
        StageError: The run has saved no model yet.
        UsageError: It has no such model; those that it has are listed.
    """
    known = saved_models(run, config)
    if not known:
        raise StageError(
            f"run {run.title!r} has saved no model yet", where=str(run.path), hint=f"codctl status {run.title}"
        )
    if step == NEWEST:
        return known[-1]
    matching = [model for model in known if step in (model.label, str(model.step))]
    if not matching:
        raise UsageError(
            f"run {run.title!r} has no saved model {step!r}",
            where="--step",
            hint=f"it has {', '.join(labels(known))}",
        )
    return matching[-1]


def checkpoint_named(folder: Path) -> tuple[Path, str] | None:
    """The folder of the run and the step that a checkpoint folder belongs to; None for any other folder."""
    folder = folder.absolute()
    parents = folder.parents
    is_checkpoint = folder.name.startswith("step-") and folder.name.removeprefix("step-").isdigit()
    if not is_checkpoint or len(parents) <= _DEPTH or parents[0].name != "checkpoints":
        return None
    run = parents[_DEPTH]
    return (run, str(_step(folder))) if (run / "manifest.json").is_file() else None


def labels(models: Sequence[SavedModel]) -> list[str]:
    """What `--step` takes, once each."""
    return list(dict.fromkeys(model.label for model in models))


def lay_out(saved: SavedModel, config: Config, folder: Path) -> None:
    """Write the model of a checkpoint as an ordinary model folder, of LoRA as an adapter's.

    Args:
        saved: With a checkpoint.
        config: The run's recipe.
        folder: New.

    Raises:
        StageError: The checkpoint is damaged, or a training that goes on has removed it.
    """
    from codctl.learner.checkpoints import export
    from codctl.models.load import load_chat, load_tokenizer
    from codctl.train.setup import write_side_file

    assert saved.checkpoint is not None
    _check(saved.checkpoint)
    with storage_errors(folder):
        folder.mkdir(parents=True)
        try:
            export(saved.checkpoint, saved.folder, config, folder)
        except FileNotFoundError:
            _check(saved.checkpoint)
            raise
        tokenizer = load_tokenizer(saved.folder)
        tokenizer.save_pretrained(folder)
        write_side_file(config, load_chat(folder, tokenizer), folder)
        follow_umask(folder)


def _check(checkpoint: Path) -> None:
    if not checkpoint.is_dir():
        hint = "the same command takes the newest one; train.checkpoints_kept=null keeps all"
        raise StageError("the run has removed this checkpoint meanwhile", where=str(checkpoint), hint=hint)
    if problem := why_not_sealed(checkpoint):
        raise StageError(f"the checkpoint is damaged: {problem}", where=str(checkpoint), hint="--step chooses another")


def _begin(run: RunDirectory, config: Config) -> SavedModel | None:
    """What CoD-Train starts from."""
    from codctl.models.start import start_folder

    if config.warm_start.enabled:
        folder = run.warm_start
        return SavedModel(WARM_START, 0, folder / "model") if is_sealed(folder) else None
    try:
        folder = start_folder(run, config)
    except CodctlError:  # a hub id that is not in the cache
        return None
    return SavedModel(START, 0, folder) if folder.is_dir() else None


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))
