"""Any deterministic toy-text environment of Gymnasium as a family: its actions hidden behind opaque codes.

A subclass names the environment; the permutation that says which code plays which action is the hidden fact of a pack,
and tasks start in different states. See docs/gymnasium.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import MappingProxyType

from codctl.config.names import unknown
from codctl.envs.base import Episode, Family, HintScore, Policy, Rendering
from codctl.envs.gymnasium.policies import POLICIES
from codctl.envs.gymnasium.table import CODES, ToyText
from codctl.envs.gymnasium.text import answered, claims, hint, rules
from codctl.envs.gymnasium.world import CodedEpisode, CodedWorld, StartTask, constrain, known_facts, possible


class GymnasiumFamily(Family):
    """Base of wrapped environments.

    Attributes:
        source: The environment.
        shortest: Fewest and most actions from the start of a task to success.
        slack: Turns beyond the fewest that are needed.
    """

    source: ToyText
    shortest: tuple[int, int] = (2, 8)
    slack: int = 2
    presets = ("default",)
    reference = "exact belief over the permutations of the actions, one-step plan"
    learnable = MappingProxyType({"paper": True})
    asks = "action code"
    quit_words = ("quit",)  # Q is a code

    def sample(self, rng: Random, length: int, preset: str, variant: str) -> tuple[CodedWorld, tuple[StartTask, ...]]:
        actions = list(range(len(self.source.moves)))
        rng.shuffle(actions)
        fewest, most = self.shortest
        distances = self.source.table.distances
        starts = sorted(state for state, distance in distances.items() if fewest <= distance <= most)
        chosen = [rng.choice(starts) for _ in range(length)]
        return CodedWorld(tuple(actions)), tuple(StartTask(s, distances[s] + self.slack, self.source) for s in chosen)

    def begin(self, world: CodedWorld, task: StartTask, rendering: Rendering) -> CodedEpisode:
        return CodedEpisode(world, task, rendering)

    def redraw(self, world: CodedWorld, rng: Random) -> CodedWorld:
        while (other := CodedWorld(tuple(rng.sample(world.actions, len(world.actions))))) == world:
            pass
        return other

    def solve_prompt(self, hints: str, rendering: Rendering, preset: str) -> str:
        return rules(self.title, self.source.moves, hints, rendering)

    def facts(self, world: CodedWorld) -> int:
        return len(world.actions)

    def truth(self, world: CodedWorld, rendering: Rendering) -> str:
        return hint(dict(enumerate(world.actions)), self.source.moves, rendering)

    def score_context(self, world: CodedWorld, hints: str, seen: Sequence[Episode]) -> HintScore:
        claimed, truth = claims(hints, self.source.moves), set(enumerate(world.actions))
        # A code that the hint gives two actions is not known, even when one of them is right.
        codes = [code for code, _ in claimed]
        right = {fact for fact in claimed & truth if codes.count(fact[0]) == 1}
        steps = [one for episode in seen if isinstance(episode, CodedEpisode) for one in episode.seen]
        knowable = set(known_facts(possible(len(world.actions), constrain(steps, self.source))).items())
        return HintScore.of(claimed, right, truth, knowable)

    def answered(self, episode: Episode, text: str) -> str:
        return answered(text, CODES[: len(self.source.moves)])

    def policy(self, name: str, **options: float) -> Policy:
        if name not in POLICIES:
            raise unknown(f"policy of {self.name}", name, list(POLICIES), "codctl env list")
        return POLICIES[name]()
