"""A configuration of Trinity-RFT as a recipe, with the fate of each of its keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codctl.config.names import plain
from codctl.config.problems import Places, findings, usage_error
from codctl.config.schema import Config
from codctl.envs.registry import get_family
from codctl.envs.trinity import TEST_ROWS, TRAIN_ROWS
from codctl.errors import UsageError
from codctl.trinity.configuration import Configuration
from codctl.trinity.data import DataSet, find_file, first_difference, read_data
from codctl.trinity.dialogues import WORKFLOW as ASK
from codctl.trinity.dialogues import find_dialogues
from codctl.trinity.fates import Fate, Ledger, is_on
from codctl.trinity.packs import control_preset
from codctl.trinity.rules import KNOWN, RULES
from codctl.trinity.worlds import World, find_world

_SETS = "buffer.explorer_input.tasksets"
_ARGS = "cod.cod_workflow_args"
_LOSSES = {"rec": "rec", "ppo": "grpo", "gspo": "gspo"}
_STYLES = {"mean": "mean_to_go", "sliding_window_mean": "window", "discounted": "discounted"}
_DISTILL = "on_policy_distill"
_TEACHERS = "explorer.auxiliary_models"
_SINKS = {"wandb": ("wandb",), "tensorboard": ("tensorboard",)}


@dataclass(frozen=True)
class Translation:
    """A recipe made of a configuration.

    Attributes:
        values: The keys of the recipe that are set.
        fates: What became of each key of the configuration.
    """

    values: dict[str, Any]
    fates: Sequence[Fate]


def translate(configuration: Configuration) -> Translation:
    """Make a recipe of a configuration that trains.

    Raises:
        UsageError: With all problems at once: a key of `cod` or `workflow_args` that is not known, worlds that no
            preset has, a value that cannot be.
    """
    ledger = Ledger(configuration)
    _check_mode(ledger)
    values: dict[str, Any] = {
        "name": _name(ledger),
        "description": f"From {Path(configuration.shown).name} of Trinity-RFT.",
    }
    seed = ledger.whole("explorer.rollout_model.seed", "seed", 0)
    length = ledger.whole("cod.task_pack_size", "world.length", 4) or 4
    found = find_worlds(ledger, _SETS, "train")
    steps = _steps(ledger, found)
    values |= {
        "seed": seed,
        "world": {**_world(found), "rendering": "full", "length": length},
        "model": _model(ledger),
        "context": _context(ledger),
        "sampling": _sampling(ledger),
        "warm_start": {"enabled": False},
        "train": {"steps": steps, **_train(ledger, length), **_turns(ledger, found)},
        **({"distill": _teachers(ledger, found)} if _distills(ledger) else {}),
        "engine": _engine(ledger),
        "evaluation": _evaluation(ledger),
        "tracking": _tracking(ledger),
        "runtime": {"threads": 8},
        "cluster": _cluster(ledger),
    }
    fates = ledger.close(RULES, KNOWN)
    if ledger.problems:
        raise usage_error(configuration.shown, ledger.problems)
    _check(values, configuration)
    return Translation(values, fates)


def find_worlds(ledger: Ledger, sets: str, split: str) -> list[World]:
    """The worlds of all task sets; those that cannot be had are problems in the ledger."""
    listed = ledger.get(sets, [])
    if not isinstance(listed, list) or not listed:
        ledger.refuse(sets, "expected a list of task sets")
        return []
    workflows = {str(ledger.get(f"{sets}.{number}.default_workflow_type")) for number in range(len(listed))}
    stable = _packs(ledger) if workflows != {ASK} else _packs_of_dialogues(ledger)
    found = [_taskset(ledger, f"{sets}.{number}", split, stable=stable) for number in range(len(listed))]
    return [world for world in found if world]


def _packs(ledger: Ledger) -> bool:
    """Whether the seeds of packs are stable."""
    if not ledger.yes(f"{_ARGS}.inject_pack_seed", "one world for each pack"):
        ledger.refuse(f"{_ARGS}.inject_pack_seed", "without it the tasks of a pack share nothing")
    stable = is_on(ledger.get(f"{_ARGS}.stable_pack_seed", False))
    ledger.decide(
        f"{_ARGS}.stable_pack_seed",
        "used",
        "the variant trinity: packs have the published seeds" if stable else "packs have codctl's stable seeds",
    )
    return stable


def _packs_of_dialogues(ledger: Ledger) -> bool:
    """Seeds of packs that share nothing hidden: none are stable."""
    for name in ("inject_pack_seed", "stable_pack_seed"):
        ledger.decide(f"{_ARGS}.{name}", "no counterpart", "nothing is hidden and shared in packs of dialogues")
    return False


def _taskset(ledger: Ledger, at: str, split: str, *, stable: bool) -> World | None:
    split = str(ledger.use(f"{at}.split", "which rows", split))
    if ledger.get(f"{at}.default_workflow_type") == ASK:
        return find_dialogues(ledger, at, split)
    given = ledger.get(f"{at}.path")
    path = Path(str(given))
    rows = TRAIN_ROWS if split == "train" else TEST_ROWS
    if not given or find_file(path, split) is None:
        ledger.decide(f"{at}.path", "used", f"not here: counted as the published {rows:,} rows")
        return find_world(ledger, at, stable=stable, rows=rows)
    try:
        data = read_data(path, split)
        preset = control_preset(data) if data.family == "optimal_control" else ""
        world = find_world(ledger, at, stable=stable, rows=len(data.rows), data_preset=preset)
        ledger.decide(f"{at}.path", "used", _compared(data, world))
    except UsageError as error:
        ledger.refuse(f"{at}.path", f"{error.where}: {error.message}")
        return None
    return world


def _compared(data: DataSet, world: World | None) -> str:
    """What its rows are to the worlds that are played."""
    if world is None or world.variant != "trinity":
        return f"{len(data.rows):,} rows, counted: codctl draws its own tasks"
    if data.family != world.family:
        return f"{len(data.rows):,} rows that do not look like those of {world.family}, counted"
    differs = first_difference(data, world.preset)
    if differs is None:
        return f"the {len(data.rows):,} published rows, which codctl draws again"
    return f"{len(data.rows):,} rows, counted: from row {differs} on they are not the published ones, which are played"


def _check_mode(ledger: Ledger) -> None:
    mode = ledger.use("mode", "codctl train", "both")
    if mode != "both":
        ledger.refuse("mode", f"expected both or bench, got {mode!r}")
    kind = ledger.use("algorithm.algorithm_type", "distill" if _distills(ledger) else "CoD-Train", "multi_step_grpo")
    if kind not in ("multi_step_grpo", _DISTILL):
        ledger.refuse("algorithm.algorithm_type", f"there is no counterpart of {kind!r}")
    strategy = ledger.use("cod.packing_strategy", "different tasks of one world in a pack", "cod")
    if strategy != "cod":
        ledger.refuse("cod.packing_strategy", f"training plays packs of different tasks, not {strategy!r}")


def _distills(ledger: Ledger) -> bool:
    return bool(ledger.get("algorithm.algorithm_type") == _DISTILL)


def _teachers(ledger: Ledger, found: Sequence[World]) -> dict[str, Any]:
    """One teacher for each task set, by their order."""
    is_asked = ledger.yes(f"{_ARGS}.enable_teacher_logprobs", "distill.teachers")
    listed = ledger.get(_TEACHERS, [])
    if not isinstance(listed, list) or len(listed) != len(ledger.get(_SETS, [])):
        ledger.refuse(_TEACHERS, "expected one teacher for each task set, in the same order")
        return {}
    if not is_asked:
        ledger.refuse(f"{_ARGS}.enable_teacher_logprobs", "without it no teacher is asked")
    weight = ledger.number("algorithm.advantage_fn_args.kl_coef", "distill.mix.distill", 1.0)
    models = [
        ledger.use(f"{_TEACHERS}.{number}.model_path", f"distill.teachers: of {world.family}")
        for number, world in enumerate(found)
    ]
    return {
        "teachers": [
            {"families": [world.family], "model": str(model)} for world, model in zip(found, models, strict=True)
        ],
        "estimator": "sampled",
        "gpus": len(models),
        **({"mix": {"distill": weight}} if weight != 1 else {}),
    }


def _name(ledger: Ledger) -> str:
    text = str(ledger.use("name", "name", "trinity"))
    return plain(text).strip("._-") or "trinity"


def _steps(ledger: Ledger, found: Sequence[World]) -> int:
    """Rollout steps: as many as are said, else those of the epochs."""
    batch = ledger.whole("buffer.batch_size", "train.packs: tasks in a rollout step", 32) or 32
    epochs = ledger.whole("buffer.total_epochs", "train.steps: passes over the rows", 1) or 1
    total = ledger.whole("buffer.total_steps", "train.steps")
    trained = ledger.whole("trainer.total_steps", "train.steps: optimiser steps there, rollout steps here")
    return total or trained or max(1, epochs * sum(world.rows for world in found) // batch)


def _world(found: Sequence[World]) -> dict[str, Any]:
    if len(found) == 1:
        return found[0].keys
    most = max((world.rows for world in found), default=1)
    return {"mixture": [world.keys | ({} if world.rows == most else {"weight": world.rows / most}) for world in found]}


def _model(ledger: Ledger) -> dict[str, Any]:
    dtype = ledger.use("explorer.rollout_model.dtype", "model.dtype", "bfloat16")
    return {
        "path": ledger.use("model.model_path", "model.path"),
        "dtype": dtype if dtype in ("float32", "bfloat16") else "bfloat16",
        "device": "cuda",
    }


def _context(ledger: Ledger) -> dict[str, Any]:
    penalty = ledger.number(f"{_ARGS}.hint_penalty_coef", "context.parse_failure_reward", 0.0) or 0.0
    return {"on_parse_failure": "wipe", "parse_failure_reward": -abs(penalty), "max_chars": 16_000}


def _sampling(ledger: Ledger) -> dict[str, Any]:
    reply = ledger.whole("model.max_response_tokens", "sampling.solve_tokens and update_tokens", 2048)
    temperatures = set()
    for number in range(len(ledger.get(_SETS, []))):
        temperatures.add(ledger.number(f"{_SETS}.{number}.rollout_args.temperature", "sampling.temperature", 1.0))
    if len(temperatures) > 1:
        ledger.refuse(f"{_SETS}.0.rollout_args.temperature", "all task sets need one temperature")
    return {
        "temperature": min(filter(None, temperatures), default=1.0),
        "solve_tokens": reply,
        "update_tokens": reply,
        "suggested_tokens": ledger.whole(f"{_ARGS}.max_response_tokens_restraint", "sampling.suggested_tokens"),
    }


def _train(ledger: Ledger, length: int) -> dict[str, Any]:
    batch = ledger.whole("buffer.batch_size", "train.packs: tasks in a rollout step", 32) or 32
    optimizer = "algorithm.optimizer"
    schedule = ledger.use(f"{optimizer}.lr_scheduler_type", "train.lr_schedule", "constant")
    if schedule not in ("constant", "linear", "cosine"):
        ledger.refuse(f"{optimizer}.lr_scheduler_type", f"expected constant, linear or cosine, got {schedule!r}")
    longest = (ledger.whole("trainer.ulysses_sequence_parallel_size", "train.split_long_rows", 1) or 1) > 1
    found: dict[str, Any] = {
        "packs": max(1, batch // length),
        "rollouts": ledger.whole("algorithm.repeat_times", "train.rollouts", 8),
        "lr": ledger.number(f"{optimizer}.lr", "train.lr", 1e-6),
        "lr_schedule": schedule,
        "lr_warmup_steps": ledger.whole(f"{optimizer}.lr_warmup_steps", "train.lr_warmup_steps", 0),
        "betas": ledger.use(f"{optimizer}.betas", "train.betas", [0.9, 0.999]),
        "weight_decay": ledger.number(f"{optimizer}.weight_decay", "train.weight_decay", 0.01),
        "grad_clip": ledger.number("trainer.grad_clip", "train.grad_clip", 1.0),
        "micro_batch_tokens": ledger.whole("trainer.max_token_len_per_gpu", "train.micro_batch_tokens", 16_384),
        "activation_checkpointing": True,
        "strategy": "fsdp",
        "checkpoint_every": ledger.whole("trainer.save_interval", "train.checkpoint_every", 100),
        **({} if _distills(ledger) else {"credit": _credit(ledger)}),
        "loss": _loss(ledger),
    }
    return found | ({"split_long_rows": True} if longest else {})


def _turns(ledger: Ledger, found: Sequence[World]) -> dict[str, Any]:
    """The price of turns: what each family has, unless the only one has another."""
    prices = {}
    for number, world in enumerate(found):
        key = f"{_SETS}.{number}.workflow_args.length_penalty_coef"
        own = get_family(world.family).in_variant(world.variant).turn_penalty
        price = ledger.number(key, "the family's own price of turns", own)
        if price != own:
            prices[key] = price
    if not prices:
        return {}
    if len(found) > 1 or not next(iter(prices.values())):
        for key in prices:
            ledger.decide(key, "no counterpart", "each family has its own price of turns")
        return {}
    key, price = next(iter(prices.items()))
    ledger.decide(key, "used", "train.reward.turn_penalty")
    return {"reward": {"turn_penalty": price}}


def _credit(ledger: Ledger) -> dict[str, Any]:
    at = "algorithm.advantage_fn_args"
    causal = ledger.yes(f"{at}.iterative_hint_e2e_causal", "train.credit.returns")
    style = str(ledger.use(f"{at}.e2e_causal_returns_style", "train.credit.returns", "mean"))
    window = ledger.whole(f"{at}.e2e_causal_returns_window", "train.credit.window")
    gamma = ledger.number(f"{at}.e2e_causal_returns_gamma", "train.credit.discount")
    level = ledger.use(f"{at}.std_cal_level", "train.credit.scale_by_std", "group")
    if style not in _STYLES:
        ledger.refuse(f"{at}.e2e_causal_returns_style", f"expected one of {', '.join(_STYLES)}, got {style!r}")
    if level not in ("none", "group"):
        ledger.refuse(f"{at}.std_cal_level", f"expected none or group, got {level!r}")
    returns = _STYLES.get(style, "mean_to_go") if causal else "trajectory_sum"
    found: dict[str, Any] = {"returns": returns, "scale_by_std": level == "group"}
    if returns == "window" and window:
        found["window"] = window
    if returns == "discounted" and gamma is not None:
        found["discount"] = gamma
    return found


def _loss(ledger: Ledger) -> dict[str, Any]:
    at = "algorithm.policy_loss_fn_args"
    kind = str(ledger.use("algorithm.policy_loss_fn", "train.loss.kind", "rec"))
    if kind not in _LOSSES:
        ledger.refuse("algorithm.policy_loss_fn", f"expected one of {', '.join(_LOSSES)}, got {kind!r}")
    low = ledger.number(f"{at}.epsilon_low", "train.loss.clip", 0.2)
    high = ledger.number(f"{at}.epsilon_high", "train.loss.clip_high", low)
    found = {
        "kind": _LOSSES.get(kind, "rec"),
        "clip": low,
        "red": ledger.yes("algorithm.advantage_fn_args.red_weight_adaptive_temp", "train.loss.red"),
        "mean": "token",
    }
    kl = ledger.number("algorithm.kl_loss_fn_args.kl_coef", "train.loss.kl", 0.0)
    return found | ({"clip_high": high} if high != low else {}) | ({"kl": kl} if kl else {})


def _engine(ledger: Ledger) -> dict[str, Any]:
    at = "explorer.rollout_model"
    engines = ledger.whole(f"{at}.engine_num", "engine.gpus", 1) or 1
    split = ledger.whole(f"{at}.tensor_parallel_size", "engine.tensor_parallel", 1) or 1
    stale = ledger.whole("algorithm.sample_strategy_args.max_staleness", "engine.max_staleness", 20)
    every = ledger.whole("synchronizer.sync_interval", "engine.sync_every", 1) or 1
    nodes, gpus = ledger.get("cluster.node_num", 1), ledger.get("cluster.gpu_per_node", 8)
    each = -(-engines * split // _number(nodes, 1))  # of every node, where Trinity-RFT fills one node after another
    each = min(max(1, -(-each // split)) * split, max(1, _number(gpus, 8) - 1))
    return {
        "kind": "vllm",
        "placement": "disjoint",
        "gpus": each,
        "tensor_parallel": split,
        "max_tokens": ledger.whole("model.max_model_len", "engine.max_tokens"),
        "sync_every": every,
        "max_staleness": max(stale or 0, every),
        "overlap": True,
    }


def _cluster(ledger: Ledger) -> dict[str, Any]:
    nodes = ledger.whole("cluster.node_num", "cluster.nodes", 1) or 1
    gpus = ledger.whole("cluster.gpu_per_node", "cluster.gpus_per_node", 8) or 8
    engines = _engine(ledger)["gpus"]
    teachers = len(ledger.get(_TEACHERS, [])) if _distills(ledger) else 0
    return {
        "nodes": nodes,
        "gpus_per_node": gpus,
        "processes_per_node": max(1, gpus - engines - teachers),
        "gpu": "h100-80gb",
        "cpus_per_task": 64,
        "mem": "1000G",
        "time": "24:00:00",
    }


def _evaluation(ledger: Ledger) -> dict[str, Any]:
    return {"long_length": ledger.whole("cod.eval_task_pack_size", "evaluation.long_length", 0)}


def _tracking(ledger: Ledger) -> dict[str, Any]:
    kind = str(ledger.use("monitor.monitor_type", "tracking.sinks", ""))
    every = ledger.whole(f"{_ARGS}.cod_log_interval", "tracking.trajectories_every", 10)
    project = str(ledger.use("project", "tracking.experiment", "codctl"))
    return {"experiment": project, "sinks": list(_SINKS.get(kind, ())), "trajectories_every": every}


def _number(value: Any, default: int) -> int:
    try:
        return max(1, int(value))
    except (TypeError, ValueError):
        return default


def _check(values: dict[str, Any], configuration: Configuration) -> None:
    try:
        Config.model_validate(values)
    except ValidationError as error:
        problems = findings(error, Places(f"the recipe of {configuration.shown}", {}, []))
        raise usage_error(configuration.shown, problems) from None
