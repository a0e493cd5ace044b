"""Play a pack in a terminal, or watch one being played: with the rollout, and the score, of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codctl.cod.references import CEILINGS, UNBOUNDED, play_policy, references
from codctl.cod.rollout import Player
from codctl.cod.scripted import EachFamily
from codctl.cod.settings import RolloutSettings
from codctl.cod.trajectory import Trajectory, position_metrics
from codctl.config.evalspec import EvalSpec
from codctl.envs.base import Family, Pack, Rendering
from codctl.envtools.players import Ask, ModelsSeat, PersonsSeat, PolicysSeat, Say, Seat, WatchedSeat
from codctl.evaluate.subject import PolicyRunner, PolicyUnderTest, open_runner, training_defaults

_SEED = 0


@dataclass(frozen=True)
class Game:
    """How a pack went, as far as it was played. Values by position; None where there is none.

    Attributes:
        pack: Its id.
        finished: Whether the last task was played to its end.
        success: Whether the task was solved, 0 or 1.
        reward: Less the turn penalty: what a model in training gets.
        hint_correctness: Share of the knowable facts that the hints in force state.
        ceilings: Raw reward of `bayes` and `informed` on this very pack.
        hints: In force at each position.
    """

    pack: str
    finished: bool
    success: list[float | None]
    reward: list[float | None]
    hint_correctness: list[float | None]
    ceilings: dict[str, list[float]]
    hints: list[str]

    @property
    def played(self) -> int:
        """How many tasks were played to their end."""
        return sum(value is not None for value in self.success)

    @property
    def score(self) -> float | None:
        """Mean success over the tasks that were played."""
        return sum(value or 0.0 for value in self.success) / self.played if self.played else None

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "score": self.score}


def play_by_hand(pack: Pack, rendering: Rendering, *, ask: Ask, say: Say, strict: bool = False) -> Game:
    """Let a person play; what they write after each task is shown before the next, as a model's hints are.

    Args:
        pack: What is played.
        rendering: How texts are written.
        ask: Asks for a line.
        say: Shows a text.
        strict: As for a model: its very prompts, and an answer that cannot be read ends the task.
    """
    return _by_seat(pack, rendering, (ModelsSeat if strict else PersonsSeat)(ask, say), say)


def play_by_policy(pack: Pack, rendering: Rendering, name: str, *, say: Say) -> Game:
    """Watch a scripted policy.

    Raises:
        UsageError: A family in the pack has no policy of this name.
    """
    for slot in pack.slots:
        slot.family.policy(name)
    return _by_seat(pack, rendering, PolicysSeat(EachFamily(name), say), say)


def play_by_model(pack: Pack, performer: PolicyRunner, player: Player, *, say: Say) -> Game:
    """Watch a model.

    Args:
        pack: What is played.
        performer: The model, ready to play.
        player: One of its players.
        say: Shows a text.

    Raises:
        BackendError: It cannot play.
    """
    seat = WatchedSeat(player.engine, player.chat, player.settings, say)

    async def session() -> Trajectory:
        try:
            if performer.check:
                await performer.check()
            return await replace(player, engine=seat, chat=seat.chat).play(pack, 0)
        finally:
            if performer.close:
                await performer.close()

    return _game(pack, player.settings.rendering, asyncio.run(session()), say)


def _by_seat(pack: Pack, rendering: Rendering, seat: Seat, say: Say) -> Game:
    settings = RolloutSettings(
        rendering, solve_tokens=UNBOUNDED, update_tokens=UNBOUNDED, max_chars=UNBOUNDED, deadline_s=UNBOUNDED
    )
    # Not asyncio.run: its handler for Ctrl-C would wait for the person to type on.
    loop = asyncio.new_event_loop()
    try:
        trajectory = loop.run_until_complete(Player(seat, seat.chat, settings, _SEED).play(pack, 0))
    finally:
        loop.close()
    return _game(pack, rendering, trajectory, say)


def _game(pack: Pack, rendering: Rendering, trajectory: Trajectory, say: Say) -> Game:
    episodes = trajectory.of("solve")
    if not episodes[-1].failed:
        say(f"\n{episodes[-1].feedback} Reward {episodes[-1].raw_reward:g}.")
    metrics = position_metrics([trajectory])

    def by_position(measure: str) -> list[float | None]:
        return [metrics.get(f"{measure}/position_{position}") for position in range(len(pack))]

    return Game(
        pack=pack.id,
        finished=not episodes[-1].failed,
        success=by_position("success"),
        reward=by_position("reward"),
        hint_correctness=by_position("hint_correctness"),
        ceilings=_ceilings(pack, rendering),
        hints=[episode.hints for episode in episodes],
    )


def _ceilings(pack: Pack, rendering: Rendering) -> dict[str, list[float]]:
    names = references(slot.family for slot in pack.slots)
    played = {name: play_policy(name, [pack], rendering, _SEED)[0] for name in names if name in CEILINGS}
    return {name: [episode.raw_reward for episode in trajectory.of("solve")] for name, trajectory in played.items()}


@dataclass(frozen=True)
class Wanted:
    """What was typed; None where the training decides."""

    preset: str | None
    variant: str | None
    length: int | None
    rendering: Rendering | None
    options: Mapping[str, Any] | None = None


def spec_of(subject: PolicyUnderTest, family: Family, wanted: Wanted) -> EvalSpec:
    """How a model plays packs of a family."""
    home = training_defaults(subject)
    trained = next((world for world in home.worlds if world.family == family.name), None)
    preset = trained.preset if trained and trained.preset in family.presets else family.presets[0]
    values = dict(home.defaults) | {"family": family.name, "preset": preset}
    values |= {"variant": trained.variant, "options": trained.options} if trained else {"variant": None}
    return EvalSpec.model_validate(values | {key: value for key, value in vars(wanted).items() if value is not None})


def watch(subject: PolicyUnderTest, spec: EvalSpec, pack: Pack, say: Say) -> Game:
    """Load the model and let it play."""
    from codctl.train.setup import prepare_process

    prepare_process(subject.config.runtime.threads if subject.config else 2)
    with TemporaryDirectory(prefix="codctl-play-") as scratch:
        performer = open_runner(subject, Path(scratch) / "engine.log")
        return play_by_model(pack, performer, performer.player(spec), say=say)
