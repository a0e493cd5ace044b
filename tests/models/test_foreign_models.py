"""Damaged model folders are refused with one message each; sound ones of many kinds load as they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from codctl.cli.main import run
from codctl.cod import chat_template
from codctl.config.schema import Config
from codctl.errors import PreflightError
from codctl.evaluate.subject import PolicyUnderTest, open_runner
from codctl.models.files import read_weights
from codctl.models.load import base_folder, check_model, load_model
from codctl.train.preflight import check_recipe
from codctl.train.setup import load_speaker
from tests.models.damaged_models import (
    ADAPTER,
    ADAPTERS,
    CONFIG,
    EVAL,
    ON_MODELS,
    Q_PROJ,
    WEIGHTS,
    Damage,
    change,
    make_adapter,
    replaced,
    shard,
    spoil,
    tensors,
    tie,
    without,
)

IDS = torch.tensor([[3, 40, 41, 42, 50]])
_EVAL_ONLY = "codctl.json", "NaN", "infinite", "bitsandbytes", "quantization"


@pytest.fixture(scope="module")
def adapter_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tiny_folder, tmp_path_factory.mktemp("adapters") / "adapter")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A sound model folder to spoil."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


@pytest.fixture
def adapter(folder: Path, adapter_folder: Path, tmp_path: Path) -> Path:
    """A sound adapter on top of it."""
    path = Path(shutil.copytree(adapter_folder, tmp_path / "adapter"))
    change(ADAPTER, base_model_name_or_path=str(folder))(path)
    return path


def refused(path: Path, said: str, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`codctl eval` names what is wrong in one message, with the exit code of a preflight; `train` says the same."""
    code = run([*EVAL, str(path)])
    err = capsys.readouterr().err
    assert code == 3, err
    assert said in err
    assert err.count("error: ") == 1
    assert "Traceback" not in err
    if not any(part in case for part in _EVAL_ONLY):
        refused_before_training(path, said)


@pytest.mark.parametrize(("damage", "said"), [pytest.param(*case[1:], id=case[0]) for case in ON_MODELS])
def test_a_damaged_model(
    folder: Path,
    damage: Damage,
    said: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    if "never ends" in request.node.name:
        monkeypatch.setattr(chat_template, "LONGEST_S", 1.0)
    damage(folder)
    refused(folder, said, request.node.name, capsys)


@pytest.mark.parametrize(("damage", "said"), [pytest.param(*case[1:], id=case[0]) for case in ADAPTERS])
def test_a_damaged_adapter(
    adapter: Path,
    damage: Damage,
    said: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(adapter.parent)
    damage(adapter)
    refused(adapter, said, request.node.name, capsys)


def refused_before_training(path: Path, said: str) -> None:
    """`codctl train` says the same before it starts."""
    world = {"preset": "tiny", "rendering": "compact"}
    with pytest.raises(PreflightError) as caught:
        check_recipe(Config.model_validate({"world": world, "model": {"path": str(path), "lora": {"rank": 4}}}))
    assert said in f"{caught.value.where}: {caught.value.message}"


def test_there_are_enough_of_them() -> None:
    names = [name for name, *_ in (*ON_MODELS, *ADAPTERS)]
    assert len(names) == len(set(names)) >= 100


Make = Callable[[Path], Any]


def like(kind: str, **values: Any) -> Make:
    """Replace the model by a small one of another architecture."""

    def make(folder: Path) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        sizes = {
            "vocab_size": 374,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 512,
            "pad_token_id": 0,
            "bos_token_id": None,
            "eos_token_id": 1,
        }
        (folder / WEIGHTS).unlink()
        AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**sizes, **values})).save_pretrained(folder)

    return make


def in_type(dtype: torch.dtype) -> Damage:
    return tensors(lambda found: found.update({name: value.to(dtype) for name, value in found.items()}))


