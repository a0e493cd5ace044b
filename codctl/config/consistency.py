"""What keys of a recipe that are sound one by one must not say together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codctl.config.credentials import has_credentials
from codctl.config.registries import ENGINES

if TYPE_CHECKING:
    from codctl.config.schema import Config

ALL_LINEAR = "all-linear"  # PEFT's word for every linear layer but the output head
_HEADS = ("lm_head", "model.embed_tokens")
_LINEAR = (*(f"self_attn.{name}_proj" for name in "qkvo"), *(f"mlp.{name}_proj" for name in ("gate", "up", "down")))
TARGET_HINT = "model.lora.target=all-linear, or a pattern that matches full module names, such as '.*\\.(q|v)_proj'"


class MisfitError(ValueError):
    """A value that does not go with the others.

    Args:
        key: The key to change.
        reason: Why.
        hint: What to type.
    """

    def __init__(self, key: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.key, self.hint = key, hint


def check(config: Config) -> None:
    """Raise MisfitError for the first contradiction."""
    for rule in (_home, _top_p, _lora_target, _addresses, _teachers, _distillation):
        rule(config)
    # A run that may come from anywhere can be looked at; its engine is refused where it would be used.
    if ENGINES.is_trusted(config.engine.kind):
        for rule in (_engine, _overlap, _servers):
            rule(config)


def targets_head(target: str) -> bool:
    """Whether a LoRA target names the output head or the embeddings."""
    return target != ALL_LINEAR and any(re.fullmatch(target, name) for name in _HEADS)


def tied_head(target: str) -> MisfitError:
    """The reason why an adapter cannot sit on a head that is also the embeddings."""
    return MisfitError(
        "model.lora.target",
        f'"{target}" puts an adapter on the output head or the embeddings, which are one matrix in this model: '
        "the adapter would change only one of its two uses",
        TARGET_HINT,
    )


def _home(config: Config) -> None:
    path = config.model.path
    if path and path.startswith("~"):
        raise MisfitError(
            "model.path", f"the shell did not expand the ~ in {path}", f"model.path={Path(path).expanduser()}"
        )


def _top_p(config: Config) -> None:
    if config.train.enabled and config.sampling.top_p < 1:
        raise MisfitError(
            "sampling.top_p",
            f"training needs 1, got {config.sampling.top_p:g}: with less, the sampler's log-probs are normalised "
            "over the likeliest tokens only and the learner's over all tokens",
            "sampling.top_p=1, and sampling.temperature for sharper sampling",
        )


def _lora_target(config: Config) -> None:
    target, key = config.model.lora.target, "model.lora.target"
    if not config.model.lora.rank or target == ALL_LINEAR:
        return
    try:
        is_on_head = targets_head(target)
        names = [f"model.layers.{i}.{name}" for i in range(config.model.build.layers) for name in _LINEAR]
        is_known = any(re.fullmatch(target, name) for name in (*_HEADS, *names))
    except re.error as error:
        raise MisfitError(key, f'"{target}" is not a regular expression: {error}', TARGET_HINT) from error
    if config.model.path is None and not is_known:
        raise MisfitError(key, f'no module of the model is called "{target}"; PEFT compares full names', TARGET_HINT)
    if is_on_head and config.model.path is None and config.model.build.tie_embeddings:
        raise tied_head(target)


def _engine(config: Config) -> None:
    provider = ENGINES.get(config.engine.kind)
    provider.read_options(config)
    provider.check(config)


def _teachers(config: Config) -> None:
    """Every family of the training has one teacher, and there is no other."""
    teachers = config.distill.teachers
    if not teachers:
        return
    trained = [part.family for part in config.world.parts]
    taught = [family for teacher in teachers for family in teacher.families]
    key = "distill.teachers"
    for family in trained:
        if (count := taught.count(family)) != 1:
            what = f"has {count} teachers" if count else "has no teacher"
            raise MisfitError(key, f"the family {family} {what}, it needs one", f"{{families: [{family}], model: RUN}}")
    if others := [family for family in taught if family not in trained]:
        raise MisfitError(key, f"the family {others[0]} has a teacher and is not trained on", "world.mixture")


def _distillation(config: Config) -> None:
    distill = config.distill
    if not distill.teachers:
        return
    kind = config.teacher_kind
    if not config.train.enabled:
        raise MisfitError("train.enabled", "distill.teachers teach nobody while train.enabled=false")
    if config.sampling.temperature != 1:
        raise MisfitError(
            "sampling.temperature",
            f"teachers score at temperature 1, the student would sample at {config.sampling.temperature:g}",
            "sampling.temperature=1",
        )
    if distill.mix.reward and config.train.rollouts < 2:
        raise MisfitError(
            "train.rollouts", "distill.mix.reward needs groups: one rollout is its own baseline", "train.rollouts=4"
        )
    if distill.weight == "ratio" and distill.estimator != "sampled":
        raise MisfitError("distill.weight", f"ratio weighs the sampled token, which {distill.estimator} does not learn")
    if not ENGINES.is_trusted(kind):
        return
    engine = ENGINES.get(kind)
    if not engine.scores:
        raise MisfitError("distill.engine", f"{kind} gives no log-probs of given tokens", "distill.engine=transformers")
    if distill.estimator == "full" and not engine.in_process:
        raise MisfitError(
            "distill.estimator",
            f"{kind} does not give the log-probs of a whole vocabulary",
            "distill.estimator=topk, or distill.engine=transformers",
        )


def _overlap(config: Config) -> None:
    engine = config.engine
    on_gpus = config.cluster.gpus_per_node > 0 and config.model.device != "cpu"
    if engine.overlap and engine.placement != "disjoint" and on_gpus and ENGINES.get(engine.kind).takes_gpus(config):
        raise MisfitError(
            "engine.overlap",
            "engines on the learner's GPUs cannot sample while it learns",
            "engine.placement=disjoint engine.gpus=N, or engine.overlap=false",
        )


def _addresses(config: Config) -> None:
    key = "engine.servers"
    for server in config.engine.servers:
        parts = urlsplit(server)
        if has_credentials(server):
            raise MisfitError(
                key,
                "a server's URL holds a user or password, and runs keep their settings in plain files",
                "give the URL without them",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MisfitError(key, f'expected URLs, got "{server}"', "engine.servers=[http://localhost:8000]")


def _servers(config: Config) -> None:
    engine = config.engine
    if engine.servers and ENGINES.get(engine.kind).in_process:
        reason = f"servers need engine.kind=vllm, got engine.kind={engine.kind}"
        raise MisfitError("engine.servers", reason, "engine.kind=vllm")
