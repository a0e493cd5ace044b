"""What a recipe means for vLLM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codctl.config.schema import Config, EngineConfig, ModelConfig
from codctl.engines.vllm.served import environment
from codctl.engines.vllm.settings import settings_of
from codctl.errors import PreflightError


def config(**engine: object) -> Config:
    return Config(
        model=ModelConfig(device="cpu"),
        engine=EngineConfig.model_validate({"kind": "vllm", **engine}),
    )


def adapter(folder: Path, base: Path, rank: int) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), "r": rank}))
    return folder


def test_log_probs_are_those_of_the_sampled_distribution_and_nothing_fills_in(tiny_folder: Path) -> None:
    options = settings_of(config(), tiny_folder, on_gpus=False).options
    assert options["logprobs_mode"] == "processed_logprobs"
    assert options["generation_config"] == "vllm"
    assert options["dtype"] == "float32"
    assert options["enable_prefix_caching"] is True


@pytest.mark.parametrize(("rank", "allowed"), [(1, 1), (2, 8), (12, 16), (512, 512)])
def test_a_rank_is_rounded_up_to_one_that_vllm_has(tiny_folder: Path, tmp_path: Path, rank: int, allowed: int) -> None:
    found = settings_of(config(), adapter(tmp_path, tiny_folder, rank), on_gpus=False)
    assert found.options["max_lora_rank"] == allowed


def test_a_rank_that_is_too_large_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="up to rank 512, not 513") as caught:
        settings_of(config(), adapter(tmp_path, tiny_folder, 513), on_gpus=False)
    assert caught.value.where == "model.lora.rank"


def test_an_adapter_folder_is_served_on_its_base(tiny_folder: Path, tmp_path: Path) -> None:
    found = settings_of(config(), adapter(tmp_path, tiny_folder, 4), on_gpus=False)
    assert (found.options["model"], found.adapter) == (str(tiny_folder), tmp_path)
    assert found.options["max_lora_rank"] == 8
    elsewhere = settings_of(config(), adapter(tmp_path, Path("Qwen/Qwen3-8B"), 4), base=tiny_folder, on_gpus=False)
    assert elsewhere.options["model"] == str(tiny_folder)


def test_memory_is_handed_over_only_where_gpus_are_shared(tiny_folder: Path) -> None:
    shared = settings_of(config(), tiny_folder, on_gpus=True)
    apart = settings_of(config(placement="disjoint", gpus=1), tiny_folder, on_gpus=True)
    assert shared.sleeps
    assert shared.options["enable_sleep_mode"] is True
    assert not apart.sleeps
    assert "block_size" not in shared.options  # what only a CPU needs


def test_an_engine_sees_its_own_gpus_and_nothing_of_the_learner(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(config(), tiny_folder, on_gpus=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.setenv("WORLD_SIZE", "3")
    found = environment(settings, (2, 3))
    assert found["CUDA_VISIBLE_DEVICES"] == "6,7"
    assert "WORLD_SIZE" not in found
    with pytest.raises(PreflightError, match="GPU 4 is needed for sampling, but CUDA_VISIBLE_DEVICES shows 4"):
        environment(settings, (4,))
