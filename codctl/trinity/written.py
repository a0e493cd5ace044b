"""Configurations and data sets as Trinity-RFT reads them, of a recipe of codctl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codctl.config.schema import Config, WorldRef
from codctl.envs.registry import get_family
from codctl.trinity.data import published
from codctl.trinity.worlds import KINDS, Kind

_LOSSES = {"rec": "rec", "grpo": "ppo", "gspo": "gspo"}
_STYLES = {"mean_to_go": "mean", "window": "sliding_window_mean", "discounted": "discounted"}
_ASKED = "Find the reaction term f(u) of u_t = u_xx + f(u)."
_FOLDERS = {"frozen_lake": "frozen_lake_{preset}"}


def workflow_of(part: WorldRef) -> tuple[str, Kind] | None:
    """The workflow of a part of a recipe; None where Trinity-RFT has no such worlds."""
    for workflow, kind in KINDS.items():
        if kind.family == part.family and part.preset in kind.presets:
            return workflow, kind
    return None


def data_folder(part: WorldRef) -> str:
    return _FOLDERS.get(part.family, part.family).format(preset=part.preset)


def training(config: Config, names: Mapping[str, str]) -> dict[str, Any]:
    """A configuration that trains as the recipe does.

    Args:
        config: Recipe, all of whose worlds have a workflow.
        names: `project`, `group` and `name`.
    """
    train, sampling, engine, cluster = config.train, config.sampling, config.engine, config.cluster
    loss, credit = train.loss, train.credit
    return {
        **names,
        "mode": "both",
        "checkpoint_root_dir": "${oc.env:TRINITY_CHECKPOINT_ROOT_DIR,./checkpoints}",
        "continue_from_checkpoint": False,
        "cod": _cod(config),
        "algorithm": {
            "algorithm_type": "multi_step_grpo",
            "sample_strategy": "staleness_control",
            "sample_strategy_args": {"max_staleness": engine.max_staleness},
            "repeat_times": train.rollouts,
            "optimizer": {
                "lr": train.lr,
                "lr_warmup_steps": train.lr_warmup_steps,
                "lr_scheduler_type": train.lr_schedule,
                "betas": list(train.betas),
                "weight_decay": train.weight_decay,
            },
            "advantage_fn": "cod",
            "advantage_fn_args": {
                "std_cal_level": "group" if credit.scale_by_std else "none",
                "iterative_hint_e2e_causal": credit.returns in _STYLES,
                "e2e_causal_returns_style": _STYLES.get(credit.returns, "mean"),
                **({"e2e_causal_returns_window": credit.window} if credit.returns == "window" else {}),
                **({"e2e_causal_returns_gamma": credit.discount} if credit.returns == "discounted" else {}),
                "red_weight_adaptive_temp": loss.red,
                "red_weight_adaptive_version": "bisection",
            },
            "policy_loss_fn": _LOSSES.get(loss.kind, "rec"),
            "policy_loss_fn_args": {
                "epsilon_low": loss.clip,
                "epsilon_high": loss.clip if loss.clip_high is None else loss.clip_high,
                "clip_mode": "one-side",
                "weight": "none",
            },
            "kl_loss_fn": "k2",
            "kl_loss_fn_args": {"kl_coef": loss.kl},
        },
        "model": _model(config),
        "cluster": {"node_num": cluster.nodes, "gpu_per_node": max(1, cluster.gpus_per_node)},
        "buffer": {
            "total_steps": train.steps,
            "batch_size": train.packs * config.world.length,
            "train_batch_size": train.packs
            * train.rollouts
            * 45
            // 2,  # about the calls of a rollout step, as published
            "explorer_input": {
                "tasksets": [_taskset(part, "train", sampling.temperature) for part in config.world.parts]
            },
            "trainer_input": {"experience_buffer": {"name": "buffer", "storage_type": "queue"}},
        },
        "explorer": {
            "rollout_model": {
                "enable_thinking": False,
                "engine_num": max(1, cluster.nodes * engine.gpus // engine.tensor_parallel),
                "tensor_parallel_size": engine.tensor_parallel,
                "enable_prefix_caching": False,
                "dtype": config.model.dtype,
                "seed": config.seed,
            }
        },
        "trainer": {
            "save_interval": train.checkpoint_every,
            "grad_clip": train.grad_clip,
            "use_dynamic_bsz": True,
            "max_token_len_per_gpu": train.micro_batch_tokens,
            "ulysses_sequence_parallel_size": 4 if train.split_long_rows else 1,
            "fix_actor_microbatch_loss_scale": True,
        },
        "synchronizer": {
            "sync_style": "dynamic_by_explorer",
            "sync_method": "nccl",
            "sync_interval": engine.sync_every,
        },
        "monitor": {"monitor_type": next((sink for sink in config.tracking.sinks if sink == "wandb"), "tensorboard")},
    }


def bench(config: Config, names: Mapping[str, str]) -> dict[str, Any]:
    """A configuration that evaluates every exported step, the base model first."""
    cluster = config.cluster
    return {
        **names,
        "mode": "bench",
        "checkpoint_root_dir": "${oc.env:TRINITY_CHECKPOINT_ROOT_DIR,./checkpoints}",
        "continue_from_checkpoint": True,
        "cod": _cod(config),
        "model": _model(config),
        "cluster": {"node_num": 1, "gpu_per_node": max(1, cluster.gpus_per_node)},
        "buffer": {
            "total_epochs": 1,
            "batch_size": 64,
            "explorer_input": {
                "eval_tasksets": [
                    {**_taskset(part, "test", config.sampling.temperature), "repeat_times": 1}
                    for part in config.world.parts
                ]
            },
        },
        "explorer": {
            "eval_on_startup": True,
            "bench_on_latest_checkpoint": False,
            "rollout_model": {
                "enable_thinking": False,
                "engine_num": max(1, cluster.gpus_per_node),
                "tensor_parallel_size": 1,
                "enable_prefix_caching": False,
                "dtype": config.model.dtype,
                "seed": "${oc.env:EVAL_SEED,1}",
            },
        },
        "synchronizer": {"sync_method": "checkpoint"},
        "monitor": {"monitor_type": "tensorboard"},
    }


def _cod(config: Config) -> dict[str, Any]:
    is_stable = all((part.variant or get_family(part.family).variants[0]) == "trinity" for part in config.world.parts)
    restraint = config.sampling.suggested_tokens
    return {
        "task_pack_size": config.world.length,
        "eval_task_pack_size": config.evaluation.long_length or config.world.length,
        "packing_strategy": "cod",
        "cod_workflow_args": {
            "hint_example": False,
            "activated_cod_methods": ["iterative_hint_e2e"],
            "reuse_workflow_instance": False,
            **({"max_response_tokens_restraint": restraint} if restraint else {}),
            "hint_penalty_coef": -config.context.parse_failure_reward,
            "cod_log_interval": config.tracking.trajectories_every,
            "log_dir": "${oc.env:TRINITY_LOG_DIR,./logs}",
            "exp_name": "${project}-${group}-${name}",
            "inject_pack_seed": True,
            "stable_pack_seed": is_stable,
            "pad_tasks_to_full_pack": True,
        },
    }


def _model(config: Config) -> dict[str, Any]:
    window = config.engine.max_tokens or config.model.build.max_tokens
    reply = max(config.sampling.solve_tokens, config.sampling.update_tokens)
    return {
        "model_path": "${oc.env:TRINITY_MODEL_PATH}",
        "max_prompt_tokens": max(1, window - reply),
        "max_response_tokens": reply,
        "max_model_len": window,
    }


def _taskset(part: WorldRef, split: str, temperature: float) -> dict[str, Any]:
    found = workflow_of(part)
    assert found
    workflow, kind = found
    family = get_family(part.family)
    arguments: dict[str, Any] = {"context_compression_mode": "keep_all"}
    for name, value in {**kind.fixed, **kind.presets[part.preset]}.items():
        section, _, rest = name.partition(".")
        if rest:
            arguments[section] = {rest: value}
        else:
            arguments[name] = value
    if part.family == "optimal_control":
        arguments["include_previous_control_policy"] = part.variant != "hints_only"
    if part.family == "pde_discovery":
        arguments["update_context_impl"] = "pde_update_context"
    price = family.in_variant(part.variant or family.variants[0]).turn_penalty
    if price:
        arguments |= {"length_penalty_coef": price, "len_full_penalty": 2_000_000, "len_zero_penalty": 1_000_000}
    return {
        "name": part.family,
        "storage_type": "file",
        "path": f"${{oc.env:TRINITY_DATA_DIR,./data}}/{data_folder(part)}",
        "split": split,
        "workflow_args": arguments,
        "rollout_args": {"temperature": temperature},
        "data_selector": {"selector_type": "sequential"},
        "default_workflow_type": workflow,
    }


def rows_of(part: WorldRef, split: str) -> list[dict[str, Any]] | None:
    """The published rows of a part's worlds, in its columns; None where no list of them is known here."""
    known = published(part.family, split, part.preset)
    make = {"frozen_lake": _lake_rows, "optimal_control": _control_rows, "pde_discovery": _pde_rows}
    return None if known is None else make.get(part.family, _seed_rows)(part, split, known)


