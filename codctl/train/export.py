"""What goes beside trained weights so that the folder is an ordinary Hugging Face one that explains itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from codctl.config.schema import Config, ModelConfig
from codctl.files.seal import is_sealed
from codctl.models import hub
from codctl.models.load import load_chat
from codctl.runs.directory import RunDirectory
from codctl.tracking import jsonl
from codctl.train.model_card import model_card
from codctl.train.setup import write_side_file

_ADAPTER = "adapter_config.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def describe(run: RunDirectory, config: Config, tokenizer: Any, folder: Path) -> None:
    """Complete a folder that holds a model or PEFT adapter: tokenizer, codctl.json, model card, name of the base model.

    The same training gives the same bytes: nothing in it depends on time or on where the run lies.

    Args:
        run: Whose metrics the card shows.
        config: Its recipe.
        tokenizer: With the chat template that the model was trained with.
        folder: Not sealed yet.
    """
    tokenizer.save_pretrained(folder)
    write_side_file(config, load_chat(folder, tokenizer), folder)
    is_adapter = (folder / _ADAPTER).is_file()
    own_base = is_adapter and _has_own_base(run)
    if is_adapter and not own_base:
        name_base(folder, config.model)
    records, licence = jsonl.read(run.metrics_path), hub.licence(config.model.path, config.model.revision)
    card = model_card(config, records, is_adapter=is_adapter, own_base=own_base, licence=licence)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _has_own_base(run: RunDirectory) -> bool:
    """Whether the run's adapters sit on a model of its own: one whose weights its warm start has trained."""
    warm = run.warm_start
    return is_sealed(warm) and not (warm / "model" / _ADAPTER).is_file()


def name_base(folder: Path, model: ModelConfig) -> None:
    """Let an adapter name its base model by hub id and commit, so that it loads on any machine."""
    if not model.path or not hub.is_hub_id(model.path):
        return
    cached = hub.find(model.path, model.revision, weights=False)
    commit = cached.name if cached and _COMMIT.fullmatch(cached.name) else model.revision
    path = folder / _ADAPTER
    settings = {**json.loads(path.read_text()), "base_model_name_or_path": model.path, "revision": commit}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
