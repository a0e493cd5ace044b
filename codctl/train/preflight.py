"""What can be known to be wrong before any work starts."""

from __future__ import annotations

from codctl.cod.arms import check_arms
from codctl.config.schema import Config
from codctl.engines.provider import provider_of
from codctl.errors import PreflightError
from codctl.models import hub
from codctl.models.check import check_files, check_shape
from codctl.plan.engines import context_of
from codctl.plan.fit import check_memory, check_plan
from codctl.plan.hardware import has_gpu
from codctl.plan.placement import place
from codctl.plan.sizes import find_model
from codctl.quantities import counted
from codctl.tracking import sinks
from codctl.train.world_checks import check_prompts, check_worlds


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