def _lake_rows(part: WorldRef, split: str, known: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [
        {"seed": seed, "size": size, "p": p, "index": index, "uid": f"{seed}_{size}_{p}"}
        for index, (seed, size, p) in enumerate(known)
    ]


def _seed_rows(part: WorldRef, split: str, known: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [{"seed": seed, "index": index, "uid": f"{part.family}_{seed}"} for index, (seed,) in enumerate(known)]


def _control_rows(part: WorldRef, split: str, known: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    first = 0 if split == "train" else len(published(part.family, "train", part.preset) or ())
    horizon = 8 if part.preset == "easy" else 12
    return [
        {
            "x0": x0,
            "v0": v0,
            "x_target": target,
            "v_target": 0.0,
            "max_horizon": horizon,
            "control_penalty_coef": 0.03,
            "seed": first + index,
        }
        for index, (x0, v0, target) in enumerate(known)
    ]


def _pde_rows(part: WorldRef, split: str, known: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Of the evaluation with its packs of eight: one template after another, each with the seed of its first row."""
    from codctl.envs.pde_discovery.templates import PRESETS

    rows: list[dict[str, Any]] = [
        {"uid": f"pde_{split}_{index}", "seed": seed, "task_desc": _ASKED, "answer": ""}
        for index, (seed,) in enumerate(known)
    ]
    if split == "train":
        return rows
    templates = len(PRESETS[part.preset].templates)
    for index, row in enumerate(rows):
        pack = index // 8
        row |= {
            "eval_pack_index": pack,
            "ground_truth_template_index": pack % templates,
            "ground_truth_template_instance": pack // templates,
            "pde_environment_seed": known[pack * 8][0],
        }
    return rows


def write_data(part: WorldRef, folder: Path) -> list[Path]:
    """Write the published rows of a part's worlds as `train.parquet` and `test.parquet`."""
    import pyarrow as pa
    from pyarrow import parquet

    written = []
    for split in ("train", "test"):
        rows = rows_of(part, split)
        if rows is None:
            return []
        path = folder / data_folder(part) / f"{split}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), path)
        written.append(path)
    return written
