"""Scripted agents: one that knows the rules, one that finds them out, one that types at random."""

from __future__ import annotations

from random import Random

from codctl.envs.base import Policy, PolicyView, Rendering
from codctl.envs.terminal.belief import Belief, believe
from codctl.envs.terminal.episode import TerminalEpisode
from codctl.envs.terminal.hints import hint_from
from codctl.envs.terminal.plans import Truth, next_line
from codctl.envs.terminal.rules import Surface


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
