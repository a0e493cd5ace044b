"""Learn2Ask as a family: the variant `protocol`, which needs no data and no judge. `paper` is in its own file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Any

from codctl.envs.base import Episode, Family, HintScore, Policy, Rendering, undecorated
from codctl.envs.learn2ask import text
from codctl.envs.learn2ask.belief import believe, settled
from codctl.envs.learn2ask.claims import claims
from codctl.envs.learn2ask.generator import PRESETS, sample_task, sample_world
from codctl.envs.learn2ask.policies import POLICIES, make_policy
from codctl.envs.learn2ask.stop import as_tag, is_stop_alone
from codctl.envs.learn2ask.world import LOSSES, AskEpisode, AskTask, AskWorld
from codctl.envs.solve_prompt import ReplyForm


class Learn2Ask(Family):
    """Hidden fact: which of the points must be known before an interview may end."""

    name = "learn2ask"
    title = "Learn2Ask: ask for what is missing, or stop; what must be known is hidden"
    presets = tuple(PRESETS)
    variants = ("protocol", "paper")
    needs_options = ("paper",)
    policies = tuple(POLICIES)
    graded = True
    turn_penalty = 0.0
    reference = "exact belief over the sets of needed points, best reply for the current task"
    losses = LOSSES
    learnable = MappingProxyType({"protocol": True, "paper": False})
    asks = "question or <stop />"

    def with_options(self, variant: str, options: Mapping[str, Any]) -> Family:
        if variant != "paper":
            return super().with_options(variant, options)
        from codctl.envs.learn2ask.paper import configured

        return configured(options)

    def draw(self, split: str, index: int, length: int, preset: str, variant: str) -> tuple[Any, Sequence[Any]]:
        if variant == "paper":
            self.with_options("paper", {})  # refuses: the data is missing
        return super().draw(split, index, length, preset, variant)

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[AskWorld, tuple[AskTask, ...]]:
        world = sample_world(rng, PRESETS[preset])
        return world, tuple(sample_task(rng, world) for _ in range(length))

    def begin(self, world: AskWorld, task: AskTask, rendering: Rendering) -> AskEpisode:
        return AskEpisode(world, task, rendering)

    def redraw(self, world: AskWorld, rng: Random) -> AskWorld:
        preset = next(p for p in PRESETS.values() if p.points == world.points)
        while (other := sample_world(rng, preset)) == world:
            pass
        return other

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering, PRESETS[preset].points, PRESETS[preset].needed)

    def reply_form(self, preset: str) -> ReplyForm:
        return text.FORM

    def facts(self, world: AskWorld) -> int:
        return world.points

    def truth(self, world: AskWorld, rendering: Rendering) -> str:
        return text.hint_from(_facts(world), rendering)

    def partial_truth(self, world: AskWorld, rendering: Rendering, rng: Random) -> str:
        # In any order: a model that found facts by their place alone would not find them in a later turn.
        facts = _facts(world)
        points = rng.sample(range(world.points), rng.randint(0, world.points))
        return text.hint_from({point: facts[point] for point in points}, rendering) if points else ""

    def score_context(self, world: AskWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
        claimed, truth = claims(hints), set(_facts(world).items())
        # A point that the hint states both ways is not known, even when one of them is right.
        stated = [point for point, _ in claimed]
        right = {fact for fact in claimed & truth if stated.count(fact[0]) == 1}
        asked = [episode for episode in seen if isinstance(episode, AskEpisode)]
        knowable = settled(believe(asked, world.points, world.needed.bit_count()), world.points)
        return HintScore.of(claimed, right, truth, set(knowable.items()))

    def answered(self, episode: Episode, action: str) -> str:
        plain = undecorated(as_tag(action))
        return plain if is_stop_alone(plain) else super().answered(episode, as_tag(action))

    def policy(self, name: str, **options: float) -> Policy:
        self.check_policy(name)
        return make_policy(name, options)


def _facts(world: AskWorld) -> dict[int, bool]:
    return {point: bool(world.needed >> point & 1) for point in range(world.points)}
