"""Scripted agents: one that knows the rules, one that finds them out, one that types at random."""

from __future__ import annotations

from random import Random

from codctl.envs.base import Policy, Rendering, Situation
from codctl.envs.terminal.belief import Belief, believe
from codctl.envs.terminal.episode import TerminalEpisode
from codctl.envs.terminal.hints import hint_from
from codctl.envs.terminal.plans import Truth, next_line
from codctl.envs.terminal.rules import Surface


def belief_of(situation: Situation, surface: Surface) -> Belief:
    """What follows from all that was told in this trajectory."""
    told = [episode for episode in (*situation.past, situation.episode) if isinstance(episode, TerminalEpisode)]
    return believe(surface, told)


class BayesPolicy:
    """Lists what may be listed, tries one possible value after the other, and remembers; needs no hints."""

    def solve(self, situation: Situation, rng: Random) -> str:
        episode = _terminal(situation)
        surface = episode.site.surface
        line = next_line(episode, belief_of(situation, surface) if surface else Truth(None))
        return reply(line, situation.rendering)

    def update(self, situation: Situation, rng: Random) -> str:
        surface = _terminal(situation).site.surface
        return hint_from(belief_of(situation, surface).known() if surface else {}, situation.rendering)


class InformedPolicy:
    """Knows the rules and does what the task asks for."""

    def solve(self, situation: Situation, rng: Random) -> str:
        rules = situation.world.rules
        return reply(next_line(_terminal(situation), Truth(rules)), situation.rendering)

    def update(self, situation: Situation, rng: Random) -> str:
        rules = situation.world.rules
        return hint_from(rules.truth if rules else {}, situation.rendering)


class RandomPolicy:
    """Types a random command about random places and never learns."""

    def solve(self, situation: Situation, rng: Random) -> str:
        site = _terminal(situation).site
        places = [(side, path) for side in (site.local, site.remote) for path in (*side.files, *side.folders)]
        words = [side.identity.write(path) for side, path in rng.sample(places, 2)]
        names = ("ls", "cat", "cp", "mv", "rm", "mkdir", f"ssh {site.remote.identity.host}", "scp", "chmod 755")
        return reply(" ".join([rng.choice(names), *words[: rng.randint(0, 2)]]), situation.rendering)

    def update(self, situation: Situation, rng: Random) -> str:
        return hint_from({}, situation.rendering)


def reply(line: str, rendering: Rendering) -> str:
    return f"<answer> {line} </answer>" if rendering == "compact" else f"<answer>{line}</answer>"


def _terminal(situation: Situation) -> TerminalEpisode:
    assert isinstance(situation.episode, TerminalEpisode)
    return situation.episode


POLICIES: dict[str, type[Policy]] = {"bayes": BayesPolicy, "informed": InformedPolicy, "random": RandomPolicy}
