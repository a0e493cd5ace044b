"""Worlds, tasks and episodes of a toy-text environment whose actions are hidden behind codes; and what they show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from types import MappingProxyType

from codctl.envs.base import Episode, Rendering, Step
from codctl.envs.gymnasium.table import CODES, Outcome, ToyText
from codctl.envs.solve_prompt import ReplyForm

_RULES = """\
{title}.

Each turn you choose one of the action codes {codes}. Each code stands for a different one of these actions: {moves}. \
Which code stands for which action is hidden, but it stays the same in every task of this series.

Success ends the task with reward 1; the fewer turns you use, the better. Running out of turns, or a reply that \
cannot be read, ends the task with reward 0.

Use your turns both to succeed and to find out what is hidden: what you find out helps you in the later tasks of this \
series."""
FORM = ReplyForm(ask="choose a code.", action="Q", thought="I have not tried Q yet, so I find out what it does.")

_CLAUSE = re.compile(r"[;\n.]")
_NEGATION = re.compile(r"\b(not|never|unknown|cannot|\w+n['’]t)\b", re.IGNORECASE)


def rules(title: str, moves: Sequence[str], rendering: Rendering) -> str:
    if rendering == "compact":
        return "codes"
    return _RULES.format(title=title, codes=", ".join(CODES[: len(moves)]), moves=", ".join(moves))


def answered(text: str, codes: Sequence[str]) -> str:
    """The code with which an answer begins, in either case, whatever stands around it."""
    found = re.match(rf"\W*([{''.join(codes)}])\b", text, re.IGNORECASE)
    return found[1].upper() if found else text


def hint(facts: Mapping[int, int], moves: Sequence[str], rendering: Rendering) -> str:
    """Known facts (code → action) as a hint."""
    pairs = [(CODES[code], moves[action]) for code, action in sorted(facts.items())]
    if rendering == "compact":
        return " ".join(f"{move}={code}" for code, move in pairs) or "none"
    return "\n".join(f"- {code} means {move}." for code, move in pairs) or "Nothing is known for certain yet."


def claims(hints: str, moves: Sequence[str]) -> set[tuple[int, int]]:
    """The (code, action) pairs that a hint states, in either order; a clause with a negation states nothing."""
    codes = CODES[: len(moves)]
    word = re.compile(rf"\b(?:{'|'.join(codes)}|(?i:{'|'.join(map(re.escape, moves))}))\b")
    lower = [move.lower() for move in moves]
    found: set[tuple[int, int]] = set()
    for clause in _CLAUSE.split(hints):
        words = [] if _NEGATION.search(clause) else word.findall(clause)
        for first, second in zip(words[::2], words[1::2], strict=False):
            code, move = (first, second) if first in codes else (second, first)
            if code in codes and move.lower() in lower:
                found.add((codes.index(code), lower.index(move.lower())))
    return found


@dataclass(frozen=True)
class CodedWorld:
    """The hidden fact: which action of the environment each code plays, a permutation."""

    actions: tuple[int, ...]


@dataclass(frozen=True)
class StartTask:
    """Reach success from one state."""

    start: int
    max_turns: int
    source: ToyText


@dataclass(frozen=True)
class Seen:
    """One executed action: what a player saw of it."""

    code: int
    before: int
    after: Outcome


class CodedEpisode(Episode):
    """A walk through the table. Reward 1 at success, 0 otherwise."""

    def __init__(self, world: CodedWorld, task: StartTask, rendering: Rendering) -> None:
        self._world, self.task, self._rendering = world, task, rendering
        self.state = task.start
        self.seen: list[Seen] = []
        super().__init__(task.max_turns)
        self.observation = self._situation()

    def act(self, action: str) -> Step:
        code = action.strip()
        codes = CODES[: len(self._world.actions)]
        if code not in codes:
            return self.fail(f"{code[:40]!r} is not an action; the actions are {', '.join(codes)}")
        self.turns += 1
        number = codes.index(code)
        outcome = self.task.source.table.moves[self.state][self._world.actions[number]]
        self.seen.append(Seen(number, self.state, outcome))
        self.state = outcome.state
        if self.task.source.table.succeeds(outcome):
            return self.end(1.0, self._ending("You succeeded."))
        if outcome.terminated:
            return self.end(0.0, f"The task ended without success. {self._effect(self.seen[-1])}", lost="unsolved")
        if self.turns >= self.max_turns:
            return self.end(0.0, self._ending("You ran out of turns."))
        return Step(f"{self._effect(self.seen[-1])}{self._gap}{self._situation()}", 0.0, done=False)

    def transcript(self) -> str:
        if not self.seen:
            return "none"
        return self._gap.join(self._effect(seen) for seen in self.seen)

    def _ending(self, said: str) -> str:
        """The feedback; in prose it also tells what the last action did, which no observation shows."""
        return said if self._rendering == "compact" else f"{said} {self._effect(self.seen[-1])}"

    @property
    def _gap(self) -> str:
        return " " if self._rendering == "compact" else "\n"

    def _situation(self) -> str:
        left = self.max_turns - self.turns
        if self._rendering == "compact":
            return f"at s{self.state} {left}"
        return f"You have {left} turns left.\n{self.task.source.state_text(self.state)}"

    def _effect(self, seen: Seen) -> str:
        """What an action did: before, after and the environment's own reward, from which a player can tell the move."""
        if self._rendering == "compact":
            return f"{CODES[seen.code]} s{seen.before} s{seen.after.state} {seen.after.reward:g}"
        what = f"Action {CODES[seen.code]} gave reward {seen.after.reward:g}"
        if seen.after.state == seen.before:
            return f"{what} and changed nothing."
        before, after = (self.task.source.state_text(state) for state in (seen.before, seen.after.state))
        return f"{what}.\nBefore:\n{before}\nAfter:\n{after}"


Constraints = Mapping[int, frozenset[int]]  # for a code, the actions that it may still stand for
NOTHING_SEEN: Constraints = MappingProxyType({})


def constrain(seen: Iterable[Seen], source: ToyText, known: Constraints = NOTHING_SEEN) -> Constraints:
    """What executed actions say about the codes, on top of what is known."""
    found = dict(known)
    for one in seen:
        outcomes = source.table.moves[one.before]
        alike = frozenset(action for action, outcome in enumerate(outcomes) if outcome == one.after)
        found[one.code] = found.get(one.code, alike) & alike
    return found


def possible(actions: int, known: Constraints) -> tuple[tuple[int, ...], ...]:
    """The permutations of so many actions that agree with what is known."""
    return _possible(actions, tuple(sorted((code, tuple(sorted(may_be))) for code, may_be in known.items())))


@lru_cache(maxsize=4096)
def _possible(actions: int, known: tuple[tuple[int, tuple[int, ...]], ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(p for p in permutations(range(actions)) if all(p[code] in may_be for code, may_be in known))


def known_facts(left: Sequence[tuple[int, ...]]) -> dict[int, int]:
    """What all permutations that are left agree on: code → action."""
    columns = [set(column) for column in zip(*left, strict=True)]
    return {code: next(iter(actions)) for code, actions in enumerate(columns) if len(actions) == 1}
