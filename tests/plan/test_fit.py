"""Plans that cannot fit are refused, with a hint after which they do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from codctl.config.compose import load_config
from codctl.config.schema import Config, GpuName, WarmStartConfig
from codctl.errors import PreflightError
from codctl.learner.demonstrations import demonstrations
from codctl.models.load import load_chat
from codctl.plan import hardware
from codctl.plan.fit import check_memory, check_plan
from codctl.plan.hardware import KINDS
from codctl.plan.lengths import Lengths
from codctl.plan.plan import make_plan
from codctl.train.setup import rollout_settings

RECIPES = ["qwen3-8b", "qwen3-8b-mixture", "qwen3-8b-lora", "qwen3-0.6b-lora"]
ONE_GPU = ["cluster.gpus_per_node=1", "cluster.processes_per_node=1"]


@pytest.fixture(autouse=True)
def _no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_visible", tuple)


def recipe(name: str, *overrides: str) -> Config:
    """The last override of a key holds."""
    given = {override.partition("=")[0]: override for override in overrides}
    return load_config(f"recipes/{name}.yaml", list(given.values()))


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_fit_the_gpus_that_they_name(name: str) -> None:
    check_plan(recipe(name, "cluster.gpu=rtx4090" if name == "qwen3-0.6b-lora" else "cluster.gpu=h100-80gb"))


CHECKPOINTING, ONE = "train.activation_checkpointing", "engine.tensor_parallel=1"
TOO_LARGE = [
    ("qwen3-8b", [f"{CHECKPOINTING}=false"], "most of it: activations", f"{CHECKPOINTING}=true"),
    ("qwen3-8b", ["train.micro_batch_tokens=200000"], "most of it: activations", "train.micro_batch_tokens=32768"),
    ("qwen3-8b", ["train.logprob_chunk=40000", "train.micro_batch_tokens=40000"], "logits", "train.logprob_chunk="),
    ("qwen3-8b", ["cluster.gpu=l40s"], "most of it: optimiser", "model.lora.rank=32"),
    ("qwen3-8b", ["engine.memory=0.21", ONE], "sequence", "engine.memory=0.92"),
    ("qwen3-8b", ["cluster.gpu=a10", ONE], "GPUs 4–7: to learn takes", "together: model.lora.rank=32 "),
    ("qwen3-8b", ["cluster.gpu=a10", "model.path=Qwen/Qwen3-32B"], "to learn takes", "no setting makes it fit"),
    ("qwen3-8b-lora", ["engine.memory=0.9"], "to generate takes", "engine.memory=0.7"),
    ("qwen3-8b-lora", ["model.lora.rank=0"], "most of it: optimiser", "model.lora.rank=32"),
]


@pytest.mark.parametrize(("name", "overrides", "message", "hint"), TOO_LARGE)
def test_what_cannot_fit_is_refused_and_the_hint_helps(
    name: str, overrides: list[str], message: str, hint: str
) -> None:
    with pytest.raises(PreflightError) as caught:
        check_plan(recipe(name, *overrides))
    assert message in caught.value.message
    assert hint in caught.value.hint
    for advice in _advices(caught.value.hint):
        check_plan(recipe(name, *overrides, *advice))


def _advices(hint: str) -> list[list[str]]:
    """What the hint says to type: several single changes, or all of them together."""
    typed = re.findall(r"[a-z_]+\.[a-z_.]+=[\w.]+", hint) if "no setting" not in hint else []
    return [typed] if hint.startswith("together") else [[one] for one in typed]


def test_keys_and_values_that_do_not_fit_wait() -> None:
    many = ["engine.kind=transformers", "train.rollouts=64", "cluster.gpu=h100-80gb"]
    layout = make_plan(recipe("qwen3-8b-lora", *many)).layout
    [cache] = [part for part in layout.devices[0].phases[0].parts if part.name == "KV cache"]
    assert "of which as many wait as do not fit" in cache.formula
    assert layout.devices[0].fits
    fewer = make_plan(recipe("qwen3-8b-lora", *many, "runtime.max_batch=8")).layout.devices[0]
    [smaller] = [part for part in fewer.phases[0].parts if part.name == "KV cache"]
    assert smaller.bytes < cache.bytes / 4


def test_a_cpu_elsewhere_is_not_judged() -> None:
    check_plan(recipe("qwen3-8b-lora", "model.device=cpu", "engine.kind=transformers"))


SMOLLM2 = ["model.path=HuggingFaceTB/SmolLM2-135M-Instruct", "model.lora.rank=16", "train.micro_batch_tokens=8192"]


@pytest.mark.parametrize(
    ("gib", "overrides", "message", "hint"),
    [
        (
            8,
            ["train.checkpoint_beside=false"],
            "to warm-start takes",
            r"train.micro_batch_tokens=\d+ makes it \d\.\d GiB",
        ),
        (4.3, [], "most of it: activations", r"^together: train\..* makes it [34]\.\d GiB"),
        (1, [], "GiB, there are 1.0", "no setting makes it fit this machine"),
        (8, ["warm_start.enabled=false"], "to learn takes", "train.activation_checkpointing=true makes it"),
    ],
)
def test_the_memory_of_this_machine_is_judged_with_the_change_that_makes_it_fit(
    monkeypatch: pytest.MonkeyPatch, gib: float, overrides: list[str], message: str, hint: str
) -> None:
    monkeypatch.setattr("codctl.plan.fit.machine_memory", lambda: round(gib * 2**30))
    with pytest.raises(PreflightError, match=message) as caught:
        check_memory(recipe("tiny", *SMOLLM2, *overrides))
    assert re.search(hint, caught.value.hint)
    for advice in _advices(caught.value.hint):
        check_memory(recipe("tiny", *SMOLLM2, *overrides, *advice))


def test_prompts_are_counted_with_the_models_tokenizer_where_it_is_here(tiny_folder: Path) -> None:
    def lengths(*overrides: str) -> Lengths:
        return make_plan(recipe("tiny", "train.packs=8", "train.rollouts=1", *overrides)).lengths

    counted = lengths(f"model.path={tiny_folder}")
    config = recipe("tiny", "train.packs=8", f"model.path={tiny_folder}")
    chat, settings = load_chat(tiny_folder), rollout_settings(config)
    rows = demonstrations(config.model_copy(update={"warm_start": WarmStartConfig(packs=40)}), chat, settings)
    mean = sum(len(row.ids) for row in rows) / len(rows)
    assert counted.row == pytest.approx(mean, rel=0.1)  # the warm start plays other packs
    assert "counted with the model's tokenizer" in counted.counted
    assert counted.replies_like == "as long as the demonstrations"
    assert lengths().row == pytest.approx(mean, rel=0.2)  # the same packs by the tokenizer of model.build
    assert lengths(f"model.path={tiny_folder}", "warm_start.enabled=false").replies_like.startswith("assumed")


def test_more_gpus_take_less_of_each() -> None:
    def need(processes: int) -> int:
        shape = [f"cluster.gpus_per_node={4 + processes}", f"cluster.processes_per_node={processes}"]
        return make_plan(recipe("qwen3-8b", *shape)).layout.devices[-1].need

    assert need(8) < need(4) < need(2)


def test_every_kind_that_a_recipe_may_name_is_known() -> None:
    assert set(KINDS) == set(GpuName.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seen", "speed_of"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA L40S", "l40s"),
    ],
)
def test_the_gpu_of_this_machine_is_planned_for(seen: str, speed_of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_visible", lambda: ((seen.replace("-", " "), 1000),))
    found = hardware.find_gpu(recipe("tiny").cluster)
    assert (found.memory, found.flops) == (1000 * hardware.MIB, KINDS[speed_of].flops)


def test_a_plan_can_be_written_as_json() -> None:
    import json

    found: dict[str, Any] = json.loads(json.dumps(make_plan(recipe("qwen3-8b")).as_dict()))
    assert found["model"]["parameters"] == 8_190_735_360
    assert [device["role"] for device in found["devices"]] == ["generate", "train"]
    for device in found["devices"]:
        assert device["need"] == max(sum(p["bytes"] for p in phase["parts"]) for phase in device["phases"])
