"""FrozenLake-Obscure as a family."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import MappingProxyType

from codctl.envs.base import Episode, Family, HintScore, Policy, Rendering
from codctl.envs.frozen_lake import text, trinity
from codctl.envs.frozen_lake.belief import believe, known_facts
from codctl.envs.frozen_lake.claims import claims
from codctl.envs.frozen_lake.generator import PRESETS, sample_task, sample_world
from codctl.envs.frozen_lake.names import CODES, DIRECTIONS
from codctl.envs.frozen_lake.policies import make_policy
from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, LakeWorld
from codctl.envs.solve_prompt import ReplyForm
from codctl.envs.trinity import pack_rows, pack_seed


class FrozenLake(Family):
    """Hidden fact: a permutation of the four directions behind the codes K, Q, X, Z."""

    name = "frozen_lake"
    title = "FrozenLake-Obscure: walk to the goal with action codes whose meaning is hidden"
    presets = tuple(PRESETS)
    variants = ("default", "paper", "trinity")
    reference = "exact belief over the 24 mappings, best plan for the current task"
    losses = MappingProxyType({"hole": "fell into a hole"})
    learnable = MappingProxyType(dict.fromkeys(variants, True))
    asks = f"move ({', '.join(CODES[:-1])} or {CODES[-1]})"
    quit_words = ("quit",)  # Q is a move
    colours = MappingProxyType({"A": "bold", "G": "green", "O": "red"})

    def in_variant(self, variant: str) -> Family:
        return _TRINITY if variant == "trinity" else self

    def edition(self, preset: str, variant: str) -> int:
        return 2 if variant == "paper" else 1

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[LakeWorld, tuple[LakeTask, ...]]:
        """`paper` accepts the maps that the published search accepts; `tiny`, which is not published, has one rule."""
        bounds, as_published = PRESETS[preset], variant == "paper" and preset != "tiny"
        return sample_world(rng), tuple(sample_task(rng, bounds, as_published=as_published) for _ in range(length))

    def begin(self, world: LakeWorld, task: LakeTask, rendering: Rendering) -> LakeEpisode:
        return LakeEpisode(world, task, rendering)

    def redraw(self, world: LakeWorld, rng: Random) -> LakeWorld:
        while (other := sample_world(rng)) == world:
            pass
        return other

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering)

    def reply_form(self, preset: str) -> ReplyForm:
        return text.FORM

    def facts(self, world: LakeWorld) -> int:
        return len(DIRECTIONS)

    def truth(self, world: LakeWorld, rendering: Rendering) -> str:
        return text.hint_from({direction: world.code_of(direction) for direction in range(4)}, rendering)

    def partial_truth(self, world: LakeWorld, rendering: Rendering, rng: Random) -> str:
        # In any order: a model that found facts by their place alone would not find them in a later turn.
        directions = rng.sample(range(4), rng.randint(0, 4))
        return text.hint_from({d: world.code_of(d) for d in directions}, rendering) if directions else ""

    def score_context(self, world: LakeWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
        claimed = claims(hints)
        truth = {(world.code_of(direction), DIRECTIONS[direction]) for direction in range(4)}
        lakes = [episode for episode in seen if isinstance(episode, LakeEpisode)]
        knowable = known_facts(believe((episode.task, episode.moves) for episode in lakes))
        # A direction that the hint gives two codes is not known, even when one of them is right.
        stated = [direction for _, direction in claimed]
        right = {fact for fact in claimed & truth if stated.count(fact[1]) == 1}
        knowable_facts = {(code, DIRECTIONS[direction]) for direction, code in knowable.items()}
        return HintScore.of(claimed, right, truth, knowable_facts)

    def answered(self, episode: Episode, action: str) -> str:
        return text.answered(action)

    def policy(self, name: str, **options: float) -> Policy:
        self.check_policy(name)
        return make_policy(name, options)

    def describe_task(self, world: LakeWorld, task: LakeTask) -> str:
        return text.first_observation(task, "full")


class TrinityLake(FrozenLake):
    """The variant `trinity`. The world of a pack depends on its length."""

    stable_length = 1

    def draw(
        self, split: str, index: int, length: int, preset: str, variant: str
    ) -> tuple[LakeWorld, Sequence[LakeTask]]:
        if variant != "trinity":
            return super().draw(split, index, length, preset, variant)
        rows = trinity.rows_of(split, preset)
        world = trinity.world_of(pack_seed(split, index, length))
        return world, [trinity.task_of(rows[row], preset) for row in pack_rows(split, index, length)]


_TRINITY = TrinityLake()
