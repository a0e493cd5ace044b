"""What a recipe asks of its worlds, tried on one pack of each family: a stage would find out only after the work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from codctl.cod.conversation import ByteChat, Chat
from codctl.cod.prompts import solve_messages
from codctl.cod.references import UNBOUNDED
from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config, WorldConfig
from codctl.envs.registry import check_world
from codctl.errors import CodctlError, PreflightError
from codctl.learner.demonstrations import check as check_demonstrations
from codctl.learner.demonstrations import demonstrations
from codctl.train.setup import rollout_settings


def check_worlds(config: Config) -> None:
    """Look up every family that is trained on or whose words the tokenizer learns, and try its demonstrations.

    Raises:
        UsageError: Unknown family, preset, variant or rendering.
        PreflightError: A family has no demonstrations, and a stage needs them.
    """
    rendering = config.world.rendering
    for part in config.world.parts:
        check_world(part.family, part.preset, part.variant, rendering)
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
    slot = check_world(world.family, world.preset).pack("train", 0, 1, world.preset, world.variant).slots[0]
    messages = solve_messages(slot, "", slot.begin(world.rendering).observation, world.rendering)
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
        alone = {"family": part.family, "preset": part.preset, "variant": part.variant, "mixture": ()}
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
