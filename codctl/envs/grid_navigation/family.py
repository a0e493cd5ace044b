"""Grid Navigation as a family."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from statistics import fmean
from types import MappingProxyType

from codctl.envs import trinity
from codctl.envs.base import Episode, Family, HintScore, Policy, Rendering
from codctl.envs.grid_navigation import text
from codctl.envs.grid_navigation.claims import claims
from codctl.envs.grid_navigation.generator import NumpyDraws, draw_task, draw_world, redraw_world
from codctl.envs.grid_navigation.policies import make_policy
from codctl.envs.grid_navigation.presets import PRESETS
from codctl.envs.grid_navigation.world import GridEpisode, GridTask, GridWorld
from codctl.envs.solve_prompt import ReplyForm


class GridNavigation(Family):
    """Hidden facts: the costs of all cells of a grid. An agent carries them from task to task in its hints alone."""

    name = "grid_navigation"
    title = "Grid Navigation: cross a grid of hidden costs cheaply, in an exact number of rounds"
    presets = tuple(PRESETS)
    variants = ("hints_only", "environment", "trinity")
    policies = ("bayes", "informed", "forget", "mean", "zero", "random")
    reference = "remembers all costs, guesses the others by kernel regression, plans exactly; does not explore"
    losses = MappingProxyType(
        {
            "missed": "did not end on the target",
            "dear": "reached the target by a dear way",
            "illegal": "made a move that is not allowed",
        }
    )
    learnable = MappingProxyType(dict.fromkeys(variants, True))
    graded = True
    turn_penalty = 0.0
    asks = "cell (row,column)"

    def in_variant(self, variant: str) -> Family:
        return {"environment": _ENVIRONMENT, "trinity": _TRINITY}.get(variant, self)

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[GridWorld, tuple[GridTask, ...]]:
        world = draw_world(rng, preset)
        return world, tuple(draw_task(rng, world) for _ in range(length))

    def begin(self, world: GridWorld, task: GridTask, rendering: Rendering) -> GridEpisode:
        return GridEpisode(world, task, rendering)

    def redraw(self, world: GridWorld, rng: Random) -> GridWorld:
        return redraw_world(rng, world)

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering, PRESETS[preset], remembers=self.remembers)

    def reply_form(self, preset: str) -> ReplyForm:
        return text.FORM

    def facts(self, world: GridWorld) -> int:
        return world.side**2

    def truth(self, world: GridWorld, rendering: Rendering) -> str:
        return text.hint_from({cell: world.cost(cell) for cell in world.cells}, world.side, rendering)

    def partial_truth(self, world: GridWorld, rendering: Rendering, rng: Random) -> str:
        # In any order: a model that found facts by their place alone would not find them in a later turn.
        cells = rng.sample(world.cells, rng.randint(0, len(world.cells)))
        return text.hint_from({cell: world.cost(cell) for cell in cells}, world.side, rendering) if cells else ""

    def items(self, hints: str, rendering: Rendering) -> tuple[str, ...]:
        """In `terse` each pair is one; in `full` each row of the map."""
        found = super().items(hints, rendering)
        return tuple(word for item in found for word in item.split()) if rendering == "terse" else found

    def score_context(self, world: GridWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
        """A fact is one cell. It is knowable once it was revealed."""
        stated = claims(hints, world.side)
        # A cell to which the hint gives two costs is not known, even when one of them is right.
        right = {
            cell for cell, said in stated.items() if len(said) == 1 and all(s.is_right(world.cost(cell)) for s in said)
        }
        knowable = {cell for episode in seen if isinstance(episode, GridEpisode) for cell in episode.seen}
        errors = [abs(claim.cost - world.cost(cell)) for cell, said in stated.items() for claim in said]
        detail = {"coverage": len(stated) / self.facts(world)}
        if errors:
            detail["absolute_error"] = fmean(errors)
        return HintScore(
            right=len(right),
            wrong=sum(map(len, stated.values())) - len(right),
            missing=self.facts(world) - len(right),
            knowable=len(knowable),
            knowable_right=len(right & knowable),
            detail=detail,
        )

    def typed(self, episode: Episode, text: str) -> str:
        return super().typed(episode, self.answered(episode, text))

    def answered(self, episode: Episode, action: str) -> str:
        assert isinstance(episode, GridEpisode)
        return text.answered(action, episode.rendering)

    def policy(self, name: str, **options: float) -> Policy:
        self.check_policy(name)
        return make_policy(name, options)


class RememberingGrid(GridNavigation):
    """The variant `environment`: what was revealed in earlier tasks is on the map of later ones."""

    remembers = True

    def begin_after(
        self, world: GridWorld, task: GridTask, rendering: Rendering, past: Sequence[Episode]
    ) -> GridEpisode:
        carried = {cell: cost for e in past if isinstance(e, GridEpisode) for cell, cost in e.known.items()}
        return GridEpisode(world, task, rendering, carried)


class TrinityGrid(RememberingGrid):
    """The variant `trinity`: the published memory, and the very worlds and tasks of Trinity-RFT's data."""

    stable_length = 1  # a longer pack has another world

    def draw(
        self, split: str, index: int, length: int, preset: str, variant: str
    ) -> tuple[GridWorld, Sequence[GridTask]]:
        if variant != "trinity":
            return super().draw(split, index, length, preset, variant)
        world = draw_world(NumpyDraws(trinity.pack_seed(split, index, length)), preset)
        seeds = trinity.grid_seeds(split)
        return world, [draw_task(NumpyDraws(seeds[row]), world) for row in trinity.pack_rows(split, index, length)]


_ENVIRONMENT, _TRINITY = RememberingGrid(), TrinityGrid()
