"""What becomes of the keys of a configuration that no number of a recipe is made of."""

from __future__ import annotations

from codctl.trinity import worlds
from codctl.trinity.fates import Rule, is_on

_OWN = "codctl has its own"
_LAYOUT = "how Trinity-RFT lays itself out on its cluster"
_BY_DESIGN = "codctl always does so"


def _equal(*wanted: object) -> Rule:
    return Rule("used", _BY_DESIGN, lambda value: value in wanted or str(value) in map(str, wanted))


_COD_ARGS = {
    "activated_cod_methods": [
        Rule("used", "hints are updated after each task", lambda value: value == ["iterative_hint_e2e"]),
        Rule("no counterpart", "there is one way to update hints: iterative_hint_e2e"),
    ],
    "hint_example": [
        Rule("used", "the update prompt has no example of its own here either", lambda value: not is_on(value)),
        Rule("no counterpart", "the update prompt has no example of its own"),
    ],
    "reuse_workflow_instance": [Rule("cluster only", "every episode is a new object here")],
    "log_dir": [Rule("no counterpart", "what is played is in the run's folder")],
    "exp_name": [Rule("no counterpart", "what is played is in the run's folder")],
    "pad_tasks_to_full_pack": [Rule("used", "packs are always full", is_on)],
    "update_context_impl": worlds.RULES["update_context_impl"],
    "context_compression_mode": worlds.RULES["context_compression_mode"],
    "task_reward_decay": [_equal(1, 1.0), Rule("no counterpart", "all tasks count alike, or by train.credit.returns")],
}
_COD_ARGS["pad_tasks_to_full_pack"].append(Rule("no counterpart", "packs are always full"))

_TASKSET = {
    "storage_type": [Rule("cluster only", "worlds are drawn, not read")],
    "path": [Rule("used", "the rows are drawn again: the variant trinity has the published ones")],
    "format.*": [Rule("no counterpart", "worlds are drawn, not read")],
    "rollout_args.*": [Rule("no counterpart", "codctl does not know this key")],
    "data_selector.selector_type": [
        Rule("used", "rows in the order of the file", lambda value: value == "sequential"),
        Rule("no counterpart", "rows come in the order of the file"),
    ],
    "data_selector.*": [Rule("no counterpart", "rows come in the order of the file")],
    **{f"workflow_args.{name}": rules for name, rules in worlds.RULES.items()},
}

