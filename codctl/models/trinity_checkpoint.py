"""Checkpoints of Trinity-RFT (`global_step_N`) as model folders.

`actor/huggingface` has settings and tokenizer; the weights are there too once `trinity convert` was run, or beside it
in one `actor/model.safetensors`. Otherwise there are only pickled shards, which are not loaded.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from codctl.errors import PreflightError
from codctl.files.atomic import storage_errors
from codctl.models.files import ADAPTER, INDEX, WEIGHTS
from codctl.seeds import text_digest

_SETTINGS = "huggingface"


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is one of Trinity-RFT's checkpoints, or the `actor` folder of one."""
    actor = _actor(folder)
    return (actor / _SETTINGS).is_dir() and not (folder / "config.json").is_file()


def model_folder(checkpoint: Path, *, weights: bool = True) -> Path:
    """The model of a checkpoint.

    Weights that lie beside the settings are brought together with them by links in a folder of codctl's cache.

    Raises:
        PreflightError: Its weights are pickled; names the command that converts them.
    """
    actor = _actor(checkpoint)
    settings = actor / _SETTINGS
    if not weights or any((settings / name).is_file() for name in (WEIGHTS, INDEX, ADAPTER)):
        return settings
    if (actor / WEIGHTS).is_file():
        return _linked(settings, actor / WEIGHTS)
    step = shlex.quote(str(actor.parent))
    raise PreflightError(
        "the checkpoint has no safetensors, and its pickled shards are not loaded",
        where=str(checkpoint),
        hint=f"with Trinity-RFT: trinity convert --checkpoint-dir {step} --base-model-dir BASE, where BASE is what the "
        "training began with",
    )


def _actor(folder: Path) -> Path:
    return folder if folder.name == "actor" else folder / "actor"


def _linked(settings: Path, weights: Path) -> Path:
    """A folder of links to the files of one and to the weights of the other; the same one each time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "codctl" / "trinity" / text_digest(str(weights.resolve()))
    with storage_errors(folder, PreflightError):
        folder.mkdir(parents=True, exist_ok=True)
        for file in [*(path for path in settings.iterdir() if path.is_file()), weights]:
            link = folder / file.name
            if not link.is_symlink() or link.resolve() != file.resolve():
                link.unlink(missing_ok=True)
                with suppress(FileExistsError):  # by another process, at the same time
                    link.symlink_to(file.resolve())
    return folder
