"""What can be known to be wrong before any work starts; of the worlds, tried on one pack of each family."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from codctl.cod.arms import check_arms
from codctl.cod.conversation import ByteChat, Chat
from codctl.cod.prompts import solve_messages
from codctl.cod.references import UNBOUNDED
from codctl.config.evalspec import EvalSpec
from codctl.config.registries import plug_ins
from codctl.config.schema import Config, WorldConfig
from codctl.engines.provider import provider_of
from codctl.envs.registry import check_world, family_of
from codctl.errors import CodctlError, PreflightError
from codctl.learner.demonstrations import check as check_demonstrations
from codctl.learner.demonstrations import demonstrations
from codctl.models import hub
from codctl.models.check import check_files, check_shape
from codctl.plan.engines import context_of
from codctl.plan.fit import check_memory, check_plan
from codctl.plan.hardware import has_gpu
from codctl.plan.placement import place
from codctl.plan.sizes import find_model
from codctl.quantities import counted
from codctl.tracking import sinks
from codctl.train.setup import rollout_settings


def preflight(config: Config) -> None:
    """Check a recipe, the user's files and this machine: what a run on this machine needs.

    Raises:
        UsageError: Unknown family, preset or arm.
        PreflightError: A model that cannot be used, or something that this machine has not.
    """
    check_recipe(config)
    check_machine(config)


def check_recipe(config: Config) -> None:
    """Check what holds on any machine. Asks no hub and no GPU.

    A model folder is looked into, and a hub id where the cache has it.
    """
    sinks.check_names(config.tracking)
    for _, registry, name in plug_ins(config):
        registry.get(name)
    check_worlds(config)
    check_arms(config.evaluation.arms)
    if not config.model.path and not config.warm_start.enabled and config.train.enabled:
        raise PreflightError(
            "model.path is null and warm_start.enabled is false: RL cannot start from random weights",
            where="warm_start.enabled",
            hint="set warm_start.enabled=true or give model.path=FOLDER",
        )
    place(config)
    check_shape(config.model)
    chat = check_files(config.model)
    if chat or not config.model.path:
        check_prompts(config, chat, context_of(config, find_model(config)))


def preflight_elsewhere(config: Config) -> None:
    """Check what can be known here of a run on other machines: this one need not have what they have."""
    check_recipe(config)
    check_plan(config)


def check_machine(config: Config) -> None:
    """Check what this machine must have: GPUs with room, packages, and the model or the way to it."""
    model = config.model
    provider_of(config).check_machine(config)
    sinks.check_installed(config.tracking)
    for part in config.world.parts:
        asyncio.run(family_of(part).probe())
    _check_device(config)
    check_plan(_on_this_machine(config))
    if not model.path or hub.find(model.path, model.revision, weights=False):
        check_memory(config)
    if model.path and model.init == "weights" and hub.is_hub_id(model.path):
        hub.check_reachable(model.path, model.revision)


def _on_this_machine(config: Config) -> Config:
    """A recipe names the GPU that its plan is made for; where there is one, that one counts."""
    if not has_gpu():
        return config
    return config.model_copy(update={"cluster": config.cluster.model_copy(update={"gpu": None})})


def _check_device(config: Config) -> None:
    gpus, model = config.cluster.gpus_per_node, config.model
    if model.device != "cpu" and gpus:
        import torch

        found = torch.cuda.device_count()
        if gpus > found:
            raise PreflightError(
                f"the recipe asks for {counted(gpus, 'GPU')}, torch sees {found} here",
                where="cluster.gpus_per_node",
                hint="--slurm runs it on a cluster; cluster.gpus_per_node sets how many GPUs to use",
            )
    if model.device == "cuda" or model.attention == "flash_attention_2":
        from codctl.models.attention import attention_of
        from codctl.models.load import pick_device

        attention_of(model.attention, pick_device(model.device))


def check_worlds(config: Config) -> None:
    """Look up every family that is trained on or whose words the tokenizer learns, and try its demonstrations.

    Raises:
        UsageError: Unknown family, preset, variant or rendering.
        PreflightError: A family has no demonstrations, and a stage needs them.
    """
    rendering = config.world.rendering
    for part in config.world.parts:
        check_world(part.family, part.preset, part.variant, rendering, part.options)
    for known in config.model.build.worlds:
        check_world(known.family, known.preset, None, rendering)
    warm = config.warm_start
    if warm.enabled and warm.demonstrations:
        check_demonstrations(config)
    if warm.enabled and (not warm.demonstrations or warm.scripted_share):
        _try_demonstrations(config, list(_alone(config.world)), "warm_start.enabled")
    if config.model.path is None:
        worlds = [config.world.model_copy(update={**known.model_dump(), "mixture": (), "variant": None})
                  for known in config.model.build.worlds]  # fmt: skip
        _try_demonstrations(config, worlds or list(_alone(config.world)), "model.build")


def check_prompts(config: Config, chat: Chat | None, context: int) -> None:
    """Refuse a model that cannot read even a prompt without hints: every episode would fail.

    Args:
        config: Recipe.
        chat: Of the model; None where it is not known, then each word counts as one token.
        context: Longest sequence that model and engine take.

    Raises:
        PreflightError: A prompt is longer.
    """
    where = "model.path" if config.model.path else "model.build.max_tokens"
    for world in _alone(config.world):
        check_prompt(world, chat, context, where, "world.")


def check_prompt(world: WorldConfig | EvalSpec, chat: Chat | None, context: int, where: str, prefix: str = "") -> None:
    """As `check_prompts`, for one world of a recipe or part of a suite.

    Args:
        world: Family, preset, variant and rendering.
        chat: Of the model.
        context: Longest sequence.
        where: Key or folder of the model.
        prefix: Before the keys of the world.

    Raises:
        PreflightError: Its first prompt is longer.
    """
    slot = family_of(world).pack("train", 0, 1, world.preset, world.variant).slots[0]
    messages = solve_messages(slot, "", slot.begin(world.rendering).first, world.rendering)
    tokens = len(chat.open(messages)) if chat else sum(len(one["content"].split()) for one in messages)
    if tokens >= context:
        other = "rendering=compact" if world.rendering == "full" else "preset= with easier worlds"
        raise PreflightError(
            f"a prompt of {world.family} {world.preset} has {tokens} tokens or more without any hints, "
            f"the model reads {context}",
            where=where,
            hint=f"a model with a longer context, or {prefix}{other}",
        )


def _alone(world: WorldConfig) -> Iterator[WorldConfig]:
    """Each family of a mixture as a world of its own."""
    for part in world.parts:
        alone = {"mixture": (), "options": {}, **part.keys}
        yield world.model_copy(update=alone)


def _try_demonstrations(config: Config, worlds: list[WorldConfig], where: str) -> None:
    settings = replace(rollout_settings(config), solve_tokens=UNBOUNDED, update_tokens=UNBOUNDED)
    warm = config.warm_start.model_copy(update={"packs": 1})
    for world in worlds:
        try:
            demonstrations(config.model_copy(update={"world": world, "warm_start": warm}), ByteChat(), settings)
        except Exception as error:  # the family of a plug-in may raise anything
            reason = error.message if isinstance(error, CodctlError) else f"{type(error).__name__}: {error}"
            raise PreflightError(
                f"family {world.family!r} has no demonstrations to learn from: {' '.join(reason.split())[:200]}",
                where=where,
                hint="model.path=FOLDER with warm_start.enabled=false, or warm_start.demonstrations=FOLDER "
                f"(codctl env demonstrate {world.family}), or write a demonstrator (codctl docs adding-a-world)",
            ) from error
