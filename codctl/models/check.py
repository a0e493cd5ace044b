"""What is wrong with the model of a recipe, as far as its files tell; no weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from codctl.cod.conversation import TemplateChat
from codctl.config.consistency import targets_head, tied_head
from codctl.config.schema import ModelConfig
from codctl.errors import PreflightError
from codctl.models import architectures, hub
from codctl.models.files import read_settings
from codctl.models.load import base_folder, check_model, load_chat, load_tokenizer, named_stops

_TOKENIZER_HINT = "put the tokenizer files that came with the model into the folder"


def check_shape(model: ModelConfig) -> None:
    """Refuse adapters on a tied output head, by config.json or what codctl knows of a published model."""
    if not model.path or not model.lora.rank or not targets_head(model.lora.target):
        return
    if _has_tied_head(model.path, model.revision):
        misfit = tied_head(model.lora.target)
        raise PreflightError(str(misfit), where=misfit.key, hint=misfit.hint)


def check_files(model: ModelConfig) -> TemplateChat | None:
    """Check the model's folder, or where the cache has it: weights (their headers), tokenizer, chat template.

    A hub id that is not cached passes; with random weights, when its shape is known.

    Returns:
        How the model is talked to; None where its files are not at hand.

    Raises:
        PreflightError: It cannot be trained.
    """
    if not model.path:
        return None
    if model.init == "random":
        if not (hub.is_hub_id(model.path) and model.path in architectures.PUBLISHED):
            architectures.of_folder(hub.located(model.path, model.revision, weights=False))
        return None
    folder = hub.find(model.path, model.revision)
    if folder is None:
        return None
    check_model(folder)
    tokenizer = load_tokenizer(folder)
    chat = load_chat(folder, tokenizer)
    check_tokenizer(tokenizer, folder)
    return chat


def check_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer that was made for another model.

    Args:
        tokenizer: The folder's own.
        folder: Model folder or PEFT adapter folder.

    Raises:
        PreflightError: It has ids that the model has no embedding of, lacks those that end a reply, or has other ones
            than the adapter's base model.
    """
    base = base_folder(folder)
    rows = architectures.of_folder(base).vocab
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    if not vocabulary:
        raise PreflightError("the tokenizer has no tokens", where=str(folder), hint=_TOKENIZER_HINT)
    largest = max(vocabulary.values())
    if largest >= rows:
        token = next(token for token, number in vocabulary.items() if number == largest)
        raise PreflightError(
            f"the tokenizer is not this model's: its id {largest} ({token!r}) is beyond the model's {rows} embeddings",
            where=str(folder),
            hint=_TOKENIZER_HINT,
        )
    if odd := [stop for stop in named_stops(folder) if stop > largest]:
        raise PreflightError(
            f"the model's files name the stop token {odd[0]} (eos_token_id), the tokenizer's last is {largest}: "
            "the tokenizer is not this model's",
            where=str(folder),
            hint=_TOKENIZER_HINT,
        )
    if base != folder and (base / "tokenizer.json").is_file() and load_tokenizer(base).get_vocab() != vocabulary:
        raise PreflightError(
            f"the adapter's tokenizer has other tokens than its base model's in {base}",
            where=str(folder),
            hint="copy the base model's tokenizer files over the adapter's",
        )


def _has_tied_head(path: str, revision: str | None) -> bool:
    known = architectures.PUBLISHED.get(path)
    if known and hub.is_hub_id(path):
        return known.architecture.tie_embeddings
    folder = hub.find(path, revision, weights=False)
    settings = folder and base_folder(folder) / "config.json"
    return bool(settings and settings.is_file() and read_settings(settings).get("tie_word_embeddings"))
