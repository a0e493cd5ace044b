"""What the answers of the shell leave possible of the house rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from codctl.envs.terminal.rules import LISTS, SLOTS, VERBS, Lesson, Surface, list_of

if TYPE_CHECKING:
    from codctl.envs.terminal.episode import TerminalEpisode


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
