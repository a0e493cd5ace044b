"""Checkpoints restore model and optimiser to the bit; a broken one is passed over."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from codctl.config.schema import LoraConfig
from codctl.errors import StageError
from codctl.files.seal import sealing, sha256_of
from codctl.learner import checkpoints
from codctl.learner.group import open_group
from codctl.learner.tensor_file import write_tensors
from codctl.models.load import add_lora, load_model
from tests.learner.samples import on_policy, random_samples
from tests.learner.several import recipe, several
from tests.learner.test_learner import largest_difference, new_learner, weights_of

LORA = LoraConfig(rank=4, alpha=8.0)


def load(folder: Path, lora: bool) -> Any:
    model = load_model(folder, "float32", "cpu")
    return add_lora(model, LORA, seed=3) if lora else model


def steps(model: Any, learner: Any, numbers: range) -> None:
    for step in numbers:
        learner.learn(on_policy(model, random_samples(6, seed=step)), step)


@pytest.mark.parametrize("lora", [False, True])
def test_continuing_equals_not_stopping(tiny_folder: Path, tmp_path: Path, lora: bool) -> None:
    """Also with a penalty for leaving the start model, which no checkpoint holds."""
    settings = {"lr": 1e-3, "lr_schedule": "cosine", "steps": 5, "loss": {"kl": 0.5}}
    through = load(tiny_folder, lora)
    learner = new_learner(through, **settings)
    steps(through, learner, range(1, 3))
    checkpoints.save(tmp_path, learner, 2)
    steps(through, learner, range(3, 6))

    resumed = load(tiny_folder, lora)
    learner = new_learner(resumed, **settings)
    assert checkpoints.load_newest(tmp_path, learner) == checkpoints.Restored(2)
    steps(resumed, learner, range(3, 6))
    assert largest_difference(weights_of(through), weights_of(resumed)) == 0


def test_a_file_is_the_librarys_own_and_its_hash_is_known(tmp_path: Path) -> None:
    tensors = {f"exp_avg/layer {number}": torch.randn(3, number) for number in range(12)} | {
        'weight/é"': torch.randn(5, 3).bfloat16(),
        "weight/half": torch.randn(4).half(),
        "weight/none": torch.zeros(0, 4),
        "step/double": torch.randn(2).double(),
        "step/long": torch.arange(3),
        "step/int": torch.arange(3, dtype=torch.int32),
        "step/number": torch.tensor(3.0),
    }
    found = write_tensors(tmp_path / "own", tensors)
    save_file(tensors, tmp_path / "library")
    assert (tmp_path / "own").read_bytes() == (tmp_path / "library").read_bytes()
    assert found == sha256_of(tmp_path / "library")


def test_a_checkpoint_is_written_while_the_training_goes_on(
    tiny_folder: Path, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the weights of its own step, and of several only the newest stay."""
    may_write = Event()
    plain = checkpoints.write_tensors

    def late(*arguments: Any) -> str:
        assert may_write.wait(60)
        return plain(*arguments)

    monkeypatch.setattr(checkpoints, "write_tensors", late)
    learner = new_learner(model, lr=1e-3)
    saver = checkpoints.Saver(learner, kept=1)
    steps(model, learner, range(1, 2))
    weights = weights_of(model)
    saver.save(tmp_path, 1)
    steps(model, learner, range(2, 3))
    saver.check()
    assert [path.name[:17] for path in tmp_path.iterdir()] == [".step-000001.tmp-"]
    may_write.set()
    saver.wait()
    restored = load(tiny_folder, lora=False)
    assert checkpoints.load_newest(tmp_path, new_learner(restored)).step == 1
    assert largest_difference(weights, weights_of(restored)) == 0
    saver.save(tmp_path, 2)
    saver.wait()
    assert names(tmp_path) == ["step-000002"]
    saver.close()