def tied_twice(folder: Path) -> None:
    """Both uses of one matrix are stored."""
    change(CONFIG, tie_word_embeddings=True)(folder)
    tensors(lambda found: found.update({"lm_head.weight": found["model.embed_tokens.weight"].clone()}))(folder)


def as_in_the_cache(folder: Path) -> None:
    """Files as links, as the cache of the hub has them."""
    blobs = folder.with_name("blobs")
    blobs.mkdir()
    for path in list(folder.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(f"../blobs/{path.name}")


SOUND: dict[str, Make] = {
    "untied": lambda folder: None,
    "tied": tie,
    "tied, stored twice": tied_twice,
    "two shards": shard,
    "tied, two shards": lambda folder: (tie(folder), shard(folder)),
    "links": as_in_the_cache,
    "bfloat16": in_type(torch.bfloat16),
    "float16": in_type(torch.float16),
    "llama": like("llama"),
    "llama, tied": like("llama", tie_word_embeddings=True),
    "mistral": like("mistral"),
    "qwen2": like("qwen2", vocab_size=384),
    "gemma": like("gemma"),
    "gemma2": like("gemma2"),
    "phi3": like("phi3"),
    "olmo2": like("olmo2"),
    "granite": like("granite"),
    "mixture of experts": like(
        "qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1
    ),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in SOUND.items()])
@torch.no_grad()
def test_a_sound_model_loads_as_it_is(folder: Path, make: Make) -> None:
    from transformers import AutoModelForCausalLM

    make(folder)
    check_model(folder)
    loaded = load_speaker(folder, "float32", "cpu").model
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.testing.assert_close(loaded(input_ids=IDS).logits, plain(input_ids=IDS).logits)


@torch.no_grad()
@pytest.mark.parametrize("make", [lambda folder: None, tie, shard], ids=["untied", "tied", "two shards"])
def test_a_sound_adapter_loads_on_its_base(adapter: Path, make: Make) -> None:
    make(base_of(adapter))
    check_model(adapter)
    loaded = load_speaker(adapter, "float32", "cpu").model
    plain = load_model(base_of(adapter), "float32", "cpu")
    torch.testing.assert_close(loaded(input_ids=IDS).logits, plain(input_ids=IDS).logits)  # new adapters change nothing


def base_of(adapter: Path) -> Path:
    return base_folder(adapter)


def test_an_adapter_on_embeddings_and_head(folder: Path, tmp_path: Path) -> None:
    """PEFT also stores the matrices that such an adapter sits on."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj", "embed_tokens", "lm_head"], task_type="CAUSAL_LM")
    path = make_adapter(folder, tmp_path / "adapter")
    get_peft_model(load_model(folder, "float32", "cpu"), config).save_pretrained(path, save_embedding_layers=True)
    check_model(path)


def test_vllm_gets_no_damaged_model(folder: Path, tmp_path: Path) -> None:
    """What it would load itself is looked at before it starts."""
    config = Config.model_validate({"engine": {"kind": "vllm"}})
    replaced(Q_PROJ, spoil(7, float("nan")))(folder)
    with pytest.raises(PreflightError, match="7 of 2,048 numbers"):
        open_runner(PolicyUnderTest("model", "m", folder, resources=config), tmp_path / "engine.log")
    without(Q_PROJ)(folder)
    with pytest.raises(PreflightError, match="lack 1 tensor"):
        open_runner(PolicyUnderTest("model", "m", folder, resources=config), tmp_path / "engine.log")


def test_only_headers_are_read(folder: Path) -> None:
    """A large model is checked as quickly as a small one: what its tensors hold does not matter."""
    size = (folder / WEIGHTS).stat().st_size
    header = 8 + int.from_bytes((folder / WEIGHTS).read_bytes()[:8], "little")
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(header)
        file.truncate(size)  # a hole: no byte of it was ever written
    check_model(folder)
    assert len(read_weights(folder)) == 25


def test_the_limits_of_a_template_end_with_it(folder: Path) -> None:
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)
    load_speaker(folder, "float32", "cpu")
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
