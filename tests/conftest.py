"""A tiny model and its tokenizer, built once for all tests that need one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the real hub

BUILD = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "ffn": 48, "vocab": 448, "rope_theta": 100.0}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder as the `model` stage writes it. Read only."""
    from codctl.config.schema import BuildConfig, WorldConfig
    from codctl.learn.tiny import build_folder
    from codctl.stages.setup import prepare_process

    prepare_process(threads=1)
    folder = tmp_path_factory.mktemp("tiny") / "model"
    build_folder(BuildConfig(**BUILD), WorldConfig(preset="tiny", rendering="compact"), 0, folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_folder: Path) -> Any:
    from codctl.learn.models import load_tokenizer

    return load_tokenizer(tiny_folder)


@pytest.fixture
def model(tiny_folder: Path) -> Any:
    """A model of one's own, on the CPU."""
    from codctl.learn.models import load_model

    return load_model(tiny_folder, "float32", "cpu")
