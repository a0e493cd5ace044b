"""The recipes of the published experiments say what was published."""

from __future__ import annotations

import re

import pytest

from codctl.config.compose import load_config
from codctl.config.recipes import copy_recipe, find_recipe
from codctl.config.schema import Config
from codctl.config.search import whole_groups
from codctl.models.architectures import PUBLISHED
from codctl.plan.fit import check_plan
from codctl.plan.placement import place
from codctl.sweeps.plan import value_at
from codctl.sweeps.study_file import shipped_studies

# arXiv 2606.20002; examples/research_cod/exp_plan_final/train/frozen_lake_obscure.yaml of agentscope-ai/Trinity-RFT.
SETTING_A = {
    "world.family": "frozen_lake",
    "world.preset": "easy",
    "world.variant": "paper",
    "world.length": 4,
    "model.path": "Qwen/Qwen3-8B",
    "model.lora.rank": 0,
    "context.on_parse_failure": "wipe",
    "context.parse_failure_reward": -0.1,
    "sampling.temperature": 1.0,
    "sampling.top_p": 1.0,
    "sampling.solve_tokens": 2000,
    "sampling.update_tokens": 2000,
    "sampling.suggested_tokens": 1000,
    "warm_start.enabled": False,
    "train.packs": 8,
    "train.rollouts": 8,
    "train.lr": 1e-6,
    "train.betas": [0.9, 0.999],
    "train.weight_decay": 0.01,
    "train.lr_schedule": "constant",
    "train.grad_clip": 1.0,
    "train.reward.turn_penalty": 0.1,
    "train.credit.returns": "mean_to_go",
    "train.credit.scale_by_std": False,
    "train.loss.kind": "rec",
    "train.loss.clip": 0.2,
    "train.loss.red": True,
    "train.loss.mean": "token",
    "engine.placement": "disjoint",
    "engine.max_tokens": 12_000,
    "engine.sync_every": 4,
    "engine.max_staleness": 20,
    "evaluation.long_length": 8,
}
TASKS = 50_000
# "default", a table of the paper, or a key of the released configurations.
SOURCES = {
    "default", "Table 1", "Table 2", "agent_max_steps", "batch_size", "clip_mode", "default_workflow_type", "dtype",
    "engine_num", "env_max_steps", "epsilon_low", "eval_task_pack_size", "grad_clip", "hint_penalty_coef",
    "length_penalty_coef", "lr", "max_model_len", "max_response_tokens", "max_response_tokens_restraint",
    "max_staleness", "max_token_len_per_gpu", "mode", "model_path", "name", "policy_loss_fn",
    "red_weight_adaptive_temp", "repeat_times", "std_cal_level", "sync_interval", "task_pack_size", "tasksets",
    "temperature", "total_epochs",
}  # fmt: skip
OF_QWEN3 = ["qwen3-8b", "qwen3-8b-mixture", "qwen3-8b-lora", "qwen3-0.6b-lora"]
OWN_TO_LORA = {
    "model.path", "model.lora.rank", "train.lr", "engine.placement", "engine.sync_every", "engine.max_staleness",
}  # fmt: skip


def values(config: Config) -> dict[str, object]:
    return {key: value_at(config, key) for key in SETTING_A}


def tasks(config: Config) -> int:
    return config.train.steps * config.train.packs * config.world.length


def test_setting_a_is_the_published_one() -> None:
    config = load_config("qwen3-8b")
    assert values(config) == SETTING_A
    assert config.train.steps == TASKS // 32  # one epoch of whole steps
    assert config.train.packs * config.train.rollouts == 64


@pytest.mark.parametrize("name", ["qwen3-8b", "qwen3-8b-mixture"])
def test_every_published_value_names_its_table_or_its_key(name: str) -> None:
    text = find_recipe(name).path.read_text()
    assert "exp_plan_final/train/" in text
    marked = [line.partition("[P] ")[2] for line in text.partition("\nname:")[2].splitlines() if "[P]" in line]
    assert all(re.match(r"\w+( \d)?", source)[0] in SOURCES for source in marked)  # type: ignore[index]


def test_every_published_number_has_its_source_in_the_recipe() -> None:
    lines = find_recipe("qwen3-8b").path.read_text().splitlines()
    unmarked = {"rank", "on_parse_failure", "parse_failure_reward"}  # a default, and the group `context: paper`
    for key in SETTING_A:
        name = key.rpartition(".")[2]
        found = [line for line in lines if line.strip(" {").startswith(f"{name}:") or f"{{{name}:" in line]
        assert any("[P]" in line for line in found) or name in unmarked, key


def test_setting_b_differs_in_its_worlds_alone() -> None:
    a, b = load_config("qwen3-8b"), load_config("qwen3-8b-mixture")
    assert [(part.family, part.preset, part.variant) for part in b.world.parts] == [
        ("frozen_lake", "easy", "paper"),
        ("alchemy", "easy", "paper"),
    ]
    assert b.train.steps == 2 * TASKS // 32
    same = {"name": a.name, "description": a.description, "world": a.world}
    same["train"] = b.train.model_copy(update={"steps": a.train.steps})
    assert b.model_copy(update=same) == a.model_copy(update={"train": same["train"]})


