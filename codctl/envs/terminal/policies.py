"""Scripted agents (one knows the rules, one finds them out, one types at random), and the belief that they act on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from codctl.envs.base import Policy, PolicyView, Rendering
from codctl.envs.terminal.episode import TerminalEpisode
from codctl.envs.terminal.hints import hint_from
from codctl.envs.terminal.plans import Truth, next_line
from codctl.envs.terminal.rules import LISTS, SLOTS, VERBS, Lesson, Surface, list_of


@dataclass(frozen=True)
class Belief:
    """Values that are certain, values that are excluded, and lists of values that were seen."""

    surface: Surface
    true: Mapping[str, str] = field(default_factory=dict)
    false: frozenset[tuple[str, str]] = frozenset()
    seen: frozenset[str] = frozenset()

    def after(self, lessons: Iterable[Lesson]) -> Belief | None:
        """The belief with some lessons more, or None when they contradict it."""
        true, false, seen = dict(self.true), set(self.false), set(self.seen)
        for lesson in lessons:
            if lesson.slot in LISTS:
                seen.add(lesson.slot)
            elif not lesson.holds:
                false.add((lesson.slot, lesson.value))
            elif true.setdefault(lesson.slot, lesson.value) != lesson.value:
                return None
        belief = Belief(self.surface, true, frozenset(false), frozenset(seen))
        return belief if belief._is_possible() else None

    def candidates(self, slot: str) -> list[str]:
        """The values that a slot may have."""
        if slot in self.true:
            return [self.true[slot]]
        taken = {self.true[verb] for verb in VERBS if verb in self.true} if slot in VERBS else set()
        return [v for v in self.surface.of(slot) if v not in taken and (slot, v) not in self.false]

    def guess(self, slot: str) -> str | None:
        """A value to try, None while one knows none."""
        known = slot in self.true or list_of(slot) in self.seen
        return self.candidates(slot)[0] if known else None

    def is_known(self, slot: str) -> bool:
        return self.guess(slot) is not None and len(self.candidates(slot)) == 1

    def known(self) -> dict[str, str]:
        """The facts that follow, in the order of SLOTS."""
        return {slot: self.candidates(slot)[0] for slot in SLOTS if self.is_known(slot)}

    def _is_possible(self) -> bool:
        tools = [self.true[verb] for verb in VERBS if verb in self.true]
        return (
            len(set(tools)) == len(tools)
            and not any((slot, value) in self.false for slot, value in self.true.items())
            # Where nothing is excluded something is left: there are more tools than verbs.
            and all(self.candidates(slot) for slot in {slot for slot, _ in self.false})
        )


def believe(surface: Surface, episodes: Sequence[TerminalEpisode]) -> Belief:
    """Fold episodes, oldest first, that took place on this surface.

    Where accounts contradict each other (the rules changed, or someone lied), the newer ones count: from the newest
    back, an episode that does not fit ends the memory.
    """
    belief = Belief(surface)
    for episode in reversed(episodes):
        if episode.site.surface != surface:
            continue
        wider = belief.after(lesson for ran in episode.log for lesson in ran.lessons)
        if wider is None:
            break
        belief = wider
    return belief


def belief_of(view: PolicyView, surface: Surface) -> Belief:
    """What follows from all that was told in this trajectory."""
    told = [episode for episode in (*view.past, view.episode) if isinstance(episode, TerminalEpisode)]
    return believe(surface, told)


class BayesPolicy:
    """Lists what may be listed, tries one possible value after the other, and remembers; needs no hints."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = _terminal(view)
        surface = episode.site.surface
        line = next_line(episode, belief_of(view, surface) if surface else Truth(None))
        return reply(line, view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        surface = _terminal(view).site.surface
        return hint_from(belief_of(view, surface).known() if surface else {}, view.rendering)


class InformedPolicy:
    """Knows the rules and does what the task asks for."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        rules = view.world.rules
        return reply(next_line(_terminal(view), Truth(rules)), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        rules = view.world.rules
        return hint_from(rules.truth if rules else {}, view.rendering)


class RandomPolicy:
    """Types a random command about random places and never learns."""

    def solve(self, view: PolicyView, rng: Random) -> str:
        site = _terminal(view).site
        places = [(side, path) for side in (site.local, site.remote) for path in (*side.files, *side.folders)]
        words = [side.identity.write(path) for side, path in rng.sample(places, 2)]
        names = ("ls", "cat", "cp", "mv", "rm", "mkdir", f"ssh {site.remote.identity.host}", "scp", "chmod 755")
        return reply(" ".join([rng.choice(names), *words[: rng.randint(0, 2)]]), view.rendering)

    def update(self, view: PolicyView, rng: Random) -> str:
        return hint_from({}, view.rendering)


def reply(line: str, rendering: Rendering) -> str:
    return f"<answer> {line} </answer>" if rendering == "compact" else f"<answer>{line}</answer>"


def _terminal(view: PolicyView) -> TerminalEpisode:
    assert isinstance(view.episode, TerminalEpisode)
    return view.episode


POLICIES: dict[str, type[Policy]] = {"bayes": BayesPolicy, "informed": InformedPolicy, "random": RandomPolicy}
