"""PDE Discovery as a family."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import MappingProxyType
from typing import Any

from codctl.envs.base import Episode, Family, HintScore, Policy, PolicyView, Rendering
from codctl.envs.pde_discovery import generator, policies, text, tiny, tiny_policies
from codctl.envs.pde_discovery.claims import Claims, claims
from codctl.envs.pde_discovery.episode import PdeEpisode
from codctl.envs.pde_discovery.equations import written
from codctl.envs.pde_discovery.hints import score
from codctl.envs.pde_discovery.templates import PRESETS
from codctl.envs.pde_discovery.tiny import TinyEpisode, TinyTask, TinyWorld
from codctl.envs.pde_discovery.world import PdeTask, PdeWorld
from codctl.envs.solve_prompt import ReplyForm

World = PdeWorld | TinyWorld
Task = PdeTask | TinyTask
TINY = "tiny"


class PdeDiscovery(Family):
    """Hidden facts: which terms a reaction has, and their coefficients. In `tiny`: which term is the true one."""

    name = "pde_discovery"
    title = "PDE Discovery: find the hidden reaction of a diffusion equation from a few noisy samples"
    presets = (*PRESETS, TINY)
    variants = ("hints_only", "environment", "trinity")
    renderings = ("full", "compact")
    policies = ("bayes", "informed", "forget", "random")
    reference = "compares all equations on all data seen by their fit and size; exact in tiny"
    learnable = MappingProxyType({"hints_only": True, "environment": True, "trinity": True})
    graded = True
    turn_penalty = 0.0
    unsolvable = 0.03  # noise hides a weak term where the whole trajectory is small
    asks = "action (XML), or a term"

    def in_variant(self, variant: str) -> Family:
        return {"environment": _ENVIRONMENT, "trinity": _TRINITY}.get(variant, self)

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[World, tuple[Task, ...]]:
        return tiny.draw(rng, length) if preset == TINY else generator.draw_pack(rng, length, preset)

    def begin(self, world: World, task: Task, rendering: Rendering) -> Episode:
        return self._begin(world, task, rendering, None)

    def _begin(self, world: World, task: Task, rendering: Rendering, past: Sequence[Episode] | None) -> Episode:
        if isinstance(world, TinyWorld):
            assert isinstance(task, TinyTask)
            return TinyEpisode(world, task, rendering, [e for e in past or () if isinstance(e, TinyEpisode)])
        assert isinstance(task, PdeTask)
        remembered = None if past is None else [episode for episode in past if isinstance(episode, PdeEpisode)]
        return PdeEpisode(world, task, rendering, remembered)

    def redraw(self, world: World, rng: Random) -> World:
        return tiny.redraw(world, rng) if isinstance(world, TinyWorld) else generator.draw_other(rng, world)

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        if preset == TINY:
            return tiny.rules(rendering, remembers=self.remembers)
        return text.rules(rendering, preset, remembers=self.remembers)

    def reply_form(self, preset: str) -> ReplyForm:
        return tiny.FORM if preset == TINY else text.FORM

    def facts(self, world: World) -> int:
        return 1 if isinstance(world, TinyWorld) else 2 * len(world.terms)

    def truth(self, world: World, rendering: Rendering) -> str:
        if isinstance(world, TinyWorld):
            return tiny.hint_from([world.true], rendering)
        return text.hint_from(world.equation, rendering)

    def partial_truth(self, world: World, rendering: Rendering, rng: Random) -> str:
        if isinstance(world, TinyWorld):
            others = [term for term in range(tiny.TERMS) if term != world.true]
            possible = [world.true, *rng.sample(others, rng.randrange(tiny.FITTING))]
            rng.shuffle(possible)
            return tiny.hint_from(possible, rendering) if rng.random() < 0.8 else ""
        kept = rng.sample(world.terms, rng.randint(0, len(world.terms)))
        return text.support_hint([(term, 1 if c > 0 else -1) for term, c in sorted(kept)])

    def items(self, hints: str, rendering: Rendering) -> tuple[str, ...]:
        """In `compact` an equation is one word, or else each term with its sign."""
        said = claims(hints) if rendering == "compact" else Claims()
        if said.equation:
            return (text.hint_from(said.equation, rendering).replace(" ", ""),)
        signed = tuple(f"{'-' if sign < 0 else '+'}{written(term)}" for term, sign in said.signs.items())
        return signed or super().items(hints, rendering)

    def score_context(self, world: World, hints: str, seen: Sequence[Episode]) -> HintScore:
        if isinstance(world, TinyWorld):
            return tiny.score(world, hints, seen)
        return score(world, hints, [episode for episode in seen if isinstance(episode, PdeEpisode)])

    def answered(self, episode: Episode, action: str) -> str:
        """The element inside an answer, whatever stands around it; in `tiny` the first term."""
        if isinstance(episode, TinyEpisode):
            terms = tiny.listed(action)
            return tiny.NAMES[terms[0]] if terms else action
        start, end = action.find("<"), action.rfind(">")
        return action[start : end + 1] if 0 <= start < end else action

    def policy(self, name: str, **options: float) -> Policy:
        self.check_policy(name)
        return _ByPreset(policies.make_policy(name, options), tiny_policies.make_policy(name, options))


class _ByPreset:
    """One agent for the numeric presets and one for `tiny`."""

    def __init__(self, numeric: Policy, tiny: Policy) -> None:
        self._numeric, self._tiny = numeric, tiny

    def solve(self, view: PolicyView, rng: Random) -> str:
        return self._of(view).solve(view, rng)

    def update(self, view: PolicyView, rng: Random) -> str:
        return self._of(view).update(view, rng)

    def _of(self, view: PolicyView) -> Policy:
        return self._tiny if isinstance(view.episode, TinyEpisode) else self._numeric


class RememberingPde(PdeDiscovery):
    """The variant `environment`: data and commits of earlier tasks stay, and prompts show them."""

    remembers = True

    def begin_after(self, world: Any, task: Any, rendering: Rendering, past: Sequence[Episode]) -> Episode:
        return self._begin(world, task, rendering, past)

    def begin(self, world: World, task: Task, rendering: Rendering) -> Episode:
        return self._begin(world, task, rendering, ())


class PublishedPde(RememberingPde):
    """The variant `trinity`: with the published packs as well, which depend on their length; `tiny` has none."""

    stable_length = 1

    def draw(self, split: str, index: int, length: int, preset: str, variant: str) -> tuple[World, Sequence[Task]]:
        if variant != "trinity" or preset == TINY:
            return super().draw(split, index, length, preset, variant)
        return generator.published_pack(split, index, length, preset)


_ENVIRONMENT, _TRINITY = RememberingPde(), PublishedPde()
