"""Several learner processes do what one does; one that ends is noticed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codctl.errors import StageError
from codctl.learner import group
from codctl.learner.batching import Sample
from codctl.learner.group import LearnerGroup, open_group
from codctl.learner.learner import Judge
from codctl.models.load import load_model
from tests.learner.samples import on_policy, random_samples
from tests.learner.several import Forked, recipe, several

SPLIT = {"split_long_rows": True, "attention": "varlen", "micro_batch_tokens": 65, "logprob_chunk": 20}


def long_sample(seed: int = 0) -> Sample:
    """Longer than all others together."""
    parts = random_samples(25, seed)
    return Sample(
        [token for part in parts for token in part.ids],
        [mask for part in parts for mask in part.loss_mask],
        [logprob for part in parts for logprob in part.logprobs],
        0.7,
    )


def uneven(model: Any) -> list[list[Sample]]:
    """Rows of three rollout steps: one long and many short, fewer than processes, an odd number."""
    steps = [[long_sample(), *random_samples(17, 1)], random_samples(1, 2), random_samples(9, 3)]
    return [on_policy(model, rows, noise=0.3) for rows in steps]


def learned(group: LearnerGroup, steps: list[list[Sample]], folder: Path) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Metrics and scores of each step, and the weights at the end."""
    found: list[Any] = []
    for step, rows in enumerate(steps, start=1):
        found.append((group.learn(rows, step), group.score(rows)))
    group.publish(folder)
    return found, load_file(next(folder.glob("*.safetensors")))


@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        ({"kind": "rec", "mean": "token"}, {"strategy": "ddp"}),
        ({"kind": "grpo", "mean": "episode", "kl": 0.5}, {"strategy": "ddp"}),
        ({"kind": "gspo", "mean": "token"}, {"lora": 4}),
        ({"kind": "rec", "mean": "episode", "red": False, "kl": 0.5}, {"lora": 4}),
        ({"kind": "cispo", "mean": "token"}, {"strategy": "fsdp"}),
        ({"kind": "grpo", "mean": "episode", "kl": 0.5}, {"strategy": "fsdp"}),
        ({"kind": "gspo", "mean": "episode", "kl": 0.5}, {"strategy": "fsdp", **SPLIT}),
        ({"kind": "rec", "mean": "token"}, {"lora": 4, "activation_checkpointing": True, **SPLIT}),
    ],
)
def test_two_processes_learn_as_one(
    tiny_folder: Path, model: Any, tmp_path: Path, loss: dict[str, Any], settings: dict[str, Any]
) -> None:
    config, rows = recipe(loss=loss, **settings), uneven(model)
    with open_group(config, tiny_folder, pad_id=0) as group:
        alone, weights = learned(group, rows, tmp_path / "one")
    with several(config, tiny_folder) as group:
        together, others = learned(group, rows, tmp_path / "two")
    for (metrics, scores), (other_metrics, other_scores) in zip(alone, together, strict=True):
        for name in set(metrics) - {"tokens/forwarded", "tokens/useful_fraction"}:
            assert other_metrics[name] == pytest.approx(metrics[name], rel=1e-5, abs=1e-6), name
        for own, other in zip(scores, other_scores, strict=True):
            assert other == pytest.approx(own, abs=1e-5)
    assert set(weights) == set(others)
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 1e-6
    start = load_model(tiny_folder, "float32", "cpu").state_dict() if not settings.get("lora") else {}
    assert all(not torch.equal(start[name], weights[name]) for name in start if name.endswith("proj.weight"))


def test_scores_are_those_of_the_model(tiny_folder: Path, model: Any) -> None:
    rows = [*on_policy(model, random_samples(5)), Sample([1, 2], [0, 0], [0.0, 0.0], 0.0)]
    with open_group(recipe(), tiny_folder, pad_id=0) as group:
        for row, scores in zip(rows, group.score(rows), strict=True):
            own = [p for p, m in zip(row.logprobs, row.loss_mask, strict=True) if m]
            assert scores == pytest.approx(own, abs=1e-5)


