"""Any deterministic toy-text environment of Gymnasium as a family: its actions hidden behind opaque codes.

A subclass names the environment; the permutation that says which code plays which action is the hidden fact of a pack,
and tasks start in different states. See docs/gymnasium.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from types import MappingProxyType

from codctl.config.names import unknown
from codctl.envs.base import Episode, Family, HintScore, Policy, PolicyView, Rendering
from codctl.envs.gymnasium.table import CODES, Outcome, ToyText
from codctl.envs.gymnasium.world import (
    FORM,
    NOTHING_SEEN,
    CodedEpisode,
    CodedWorld,
    StartTask,
    answered,
    claims,
    constrain,
    hint,
    known_facts,
    possible,
    rules,
)
from codctl.envs.solve_prompt import ReplyForm


class Bayes:
    """Exact belief over the permutations; plans one step ahead.

    It plays the code that most likely leaves success within reach of the turns that are left (as if all were known from
    then on), and among equals the one with the shortest expected way. It does not explore for the sake of later tasks
    or turns, so it is a strong reference and not the optimum.
    """

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = view.episode
        assert isinstance(episode, CodedEpisode)
        left_over = self._belief(view)
        turns = episode.max_turns - episode.turns - 1
        outcomes = episode.task.source.table.moves[episode.state]

        def worth(code: int) -> tuple[float, float]:
            left = [episode.task.source.table.left(outcomes[p[code]]) for p in left_over]
            reach = [ways for ways in left if ways is not None and ways <= turns]
            return len(reach) / len(left), -sum(reach) / len(reach) if reach else 0.0

        return f"<answer>{CODES[max(range(len(outcomes)), key=worth)]}</answer>"

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint(known_facts(self._belief(view)), view)

    def _belief(self, view: PolicyView) -> tuple[tuple[int, ...], ...]:
        """Where accounts contradict each other (the world changed, or someone lied), the newer ones count."""
        source, actions = _source(view), len(view.world.actions)
        known = NOTHING_SEEN
        for episode in (view.episode, *reversed(view.past)):
            if isinstance(episode, CodedEpisode) and episode.task.source == source:  # others are distractors
                more = constrain(episode.seen, source, known)
                known = more if possible(actions, more) else known
        return possible(actions, known)


class Informed:
    """Knows the permutation and walks a shortest way."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = view.episode
        assert isinstance(episode, CodedEpisode)
        table = episode.task.source.table

        def ways(outcome: Outcome) -> int:
            left = table.left(outcome)
            return len(table.moves) if left is None else left

        outcomes = table.moves[episode.state]
        best = min(range(len(outcomes)), key=lambda action: ways(outcomes[action]))
        return f"<answer>{CODES[view.world.actions.index(best)]}</answer>"

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint(dict(enumerate(view.world.actions)), view)


class Chance:
    """Plays any code and never learns."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        return f"<answer>{rng.choice(CODES[: len(view.world.actions)])}</answer>"

    def update(self, view: PolicyView, rng: Random) -> str:
        return _hint({}, view)


def _hint(facts: dict[int, int], view: PolicyView) -> str:
    return hint(facts, _source(view).moves, view.rendering)


def _source(view: PolicyView) -> ToyText:
    source: ToyText = view.slot.task.source
    return source


POLICIES: dict[str, type[Policy]] = {"bayes": Bayes, "informed": Informed, "random": Chance}


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

    def rules(self, preset: str, rendering: Rendering = "full") -> str:
        return rules(self.title, self.source.moves, rendering)

    def reply_form(self, preset: str) -> ReplyForm:
        return FORM

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