@pytest.mark.parametrize("name", ["qwen3-8b-lora", "qwen3-0.6b-lora"])
def test_what_one_gpu_trains_differs_where_it_must(name: str) -> None:
    found = values(load_config(name))
    assert {key for key, value in found.items() if value != SETTING_A[key]} <= OWN_TO_LORA
    assert found["model.lora.rank"] == 32


@pytest.mark.parametrize("name", OF_QWEN3)
def test_a_recipe_of_a_hub_model_pins_its_commit_and_has_a_plan_that_fits(name: str) -> None:
    config = load_config(name)
    assert config.model.revision == PUBLISHED[str(config.model.path)].revision
    header = find_recipe(name).path.read_text().partition("\nname:")[0]
    assert f"hf download {config.model.path} --revision {config.model.revision}" in header
    for word in ("# Needs:", "# Reproduces:", "# Not measured:"):
        assert word in header
    place(config)
    check_plan(config)


# exp_plan_final/train of Trinity-RFT: grid_navigation.yaml, grid_navigation_27b.yaml, optimal_control_improve.yaml,
# pde_discovery_cod_600steps_hard.yaml.
GRID = {
    "world.family": "grid_navigation",
    "world.variant": "trinity",
    "world.length": 4,
    "train.packs": 8,
    "train.rollouts": 8,
    "train.steps": TASKS // 32,
    "train.lr": 1e-6,
    "train.lr_warmup_steps": 10,
    "train.lr_schedule": "constant",
    "engine.sync_every": 4,
    "engine.max_staleness": 20,
    "evaluation.long_length": 8,
}
GRIDS = {
    "qwen3-8b-grid": {
        "world.preset": "train-8b",
        "model.path": "Qwen/Qwen3-8B",
        "sampling.solve_tokens": 2000,
        "sampling.update_tokens": 2000,
        "sampling.suggested_tokens": 1000,
        "engine.max_tokens": 12_000,
        "train.checkpoint_every": 100,
    },
    "qwen3.6-27b-grid": {
        "world.preset": "train",
        "model.path": "Qwen/Qwen3.6-27B",
        "sampling.solve_tokens": 3999,
        "sampling.update_tokens": 3999,
        "sampling.suggested_tokens": 4000,
        "engine.max_tokens": 26_000,
        "train.checkpoint_every": 20,
        "cluster.nodes": 3,
        "cluster.gpus_per_node": 8,
    },
    "qwen3.6-27b-control": {
        "world.family": "optimal_control",
        "world.preset": "hard",
        "model.path": "Qwen/Qwen3.6-27B",
        "sampling.solve_tokens": 4000,
        "engine.max_tokens": 40_000,
        "train.lr_warmup_steps": 0,
        "train.checkpoint_every": 100,
    },
    "qwen3.6-27b-pde": {
        "world.family": "pde_discovery",
        "world.preset": "train",
        "model.path": "Qwen/Qwen3.6-27B",
        "sampling.solve_tokens": 4000,
        "engine.max_tokens": 22_001,
        "train.steps": 600,
        "train.lr_warmup_steps": 0,
        "train.checkpoint_every": 25,
    },
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_published_trainings_of_other_worlds_are_plans(name: str) -> None:
    config = load_config(name)
    wanted = GRID | GRIDS[name]
    assert {key: value_at(config, key) for key in wanted} == wanted
    check_plan(config)
    text = find_recipe(name).path.read_text()
    for word in ("# Needs:", "# Reproduces:", "# Not measured:"):
        assert word in text
    marked = [line.partition("[P] ")[2] for line in text.partition("\nname:")[2].splitlines() if "[P]" in line]
    assert marked
    assert all(re.match(r"the README|[a-z_]+\b", source) for source in marked)


def test_the_shape_of_a_hybrid_model_is_that_of_its_weights() -> None:
    shape = PUBLISHED["Qwen/Qwen3.6-27B"].architecture
    assert shape.parameters == pytest.approx(26.9e9, rel=0.002)  # 27.8e9 with vision and token prediction
    assert shape.kv_layers == 16


def test_a_copied_recipe_still_finds_what_it_builds_on(tmp_path) -> None:
    written = copy_recipe("qwen3-0.6b-lora", tmp_path)
    assert load_config(str(written)) == load_config("qwen3-0.6b-lora")


def test_a_size_is_a_model_with_its_commit() -> None:
    for path, published in PUBLISHED.items():
        if published.revision is None:
            continue
        size = path.partition("/")[2].lower()
        config = load_config("qwen3-8b-lora", [f"size={size}"])
        assert (config.model.path, config.model.revision) == (path, published.revision)
        assert config.name == size
        assert config.model.lora.rank == 32
    assert whole_groups() == {"size": {"name", "model.path", "model.revision"}}


def test_the_study_of_that_size_trains_by_the_recipes() -> None:
    from codctl.sweeps.ask import ask

    assert "generalization" in shipped_studies()
    plan = ask(None, ["size=qwen3-8b"])
    found = {trial.labels["train"]: trial.config for trial in plan.trials if trial.labels["ablation"] == "cod"}
    for label, recipe in (("frozen_lake", "qwen3-8b"), ("both", "qwen3-8b-mixture")):
        own = {part: getattr(found[label], part) for part in ("world", "model", "train", "engine", "cluster")}
        assert own == {part: getattr(load_config(recipe), part) for part in own}