def test_a_checkpoint_that_cannot_be_written_is_said_at_the_next_call(model: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    saver = checkpoints.Saver(new_learner(model))
    saver.save(tmp_path / "file", 1)
    with pytest.raises(StageError, match="cannot write: a file stands where a folder is needed"):
        saver.wait()
    saver.check()  # once
    saver.close()


def test_a_checkpoint_that_is_cancelled_leaves_nothing(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, saver = Event(), checkpoints.Saver(new_learner(model))

    def endless(path: Path, tensors: Any, go_on: Any) -> str:
        while True:
            has_begun.set()
            go_on()

    monkeypatch.setattr(checkpoints, "write_tensors", endless)
    saver.save(tmp_path, 1)
    assert has_begun.wait(60)
    saver.close(cancel=True)
    assert not list(tmp_path.iterdir())


def test_no_checkpoint(model: Any, tmp_path: Path) -> None:
    before = weights_of(model)
    assert checkpoints.load_newest(tmp_path / "none", new_learner(model)) == checkpoints.Restored(0)
    assert largest_difference(before, weights_of(model)) == 0


def saved_at(tiny_folder: Path, folder: Path, *numbers: int) -> Any:
    """A model with checkpoints after these steps; returns the weights after each."""
    model = load_model(tiny_folder, "float32", "cpu")
    learner, found = new_learner(model, lr=1e-3), {}
    for number in numbers:
        steps(model, learner, range(number, number + 1))
        checkpoints.save(folder, learner, number)
        found[number] = weights_of(model)
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["rank-00000-of-00001.safetensors", "COMPLETE.json"])
@pytest.mark.parametrize("damage", [cut, flip_a_bit, Path.unlink])
def test_a_broken_checkpoint_falls_back_to_the_one_before(
    tiny_folder: Path, model: Any, tmp_path: Path, name: str, damage: Any
) -> None:
    weights = saved_at(tiny_folder, tmp_path, 1, 2)
    damage(tmp_path / "step-000002" / name)
    found = checkpoints.load_newest(tmp_path, new_learner(model))
    assert found.step == 1
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("step-000002: ")
    assert name in found.skipped[0]
    assert largest_difference(weights[1], weights_of(model)) == 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_prune_keeps_the_newest(tiny_folder: Path, tmp_path: Path) -> None:
    saved_at(tiny_folder, tmp_path, 1, 2, 3)
    checkpoints.prune(tmp_path, None, newest=3)
    assert len(list(tmp_path.iterdir())) == 3
    checkpoints.prune(tmp_path, 2, newest=3)
    assert names(tmp_path) == ["step-000002", "step-000003"]


def test_prune_never_prefers_a_broken_later_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    """After a fall-back the run saves earlier steps again; the one just saved must stay."""
    saved_at(tiny_folder, tmp_path, 1, 4)
    flip_a_bit(tmp_path / "step-000004" / "rank-00000-of-00001.safetensors")
    saved_at(tiny_folder, tmp_path, 2)
    checkpoints.prune(tmp_path, 1, newest=2)
    assert names(tmp_path) == ["step-000002"]


def test_a_checkpoint_keeps_what_the_engine_held(tiny_folder: Path, model: Any, tmp_path: Path) -> None:
    held = [tmp_path / name for name in ("v000001", "v000002")]
    for folder in held:
        folder.mkdir()
        (folder / "adapter.safetensors").write_text(folder.name)
    learner = new_learner(model)
    checkpoints.save(tmp_path / "all", learner, 3, published=held, info={"version": 2})
    found = checkpoints.load_newest(tmp_path / "all", learner)
    assert (found.step, found.info) == (3, {"version": 2})
    assert [(one / "adapter.safetensors").read_text() for one in found.published] == ["v000001", "v000002"]
    (found.published[0] / "adapter.safetensors").write_bytes(b"damaged")
    assert checkpoints.load_newest(tmp_path / "all", learner).step == 0


def test_a_checkpoint_of_an_older_codctl_is_refused(model: Any, tmp_path: Path) -> None:
    with sealing(tmp_path / "step-000001", {"step": 1}) as temp:
        (temp / "optimizer.pt").write_bytes(b"pickle")
    with pytest.raises(StageError, match="older codctl"):
        checkpoints.load_newest(tmp_path, new_learner(model))


def test_a_checkpoint_of_another_model_is_refused(tiny_folder: Path, model: Any, tmp_path: Path) -> None:
    saved_at(tiny_folder, tmp_path, 1)
    adapted = load(tiny_folder, lora=True)
    with pytest.raises(StageError, match="does not fit the model: it has no weight/"):
        checkpoints.load_newest(tmp_path, new_learner(adapted))


@pytest.mark.parametrize(("strategy", "size"), [("fsdp", 2), ("fsdp", 3), ("ddp", 2)])
def test_other_numbers_of_processes_continue_to_the_bit(
    tiny_folder: Path, model: Any, tmp_path: Path, strategy: str, size: int
) -> None:
    """Saved by several, loaded by one and by several; what each saves again is the same."""
    rows = on_policy(model, random_samples(9))
    config = recipe(strategy=strategy, lr=1e-3)
    with several(config, tiny_folder, size) as group:
        group.learn(rows, 1)
        group.score(rows)  # leaves some weights gathered
        group.save(tmp_path / "several", 1, info={"version": 1})
    written = sorted(path.name for path in (tmp_path / "several" / "step-000001").glob("*.safetensors"))
    assert len(written) == (size if strategy == "fsdp" else 1)
    with open_group(config, tiny_folder, pad_id=0) as group:
        assert group.restore(tmp_path / "several") == checkpoints.Restored(1, info={"version": 1})
        group.save(tmp_path / "one", 1)
        group.publish(tmp_path / "published")
    checkpoints.export(tmp_path / "several" / "step-000001", tiny_folder, config, tmp_path / "exported")
    assert_same_model(tmp_path / "published", tmp_path / "exported")
    with several(config, tiny_folder) as group:
        assert group.restore(tmp_path / "one").step == 1
        group.save(tmp_path / "again", 1)
    first = joined(tmp_path / "several")
    assert {key.partition("/")[0] for key in first} == {"weight", "exp_avg", "exp_avg_sq", "step"}
    for folder in ("one", "again"):
        other = joined(tmp_path / folder)
        assert set(other) == set(first)
        assert all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("lora", [0, 4])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_from_a_checkpoint_is_the_published_one(
    tiny_folder: Path, model: Any, tmp_path: Path, lora: int, dtype: str
) -> None:
    config = recipe(lora=lora, lr=1e-2)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})
    with open_group(config, tiny_folder, pad_id=0) as group:
        group.learn(on_policy(model, random_samples(4)), 1)
        group.save(tmp_path, 1)
        group.publish(tmp_path / "published")
    checkpoints.export(tmp_path / "step-000001", tiny_folder, config, tmp_path / "exported")
    assert_same_model(tmp_path / "published", tmp_path / "exported")


