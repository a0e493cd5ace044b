"""What a hint says about the reaction: its last equation, and terms that it names without numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from codctl.envs.pde_discovery import equations
from codctl.envs.pde_discovery.terms import TERMS
from codctl.envs.wording import is_hedged, is_negated, plain

MOST_CHARACTERS = 20_000
CLOSE = 0.1  # relative error of a coefficient that counts as right


def _spaced(text: str) -> str:
    return r"\s*".join(map(re.escape, text))


_TERM = (
    "(?:"
    + "|".join(rf"(?:{_spaced(term)}|\(\s*{_spaced(term)}\s*\))" for term in sorted(TERMS, key=len, reverse=True))
    + ")"
)
_NAMED = re.compile(
    rf"(?:(?P<sign>[+-])\s?|(?<![\w.(*/]))(?:(?P<number>{equations.NUMBER})\s?\*?\s?)?(?P<term>{_TERM})(?!\s?[*/(=]|\w)",
    re.ASCII,
)
_ARITHMETIC = re.compile(r"(?<=[\w)])( ?)(\*\*?)\1(?=[\w(])", re.ASCII)  # other stars are Markdown
_BULLET = re.compile(r"^[ \t]*[-+*•][ \t]+", re.MULTILINE)  # no minus
_CLAUSE = re.compile(r"[;\n]|\.(?!\d)|,(?!\d)|\bbut\b", re.IGNORECASE)
_LEFT_SIDE = re.compile(r"f\s?(?:\(\s?u\s?\))?\s?=", re.ASCII)
_NEGATIVE = re.compile(r"\b(?:negative|minus|decreas\w+|sinks?)\b")
_POSITIVE = re.compile(r"\b(?:positive|plus|increas\w+)\b")
_OF_TERMS = re.compile(r"\b(?:terms?|supports?|functions?|f|reaction|equation|linear)\b")
_SPELLINGS = str.maketrans({"−": "-", "–": "-", "×": "·", "²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5", "⁷": "^7"})


@dataclass(frozen=True)
class Claims:
    """What a hint states.

    Attributes:
        equation: Its last equation with numbers; empty without one.
        signs: Terms with their signs, of that equation and of what is named without numbers; 0 where no sign is said.
    """

    equation: Mapping[int, float] = field(default_factory=dict)
    signs: Mapping[int, int] = field(default_factory=dict)


@lru_cache(maxsize=1024)  # an update and the task after it are scored with the same hints
def claims(hints: str) -> Claims:
    """Read a hint. A clause that denies something, or says what may be, claims nothing."""
    text = _ARITHMETIC.sub(_kept, _BULLET.sub("", hints[:MOST_CHARACTERS]).translate(_SPELLINGS))
    equation: dict[int, float] = {}
    named: dict[int, int] = {}
    for clause in _CLAUSE.split(plain(text)):
        said = clause.replace("^", "**").replace("·", "*").lower()
        if is_negated(said) or is_hedged(said):
            continue
        numbered: dict[int, float] = {}
        for one in _NAMED.finditer(_LEFT_SIDE.sub(" ", said)):
            term = equations.term_of("".join(one["term"].split()))
            sign = -1 if one["sign"] == "-" else 1
            if one["number"]:
                numbered[term] = numbered.get(term, 0.0) + sign * float(one["number"])
            elif term or one["sign"] or _OF_TERMS.search(said):  # u is also what the state is called
                named[term] = sign if one["sign"] else _sign_in_words(said)
        equation = {term: c for term, c in sorted(numbered.items()) if c} or equation
    signs = named | {term: 1 if c > 0 else -1 for term, c in equation.items()}
    return Claims(equation, dict(sorted(signs.items())))


def _kept(star: re.Match[str]) -> str:
    return "^" if star[2] == "**" else "·"


def _sign_in_words(clause: str) -> int:
    negative, positive = _NEGATIVE.search(clause), _POSITIVE.search(clause)
    return 0 if bool(negative) == bool(positive) else -1 if negative else 1