def test_rank_0_alone_judges_and_all_leave_the_step_out(tiny_folder: Path, model: Any, tmp_path: Path) -> None:
    rows, seen = on_policy(model, random_samples(8), noise=0.3), []
    with several(recipe(strategy="ddp", optimizer_steps=1), tiny_folder) as group:
        before = {name: p.detach().clone() for name, p in group.model.named_parameters()}
        metrics = group.learn(rows, 1, judge=lambda found: bool(seen.append(dict(found))))
        group.publish(tmp_path / "model")
    after = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in after)
    assert seen[0]["grad_norm"] == metrics["grad_norm"] > 0
    for name in ("loss", "entropy", "logprob_gap/max"):
        assert seen[0][name] == metrics[name]


def test_a_process_that_is_killed_ends_the_call_with_a_message(tiny_folder: Path, model: Any) -> None:
    found: list[Forked] = []
    rows = on_policy(model, random_samples(4))
    with several(recipe(strategy="ddp"), tiny_folder, found=found) as group:
        group.learn(rows, 1)
        group.check()

        def kill(_: Any) -> bool:
            found[0].processes[0].kill()
            return True

        killed = time.monotonic()
        with pytest.raises(StageError, match="a learner process ended: rank 1 with exit code -9"):
            learn_on(group, rows, judge=kill)
        assert time.monotonic() - killed < 240  # not the half hour that torch waits for a collective


def learn_on(group: LearnerGroup, rows: list[Sample], judge: Judge) -> None:
    for step in range(2, 60):  # the step in which it happens may still come through
        group.learn(rows, step, judge)


def test_what_fails_while_all_of_them_write_is_said(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError, match="cannot write: a file stands where a folder is needed"):
        save(tiny_folder, tmp_path / "file")


def save(start: Path, folder: Path) -> None:
    with several(recipe(strategy="fsdp"), start) as group:
        group.save(folder, 1)


def test_several_processes_need_somebody_who_starts_them(tiny_folder: Path) -> None:
    with (
        pytest.raises(StageError, match="no launcher was given for the 2 learner processes"),
        open_group(recipe(), tiny_folder, pad_id=0, processes=2),
    ):
        pass


def test_published_weights_are_a_model_of_the_wanted_type(tiny_folder: Path, tmp_path: Path) -> None:
    config = recipe()
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    with open_group(config, tiny_folder, pad_id=0) as group:
        assert {p.dtype for p in group.model.parameters()} == {torch.float32}
        group.publish(tmp_path / "new")
        (tmp_path / "empty").mkdir()
        group.publish(tmp_path / "empty")
    for name in ("new", "empty"):
        weights = load_file(tmp_path / name / "model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
        assert '"dtype": "bfloat16"' in (tmp_path / name / "config.json").read_text()
        loaded = load_model(tmp_path / name, "bfloat16", "cpu")
        assert torch.equal(loaded.state_dict()["lm_head.weight"], weights["lm_head.weight"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new"]


def test_what_was_sampled_by_nobody_is_no_row(tiny_folder: Path, model: Any) -> None:
    silent = [replace(row, advantage=0.0) for row in random_samples(3)]
    with several(recipe(strategy="ddp"), tiny_folder) as group:
        assert group.learn([], 1)["loss"] == 0
        assert group.learn(silent, 2)["tokens/forwarded"] == 0
        assert group.score([]) == []


def test_one_gpu_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch takes no "cuda" without a number; what it makes of its argument is its own code here."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)
    for device in ("cuda", "cuda:1"):
        assert group._device(device, recipe(), 1) == device
    assert chosen == [0, 1]


def test_a_checkpoint_that_could_not_be_written_is_not_passed_over_at_the_end(
    tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StageError, match="cannot write: a file stands where a folder is needed"),
        open_group(recipe(), tiny_folder, pad_id=0) as alone,
    ):
        alone.save(tmp_path / "file", 1)
