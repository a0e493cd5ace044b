"""Optimal Control as a family."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import MappingProxyType

from codctl.envs.base import Episode, Family, HintScore, Policy, Rendering
from codctl.envs.optimal_control import text, trinity
from codctl.envs.optimal_control.action import bare, written
from codctl.envs.optimal_control.belief import possible_after
from codctl.envs.optimal_control.claims import Claims, claims
from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.estimate import TOLERANCE, estimate
from codctl.envs.optimal_control.expression import ExpressionError
from codctl.envs.optimal_control.generator import PRESETS, sample_task, sample_world
from codctl.envs.optimal_control.laws import WORLDS
from codctl.envs.optimal_control.policies import make_policy, some_notes
from codctl.envs.optimal_control.world import ControlEpisode, courses_of, latest, read
from codctl.envs.solve_prompt import ReplyForm
from codctl.envs.trinity import pack_seed

FACTS = ("a", "b", "sign")


class OptimalControl(Family):
    """Hidden facts: what remains of the velocity in a step (a), and what a push adds to it (b, and its sign)."""

    name = "optimal_control"
    title = "Optimal Control: steer a point whose dynamics are hidden, by one expression"
    presets = tuple(PRESETS)
    variants = ("hints_only", "environment", "trinity")
    policies = ("bayes", "informed", "forget", "kick", "regulator", "random")
    reference = (
        "blind feedback first, then least squares of all tables seen and the linear-quadratic regulator; exact in tiny"
    )
    losses = MappingProxyType(
        {"missed": "ended too far from the target", "failed": "the expression failed while it ran"}
    )
    learnable = MappingProxyType(dict.fromkeys(variants, True))
    graded = True
    reward_range = (-0.1, 1.0)
    turn_penalty = 0.0
    unsolvable = 0.06  # in `hard` some targets are too far for a small b
    asks = "u (an expression), or a law"

    def in_variant(self, variant: str) -> Family:
        return {"environment": _REMEMBERING, "trinity": _TRINITY}.get(variant, self)

    def sample(
        self, rng: Random, length: int, preset: str, variant: str
    ) -> tuple[ControlWorld, tuple[ControlTask, ...]]:
        bounds = PRESETS[preset]
        return sample_world(rng, bounds), tuple(sample_task(rng, bounds) for _ in range(length))

    def begin(self, world: ControlWorld, task: ControlTask, rendering: Rendering) -> ControlEpisode:
        return ControlEpisode(world, task, rendering)

    def redraw(self, world: ControlWorld, rng: Random) -> ControlWorld:
        preset = PRESETS["tiny" if world in WORLDS else "easy"]  # the constants of all others are drawn alike
        while (other := sample_world(rng, preset)) == world:
            pass
        return other

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering, by_law=PRESETS[preset].by_law, remembers=self.remembers)

    def reply_form(self, preset: str) -> ReplyForm:
        return text.reply_form(by_law=PRESETS[preset].by_law)

    def facts(self, world: ControlWorld) -> int:
        return len(FACTS)

    def truth(self, world: ControlWorld, rendering: Rendering) -> str:
        return text.hint_from(text.truth(world, rendering), rendering)

    def partial_truth(self, world: ControlWorld, rendering: Rendering, rng: Random) -> str:
        kept = some_notes(world, rendering, rng) if world in WORLDS else _some(text.truth(world, rendering), rng)
        return text.hint_from(kept, rendering) if kept else ""

    def score_context(self, world: ControlWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
        """A constant is right within 0.1; it is knowable once least squares of the tables seen gives it so closely."""
        stated = claims(hints)
        right = _right(stated, world)
        claimed = {name if name in right else f"not {name}" for name in FACTS if getattr(stated, name) is not None}
        return HintScore.of(claimed, right, set(FACTS), _knowable(world, seen), _errors(stated, world))

    def typed(self, episode: Episode, text: str) -> str:
        assert isinstance(episode, ControlEpisode)
        try:
            return _action(bare(text), episode)
        except ExpressionError as error:
            raise ValueError(str(error)) from None

    def answered(self, episode: Episode, text: str) -> str:
        """An answer without a fence or the element, or with a bare < in it."""
        assert isinstance(episode, ControlEpisode)
        try:
            return _action(bare(text), episode)
        except ExpressionError:
            return text

    def policy(self, name: str, **options: float) -> Policy:
        self.check_policy(name)
        return make_policy(name, options)


class RememberingControl(OptimalControl):
    """The variant `environment`: each task shows the latest controller that ran, and how it ended."""

    remembers = True

    def begin_after(
        self, world: ControlWorld, task: ControlTask, rendering: Rendering, past: Sequence[Episode]
    ) -> ControlEpisode:
        return ControlEpisode(world, task, rendering, latest(past))


class TrinityControl(RememberingControl):
    """The variant `trinity`. The world of a pack depends on its length."""

    stable_length = 1

    def draw(
        self, split: str, index: int, length: int, preset: str, variant: str
    ) -> tuple[ControlWorld, Sequence[ControlTask]]:
        if variant != "trinity":
            return super().draw(split, index, length, preset, variant)
        world = trinity.world_of(pack_seed(split, index, length), PRESETS[preset])
        return world, trinity.tasks_of(split, index, length, PRESETS[preset])


_REMEMBERING, _TRINITY = RememberingControl(), TrinityControl()


def _some(facts: list[str], rng: Random) -> list[str]:
    return rng.sample(facts, rng.randint(0, len(facts)))


def _action(plain: str, episode: ControlEpisode) -> str:
    """An expression or law as the episode's rendering wants it.

    Raises:
        ExpressionError: It is neither.
    """
    if episode.task.by_law:
        return read(plain.lower().strip(" *_\"'.,;:!"), episode.task, episode.rendering)[0]
    action = written(plain) if episode.rendering == "full" else plain
    read(action, episode.task, episode.rendering)
    return action


def _right(stated: Claims, world: ControlWorld) -> set[str]:
    right = {name for name, error in _errors(stated, world).items() if error <= TOLERANCE}
    right = {name.removesuffix("_error") for name in right}
    return right | ({"sign"} if stated.sign is not None and stated.sign * world.b > 0 else set())


def _errors(stated: Claims, world: ControlWorld) -> dict[str, float]:
    """How far the constants that a hint states are from the truth."""
    pairs = (("a_error", stated.a, world.a), ("b_error", stated.b, world.b))
    return {name: abs(value - true) for name, value, true in pairs if value is not None}


def _knowable(world: ControlWorld, seen: Sequence[Episode]) -> set[str]:
    if world in WORLDS:
        possible = [{"a": other.a, "b": other.b, "sign": other.b > 0} for other in possible_after(seen)]
        return {name for name in FACTS if len({other[name] for other in possible}) == 1}
    return estimate(courses_of(seen)).known