def assert_same_model(one: Path, other: Path) -> None:
    """The same files with the same weights; an adapter lists the layers it adapts in any order."""
    assert names(one) == names(other)
    for path in one.iterdir():
        content, counterpart = path.read_bytes(), (other / path.name).read_bytes()
        if path.name == "adapter_config.json":
            content, counterpart = (bytes(sorted(text)) for text in (content, counterpart))
        assert content == counterpart, path.name


def joined(folder: Path) -> dict[str, torch.Tensor]:
    parts = [load_file(path) for path in sorted((folder / "step-000001").glob("rank-*"))]
    return {key: torch.cat([part[key] for part in parts]) if parts[0][key].dim() else parts[0][key] for key in parts[0]}


def no_tensor(path: Path) -> None:
    save_file({"other": torch.zeros(2)}, path)


def no_safetensors(path: Path) -> None:
    path.write_bytes(b"[" * 1000)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "is damaged: rank-00000-of-00001.safetensors cannot be read"),
        (no_safetensors, "is damaged: rank-00000-of-00001.safetensors cannot be read"),
        (Path.unlink, r"is damaged: it holds no rank-\*.safetensors"),
        (no_tensor, "does not fit the model: it has no weight/"),
    ],
)
def test_a_damaged_checkpoint_that_was_sealed_again_is_named(
    tiny_folder: Path, model: Any, tmp_path: Path, damage: Any, said: str
) -> None:
    saved_at(tiny_folder, tmp_path, 1)
    with sealing(tmp_path / "step-000002", {"step": 2}) as temp:
        damage(Path(shutil.copy(tmp_path / "step-000001" / "rank-00000-of-00001.safetensors", temp)))
    with pytest.raises(StageError, match=said) as caught:
        checkpoints.load_newest(tmp_path, new_learner(model))
    assert caught.value.where == str(tmp_path / "step-000002")
