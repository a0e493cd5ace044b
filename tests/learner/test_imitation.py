"""The fine-tuning on demonstrations: what it learns from, and that it continues as if it had never been stopped."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.cod.conversation import TemplateChat
from codctl.cod.trajectory import EpisodeRecord
from codctl.config.schema import Config
from codctl.errors import StageError
from codctl.learner.demonstrations import demonstrations
from codctl.learner.imitation import Imitation, Place, SftStep
from codctl.models.load import load_model, load_tokenizer, load_trainable
from codctl.train.setup import rollout_settings


def recipe(folder: Path, rank: int = 0, **warm: Any) -> Config:
    return Config.model_validate(
        {
            "world": {"preset": "tiny", "rendering": "compact", "length": 3},
            "model": {"path": str(folder), "lora": {"rank": rank}},
            "sampling": {"solve_tokens": 8, "update_tokens": 12},
            "warm_start": {"packs": 8, "batch_rows": 8, "lr": 5e-3, "epochs": 2, **warm},
        }
    )


@pytest.fixture
def episodes(tiny_folder: Path, tokenizer: Any) -> list[EpisodeRecord]:
    config = recipe(tiny_folder)
    return demonstrations(config, TemplateChat(tokenizer), rollout_settings(config))


class Stop(KeyboardInterrupt):
    """Ctrl-C after some micro-batches."""


def trained(
    folder: Path, config: Config, episodes: list[EpisodeRecord], kept: Path, *, micro_batches: int = 10_000
) -> tuple[dict[str, torch.Tensor], list[SftStep], list[Place]]:
    """Trained tensors, steps, and what was reported; `Stop` after so many micro-batches."""
    imitation = Imitation(load_trainable(folder, config, "cpu"), config, tokenizer=load_tokenizer(folder), folder=kept)
    assert imitation.restore() == []
    places: list[Place] = []

    def watch(place: Place) -> None:
        places.append(place)
        if len(places) == micro_batches:
            raise Stop

    imitation.train_on(episodes, lambda _: None, watch)
    return dict(imitation._trainer.trained()), imitation.steps, places


def test_the_loss_falls_and_every_step_is_recorded(
    tiny_folder: Path, episodes: list[EpisodeRecord], tmp_path: Path
) -> None:
    found, steps, places = trained(tiny_folder, recipe(tiny_folder), episodes, tmp_path)
    assert [step.step for step in steps] == list(range(1, 11))  # 40 episodes, 8 a step, two epochs
    assert steps[0].lr == 0
    assert max(step.lr for step in steps) == 5e-3
    assert steps[-1].loss < 0.8 * steps[0].loss
    assert (places[-1].rows, places[-1].all_rows) == (80, 80)
    assert places[-1].tokens == 2 * sum(len(e.ids) for e in episodes)
    untrained = load_model(tiny_folder, "float32", "cpu")
    assert mean_nll(untrained, episodes) == pytest.approx(steps[0].loss, rel=0.1)
    assert any(not torch.equal(found[name], p) for name, p in untrained.named_parameters())


@torch.no_grad()
def mean_nll(model: Any, episodes: list[EpisodeRecord]) -> float:
    """Of the sampled tokens, one row at a time and with the model's own head."""
    total = count = 0.0
    for e in episodes:
        logprobs = torch.log_softmax(model(input_ids=torch.tensor(e.ids.tolist())[None]).logits[0], -1)
        for place in (i for i, sampled in enumerate(e.loss_mask) if sampled):
            total -= float(logprobs[place - 1, e.ids[place]])
            count += 1
    return total / count


def test_prompt_tokens_carry_no_loss(tiny_folder: Path, episodes: list[EpisodeRecord], tmp_path: Path) -> None:
    """Where only the stop token is demonstrated, only that is learned."""
    masked = [replace(e, loss_mask=[0] * (len(e.ids) - 1) + [1]) for e in episodes]
    _, steps, _ = trained(tiny_folder, recipe(tiny_folder), masked, tmp_path)
    assert steps[-1].loss < 0.5 * steps[0].loss