RULES: dict[str, list[Rule]] = {
    **{f"cod.cod_workflow_args.{name}": rules for name, rules in _COD_ARGS.items()},
    **{f"buffer.explorer_input.tasksets.[].{name}": rules for name, rules in _TASKSET.items()},
    **{f"buffer.explorer_input.eval_tasksets.[].{name}": rules for name, rules in _TASKSET.items()},
    "group": [Rule("no counterpart", "runs have a name, and no group")],
    "ray_namespace": [Rule("cluster only", _LAYOUT)],
    "checkpoint_root_dir": [Rule("no counterpart", "--runs-dir, or CODCTL_RUNS_DIR")],
    "continue_from_checkpoint": [Rule("no counterpart", "the same command always continues; --fresh starts anew")],
    "algorithm.advantage_fn": [
        Rule("used", "credit by position in the pack", lambda value: value == "cod"),
        Rule("no counterpart", "codctl gives credit by position in the pack: train.credit"),
    ],
    "algorithm.sample_strategy": [
        Rule("used", "rows that are too old are dropped", lambda value: value == "staleness_control"),
        Rule("no counterpart", "rows of a step are learned from in that step"),
    ],
    "algorithm.advantage_fn_args.red_weight_adaptive_version": [
        Rule("used", "RED weights by bisection", lambda value: value == "bisection"),
        Rule("no counterpart", "RED weights are found by bisection"),
    ],
    "algorithm.advantage_fn_args.e2e_causal_baseline": [_equal("group-mean")],
    "algorithm.advantage_fn_args.epsilon": [Rule("no counterpart", _OWN)],
    "algorithm.policy_loss_fn_args.clip_mode": [
        Rule("used", "the loss rec, bounded on one side", lambda value: value == "one-side"),
        Rule("used", "no bound: distillation has none", lambda value: value == "none"),
        Rule("no counterpart", "the loss rec is bounded on one side"),
    ],
    "algorithm.policy_loss_fn_args.weight": [
        Rule("used", "the loss rec has no importance weight", lambda value: value == "none"),
        Rule("no counterpart", "the loss rec has no importance weight"),
    ],
    "algorithm.policy_loss_fn_args.fix_opd_advantage": [
        Rule("used", "the teacher is always compared with the current policy", is_on),
        Rule("no counterpart", "the teacher is always compared with the current policy"),
    ],
    "algorithm.kl_loss_fn": [
        Rule("used", "the KL estimate of train.loss.kl", lambda value: value in ("k2", "k3", "none")),
    ],
    "algorithm.entropy_loss_fn": [Rule("no counterpart", "entropy is measured, and never part of the loss")],
    "algorithm.entropy_loss_fn_args.entropy_coef": [
        Rule("used", "no entropy in the loss", lambda value: float(value or 0) == 0.0),
        Rule("no counterpart", "entropy is never part of the loss"),
    ],
    "model.max_prompt_tokens": [Rule("no counterpart", "prompt and reply share engine.max_tokens")],
    "model.enable_thinking": [
        Rule("used", "thinking is off", lambda value: not is_on(value)),
        Rule("no counterpart", "thinking is off in all prompts"),
    ],
    "model.external_model.*": [Rule("no counterpart", "codctl eval --endpoint URL --model-name NAME")],
    "cluster.*": [Rule("cluster only", _LAYOUT)],
    "buffer.train_batch_size": [
        Rule("no counterpart", "an optimiser step takes all model calls of a rollout step (train.optimizer_steps)")
    ],
    "buffer.trainer_input.*": [Rule("no counterpart", "a step learns from what it has played, without a queue")],
    "explorer.rollout_model.enable_thinking": [
        Rule("used", "thinking is off", lambda value: not is_on(value)),
        Rule("no counterpart", "thinking is off in all prompts"),
    ],
    "explorer.rollout_model.engine_type": [Rule("used", "engine.kind", lambda value: str(value).startswith("vllm"))],
    "explorer.auxiliary_models.[].name": [Rule("no counterpart", "a teacher is known by its families")],
    "explorer.eval_on_startup": [Rule("no counterpart", "codctl eval --step start")],
    "explorer.bench_on_latest_checkpoint": [Rule("no counterpart", "codctl eval --every-checkpoint")],
    "explorer.*": [Rule("cluster only", _LAYOUT)],
    "trainer.enable_preview": [Rule("cluster only", _LAYOUT)],
    "trainer.use_dynamic_bsz": [_equal(True, "true"), Rule("no counterpart", "micro-batches go by tokens")],
    "trainer.use_remove_padding": [Rule("used", "model.attention=auto: on GPUs without padding", is_on)],
    "trainer.fix_actor_microbatch_loss_scale": [
        Rule("used", "the mean is over all tokens of a step", is_on),
        Rule("no counterpart", "the mean is always over all tokens of a step"),
    ],
    "trainer.trainer_config.*": [Rule("cluster only", "settings of veRL")],
    "trainer.offload_policy": [Rule("cluster only", _LAYOUT)],
    "synchronizer.*": [Rule("cluster only", _LAYOUT)],
    "monitor.*": [Rule("no counterpart", "tracking.options")],
}

# Asked for by name, so that a misspelt one is told from its neighbour.
KNOWN = {
    *(f"cod.{name}" for name in ("task_pack_size", "eval_task_pack_size", "packing_strategy")),
    *(
        f"cod.cod_workflow_args.{name}"
        for name in (
            "max_response_tokens_restraint", "hint_penalty_coef", "cod_log_interval", "inject_pack_seed",
            "stable_pack_seed", "enable_teacher_logprobs",
        )
    ),
    *(
        f"buffer.explorer_input.{sets}.[].workflow_args.{name}"
        for sets in ("tasksets", "eval_tasksets")
        for name in {"length_penalty_coef"}.union(*(kind.arguments for kind in worlds.KINDS.values()))
    ),
}  # fmt: skip
