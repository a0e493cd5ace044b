"""TerminalSimulator as a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from types import MappingProxyType

from codctl.envs.agents import agent
from codctl.envs.base import Episode, Family, HintScore, Policy, Rendering
from codctl.envs.solve_prompt import ReplyForm
from codctl.envs.terminal import text
from codctl.envs.terminal.demonstrator import Demonstrator
from codctl.envs.terminal.episode import TerminalEpisode
from codctl.envs.terminal.generator import PRESETS, draw_task, draw_world
from codctl.envs.terminal.hints import claims, hint_from
from codctl.envs.terminal.policies import POLICIES, believe
from codctl.envs.terminal.rules import SLOTS, draw_rules
from codctl.envs.terminal.tasks import TerminalTask, TerminalWorld


class Terminal(Family):
    """Hidden facts of `shared_world`: which tool does what, the port, the drop folder, the mode. `paper` has none."""

    name = "terminal"
    title = "TerminalSimulator: get things done on two machines under house rules that are hidden"
    presets = tuple(PRESETS)
    variants = ("shared_world", "paper")
    reference = (
        "tries one possible value of a needed rule per step and remembers; no roundabout ways but copy and erase"
    )
    learnable = MappingProxyType({"shared_world": True, "paper": False})
    asks = "command"

    def sample(
        self, rng: Random, length: int, preset: str, variant: str
    ) -> tuple[TerminalWorld, tuple[TerminalTask, ...]]:
        world = draw_world(rng, PRESETS[preset]) if variant == "shared_world" else TerminalWorld()
        return world, tuple(draw_task(rng, PRESETS[preset], world) for _ in range(length))

    def in_variant(self, variant: str) -> Family:
        return _PAPER if variant == "paper" else self

    def edition(self, preset: str, variant: str) -> int:
        return 2 if variant == "paper" else 1

    def begin(self, world: TerminalWorld, task: TerminalTask, rendering: Rendering) -> TerminalEpisode:
        return TerminalEpisode(world, task, rendering)

    def redraw(self, world: TerminalWorld, rng: Random) -> TerminalWorld:
        if world.rules is None:
            return world
        while (rules := draw_rules(rng, world.rules.surface)) == world.rules:
            pass
        return replace(world, rules=rules)

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering)

    def reply_form(self, preset: str) -> ReplyForm:
        return text.FORM

    def facts(self, world: TerminalWorld) -> int:
        return len(SLOTS) if world.rules else 0

    def truth(self, world: TerminalWorld, rendering: Rendering) -> str:
        return hint_from(world.rules.truth, rendering) if world.rules else ""

    def partial_truth(self, world: TerminalWorld, rendering: Rendering, rng: Random) -> str:
        if world.rules is None:
            return ""
        slots = rng.sample(SLOTS, rng.randint(0, len(SLOTS)))
        return hint_from({slot: world.rules.truth[slot] for slot in slots}, rendering) if slots else ""

    def score_context(self, world: TerminalWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
        if world.rules is None:
            return HintScore(0, 0, 0, 0, 0)
        surface, truth = world.rules.surface, set(world.rules.truth.items())
        claimed = claims(hints, surface)
        # A slot that the hint gives two values is not known, even when one of them is right.
        stated = [slot for slot, _ in claimed]
        right = {fact for fact in claimed & truth if stated.count(fact[0]) == 1}
        terminals = [episode for episode in seen if isinstance(episode, TerminalEpisode)]
        knowable = set(believe(surface, terminals).known().items())
        return HintScore.of(claimed, right, truth, knowable)

    def answered(self, episode: Episode, action: str) -> str:
        return text.answered(action)

    def policy(self, name: str, **options: float) -> Policy:
        self.check_policy(name)
        return agent(name, options, POLICIES, Demonstrator)

    def describe_task(self, world: TerminalWorld, task: TerminalTask) -> str:
        return TerminalEpisode(world, task, "full").observation


class PaperTerminal(Terminal):
    """The variant `paper`, whose prompt has its own rules for steps and variables, and no house rules."""

    turn_penalty = 0.0

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return text.rules(rendering, as_published=True)


_PAPER = PaperTerminal()
