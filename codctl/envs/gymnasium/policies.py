"""Reference policies for wrapped environments."""

from __future__ import annotations

from random import Random

from codctl.envs.base import Policy, PolicyView
from codctl.envs.gymnasium.table import CODES, Outcome, ToyText
from codctl.envs.gymnasium.text import hint
from codctl.envs.gymnasium.world import NOTHING_SEEN, CodedEpisode, constrain, known_facts, possible


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