def narrow(folder: Path, rank: int = 0, **warm: Any) -> Config:
    """Steps of several micro-batches."""
    config = recipe(folder, rank, **warm)
    return config.model_copy(update={"train": config.train.model_copy(update={"micro_batch_tokens": 400})})


@pytest.mark.parametrize("rank", [0, 4])
def test_trl_makes_the_same_steps(tiny_folder: Path, episodes: list[EpisodeRecord], tmp_path: Path, rank: int) -> None:
    """Also where the last batch of an epoch is not full."""
    found, steps, places = trained(tiny_folder, narrow(tiny_folder, rank), episodes[:35], tmp_path / "own")
    theirs, same_steps, their_places = trained(
        tiny_folder, narrow(tiny_folder, rank, trainer="trl"), episodes[:35], tmp_path / "trl"
    )
    assert len(steps) == len(same_steps) == 10
    for step, same in zip(steps, same_steps, strict=True):
        assert asdict(same) == pytest.approx(asdict(step), rel=1e-5)
    assert theirs.keys() == found.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(tensor, found[name], rtol=0, atol=1e-5)
    assert len(their_places) > len(same_steps) + 1  # steps have several micro-batches
    assert their_places[-1] == replace(places[-1], newest=same_steps[-2])


def test_a_gradient_of_trl_that_is_not_finite_is_not_kept(
    tiny_folder: Path, episodes: list[EpisodeRecord], tmp_path: Path
) -> None:
    config = recipe(tiny_folder, trainer="trl", checkpoint_s=0.0)
    model, tokenizer = load_trainable(tiny_folder, config, "cpu"), load_tokenizer(tiny_folder)
    imitation = Imitation(model, config, tokenizer=tokenizer, folder=tmp_path)

    def spoil(step: SftStep) -> None:
        if step.step == 2:
            next(model.parameters()).data.fill_(float("inf"))

    with pytest.raises(StageError, match=r"not finite .* at step 3"):
        imitation.train_on(episodes, spoil, lambda _: None)
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-000001", "step-000002"]


@pytest.mark.parametrize(
    ("trainer", "rank", "micro_batches"),
    [*(("codctl", rank, stop) for rank in (0, 4) for stop in (7, 15, 23)), ("trl", 4, 15)],
)
def test_stopped_anywhere_it_continues_to_the_same_bits(
    tiny_folder: Path, episodes: list[EpisodeRecord], tmp_path: Path, trainer: str, rank: int, micro_batches: int
) -> None:
    """Ctrl-C in the middle of an optimiser step: what the steps before it learned is kept."""
    config = narrow(tiny_folder, rank, trainer=trainer)
    whole, steps, places = trained(tiny_folder, config, episodes, tmp_path / "whole")
    assert len(places) > 2 * len(steps) - 4  # steps have several micro-batches
    with pytest.raises(Stop):
        trained(tiny_folder, config, episodes, tmp_path / "kept", micro_batches=micro_batches)
    again, steps_again, places_again = trained(tiny_folder, config, episodes, tmp_path / "kept")
    assert steps_again == steps
    assert len(places_again) < len(places)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    if rank:
        assert all("lora" in name for name in whole)


def test_a_damaged_checkpoint_is_passed_over(tiny_folder: Path, episodes: list[EpisodeRecord], tmp_path: Path) -> None:
    config = recipe(tiny_folder, checkpoint_s=0.0)
    config = config.model_copy(update={"train": config.train.model_copy(update={"checkpoints_kept": None})})
    whole, steps, _ = trained(tiny_folder, config, episodes, tmp_path)
    newest = max(tmp_path.glob("step-*"))
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-000009", "step-000010"]
    (newest / "rank-00000-of-00001.safetensors").write_bytes(b"")
    model, tokenizer = load_trainable(tiny_folder, config, "cpu"), load_tokenizer(tiny_folder)
    imitation = Imitation(model, config, tokenizer=tokenizer, folder=tmp_path)
    [reason] = imitation.restore()
    assert "step-000010" in reason
    imitation.train_on(episodes, lambda _: None, lambda _: None)
    assert imitation.steps == steps
    assert all(torch.equal(whole[name], p) for name, p in imitation._trainer.trained())
