"""The demonstrator of the warm start: it uses hints well and writes them carelessly."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

from codctl.envs.base import PolicyView
from codctl.envs.terminal.episode import TerminalEpisode
from codctl.envs.terminal.hints import claims, hint_from
from codctl.envs.terminal.plans import Knowledge, Truth, next_line, next_step
from codctl.envs.terminal.policies import Belief, believe
from codctl.envs.terminal.rules import SLOTS, VERBS, Surface, list_of
from codctl.envs.terminal.tasks import DROP

Source = Literal["seen", "hints", "list", "none"]


@dataclass(frozen=True)
class Noted:
    """What the hints say, overruled by what this episode showed; a guess among what its lists leave open.

    Attributes:
        hinted: Facts that the hints state, each with one value.
        seen: What the answers of this episode leave possible.
        choices: A value to try for each slot, drawn once for each command.
    """

    hinted: dict[str, str]
    seen: Belief
    choices: dict[str, str]

    def source(self, slot: str) -> Source:
        if slot in self.seen.true or (self.guess(slot) is not None and len(self.seen.candidates(slot)) == 1):
            return "seen"
        if self.hinted.get(slot) in self.seen.candidates(slot):
            return "hints"
        return "list" if list_of(slot) in self.seen.seen else "none"

    def guess(self, slot: str) -> str | None:
        candidates = self.seen.candidates(slot)
        if slot in self.seen.true or self.hinted.get(slot) in candidates:
            return self.seen.true.get(slot) or self.hinted[slot]
        return self.choices.get(slot) if list_of(slot) in self.seen.seen else None

    def is_known(self, slot: str) -> bool:
        return self.source(slot) in ("seen", "hints")


class Demonstrator:
    """Uses hints well and writes them carelessly, so that the warm start leaves the writing to RL.

    Solve: do the next step with the tool, port, folder and mode that are known, trust the hints until an answer
    contradicts them, and else look at the list and try one of its values. Update: keep each known fact with some
    probability, and sometimes add a wrong one.
    """

    def __init__(self, keep_fact: float, wrong_fact: float) -> None:
        self._keep, self._wrong = keep_fact, wrong_fact

    def solve(self, view: PolicyView, rng: Random) -> str:
        episode = view.episode
        assert isinstance(episode, TerminalEpisode)
        surface = episode.site.surface
        noted = _noted(view.hints, episode, surface, rng) if surface else None
        knowledge: Knowledge = noted or Truth(None)
        line = next_line(episode, knowledge)
        if view.rendering == "compact":
            return f"<answer> {line} </answer>"
        return f"{_thought(episode, line, noted, is_short=view.rendering == 'terse')}\n<answer>{line}</answer>"

    def update(self, view: PolicyView, rng: Random) -> str:
        episode = view.episode
        assert isinstance(episode, TerminalEpisode)
        surface = episode.site.surface
        if surface is None:
            return hint_from({}, view.rendering)
        noted = _noted(view.hints, episode, surface, rng)
        known = {slot: noted.guess(slot) or "" for slot in SLOTS if noted.is_known(slot)}
        kept = {slot: value for slot, value in known.items() if rng.random() < self._keep}
        free = [slot for slot in SLOTS if slot not in kept]
        if free and rng.random() < self._wrong:
            slot = rng.choice(free)
            kept[slot] = rng.choice(surface.of(slot))
        return hint_from({slot: kept[slot] for slot in SLOTS if slot in kept}, view.rendering)


def _noted(hints: str, episode: TerminalEpisode, surface: Surface, rng: Random) -> Noted:
    stated = sorted(claims(hints, surface))  # sorted: the order of a set of texts differs between processes
    slots = [slot for slot, _ in stated]
    seen = believe(surface, [episode])
    taken = set(dict(stated).values())
    choices = {}
    for slot in SLOTS:
        candidates = seen.candidates(slot)
        # A tool that the hints have for another verb is the last one to try.
        choices[slot] = rng.choice([value for value in candidates if value not in taken] or candidates)
    return Noted({slot: value for slot, value in stated if slots.count(slot) == 1}, seen, choices)


def _thought(episode: TerminalEpisode, line: str, noted: Noted | None, *, is_short: bool) -> str:
    """Why this command, in a sentence or two."""
    step = next_step(episode)
    if line.startswith(("ssh ", "exit")):
        where = episode.site.side("local" if line == "exit" else "remote").identity.host
        port = _about("port", noted, is_short) if noted and line != "exit" else ""
        return f"The next thing to do is on {where}.{port}"
    if noted is None:
        return f"Next I {_WORDS[step.verb]} what the task names."
    if line.startswith("ls "):
        unknown = "drop" if noted.guess(step.tool_verb or "mode") or not step.tool_verb else step.tool_verb
        return f"I do not know the {_name(unknown)} yet, so I look at the choices."
    verb = "mode" if line.startswith("chmod ") else line.split()[1]  # copy and erase may stand for move
    slots = [verb, *(["port"] if verb == "send" else []), *(["drop"] if DROP in (*step.source, *step.target) else [])]
    said = "".join(_about(slot, noted, is_short) for slot in slots)
    return said.strip() if is_short else f"Next I {_WORDS[verb]} what the task names.{said}"


def _about(slot: str, noted: Noted, is_short: bool) -> str:
    """Where the value of a slot comes from."""
    value, name = noted.guess(slot), _name(slot)
    if value is None:
        return f" I do not know the {name} yet, so I see what it says."
    told = {"seen": "I found out that the", "hints": "The hints say that the"}.get(noted.source(slot))
    if told:
        return f" {'The' if is_short else told} {name} is {value}."
    return f" I try {value} as {name}." if is_short else f" I do not know the {name}, so I try {value}."


def _name(slot: str) -> str:
    return f"tool to {slot}" if slot in VERBS else {"drop": "drop folder"}.get(slot, slot)


_WORDS = {
    "send": "send",
    "fetch": "fetch",
    "pack": "pack",
    "unpack": "unpack",
    "erase": "delete",
    "move": "move",
    "copy": "copy",
    "make": "make",
    "mode": "set the mode of",
}
