"""What a training held is free when it ends: an evaluation needs that memory, and Python counts no bytes on a GPU."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.learner.learner import Learner
from codctl.models.load import load_chat, load_tokenizer
from codctl.runs.directory import RunDirectory
from codctl.runs.progress import Progress
from codctl.tracking.tracker import Tracker
from codctl.train.cod_train import cod_train


class Silent(Progress):
    def update(self, *_: Any) -> None: ...

    def message(self, text: str) -> None: ...


@pytest.mark.parametrize("overlap", [False, True])
def test_model_and_optimizer_are_free_when_the_training_ends(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    config = Config.model_validate(
        {
            "world": {"preset": "tiny", "rendering": "compact", "length": 2},
            "model": {"path": str(tiny_folder), "device": "cpu"},
            "sampling": {"solve_tokens": 8, "update_tokens": 8},
            "train": {"steps": 2, "packs": 1, "rollouts": 2, "checkpoint_every": 1},
            "engine": {"overlap": overlap},
            "tracking": {"mlflow": False},
            "health": {"look": {"action": "off"}},
        }
    )
    run = RunDirectory.create_or_continue(tmp_path, config, recipe="tiny", command=["codctl"])
    held: list[weakref.ref[Any]] = []
    plain = Learner.learn

    def learn(learner: Learner, *args: Any, **kwargs: Any) -> dict[str, float]:
        held.extend(map(weakref.ref, (learner, learner.model, learner.optimizer)))
        return plain(learner, *args, **kwargs)

    monkeypatch.setattr(Learner, "learn", learn)
    gc.collect()
    gc.disable()
    try:
        with run.start_attempt():
            cod_train(run, config, tiny_folder, Tracker(run, config), Silent())
        assert len(held) == 6
        assert [ref() for ref in held] == [None] * 6
    finally:
        gc.enable()


def test_a_chat_keeps_no_tokenizer_alive(tiny_folder: Path) -> None:
    gc.disable()
    try:
        tokenizer = load_tokenizer(tiny_folder)
        chat = load_chat(tiny_folder, tokenizer)
        chat.follow_up("a text", ended_by=None)
        left = weakref.ref(tokenizer)
        del chat, tokenizer
        assert left() is None
    finally:
        gc.enable()
