"""Stage: the model that training starts from: a folder, a hub id that is fetched, random weights, or the tiny model."""

from __future__ import annotations

from pathlib import Path

from codctl.cod.conversation import TemplateChat
from codctl.config.schema import Config
from codctl.errors import RefusedError
from codctl.files.atomic import write_text
from codctl.files.seal import is_whole, sealing
from codctl.models import hub
from codctl.models.check import check_files
from codctl.models.load import load_chat
from codctl.runs.directory import RunDirectory
from codctl.runs.progress import Progress

_STAGE, _CHAT = "model", "chat.sha256"


def build_model(run: RunDirectory, config: Config, progress: Progress) -> Path:
    """Return the folder that training starts from.

    Raises:
        PreflightError: The hub does not give it, or what is there cannot be used.
        RefusedError: Conversations are no longer written as when the run began.
    """
    if _is_built(config):
        _build(run.stage(_STAGE), config, progress)
        return run.stage(_STAGE)
    folder = _fetched(config, progress)
    check_files(config.model)
    chat = load_chat(folder)
    _refuse_other_chat(run, chat, folder)
    for note in chat.notes:  # once here, for all stages
        progress.message(note)
    return folder


def _refuse_other_chat(run: RunDirectory, chat: TemplateChat, folder: Path) -> None:
    """A run writes its conversations in one way from its first attempt to its last."""
    kept = run.stage(_CHAT)
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, f"{chat.digest()}\n")
    elif kept.read_text(encoding="utf-8", errors="replace").strip() != chat.digest():
        raise RefusedError(
            "the model's chat template, tokenizer or stop tokens have changed since the run began",
            where=str(folder),
            hint="put the earlier files back, or --name OTHER trains a second run",
        )


def start_folder(run: RunDirectory, config: Config) -> Path:
    """Where `build_model` has put it.

    Raises:
        PreflightError: A hub id that is gone from the cache.
    """
    return run.stage(_STAGE) if _is_built(config) else hub.located(str(config.model.path), config.model.revision)


def _is_built(config: Config) -> bool:
    return config.model.path is None or config.model.init == "random"


def _build(final: Path, config: Config, progress: Progress) -> None:
    if is_whole(final, progress.message):
        return
    if config.model.path is None:
        from codctl.models.build import build_folder

        progress.update("building tokenizer and model", 0, 0, {})
        with sealing(final) as temp:
            build_folder(config.model.build, config.world, config.seed, temp, config.context.update)
    else:
        from codctl.models.build import build_random_folder

        progress.update(f"building {config.model.path} with random weights", 0, 0, {})
        with sealing(final) as temp:
            build_random_folder(config, temp)


def _fetched(config: Config, progress: Progress) -> Path:
    """The folder of `model.path`, from the hub when it is nowhere else."""
    path, revision = str(config.model.path), config.model.revision
    found = hub.find(path, revision)
    if found is None:
        progress.update(f"fetching {path} ({revision or 'its newest revision'}) from the hub", 0, 0, {})
        found = hub.fetch(path, revision, lambda done, total: progress.update("MB from the hub", done, total, {}))
    if hub.is_hub_id(path):
        progress.message(f"the model is {path} at commit {found.name}")
    return found
