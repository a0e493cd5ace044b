"""Reads and writes equations: `0.61*u - 1.35*u**4`, `f(u) = 0.7*(exp(u)-1)`.

A closed grammar: summands, each an optional coefficient and a term of the list, and nothing else. Matching walks
forward only, so that time grows with the length of the text, which is bounded besides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from codctl.envs.pde_discovery.terms import TERMS, Equation, in_order

MOST_CHARACTERS = 400
NUMBER = r"(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(?:[eE][+-]?\d{1,3})?"
_BY_LENGTH = sorted(TERMS, key=len, reverse=True)
TERM = "(?:" + "|".join(rf"{re.escape(term)}|\({re.escape(term)}\)" for term in _BY_LENGTH) + ")"
_NAME = r"[a-z]\w{0,9}"
_SUMMAND = re.compile(
    rf"(?P<sign>[+-]?)(?:(?P<number>{NUMBER})\*?|(?P<name>{_NAME})\*)?(?P<term>{TERM})(?=[+-]|$)", re.ASCII
)
_LEFT_SIDE = re.compile(r"f(?:\(u\))?=", re.ASCII)
_SPELLINGS = str.maketrans(
    {"−": "-", "–": "-", "·": "*", "×": "*", "²": "**2", "³": "**3", "⁴": "**4", "⁵": "**5", "⁷": "**7"}
)


def write(equation: Equation) -> str:
    """As the regression prints it: three significant digits, terms with a sign inside in parentheses."""
    text = ""
    for term, coefficient in equation.items():
        sign = "-" if coefficient < 0 else "+"
        joint = f" {sign} " if text else sign.strip("+")
        text += f"{joint}{abs(coefficient):.3g}*{written(term)}"
    return text or "0"


def written(term: int) -> str:
    return f"({TERMS[term]})" if set(TERMS[term]) & set("+-") else TERMS[term]


def read(text: str) -> dict[int, float] | None:
    """The equation that a text is, with the coefficients of a repeated term added; None where it is none."""
    summands = _summands(text)
    if summands is None or any(coefficient is None for _, coefficient in summands):
        return None
    total: dict[int, float] = {}
    for term, coefficient in summands:
        total[term] = total.get(term, 0.0) + (coefficient or 0.0)
    if not all(map(math.isfinite, total.values())):
        return None
    return in_order((term, c) for term, c in total.items() if abs(c) > 1e-12) or None


def read_support(text: str) -> tuple[int, ...]:
    """The terms of an equation, whose coefficients may be names (`c1*u`); empty where it is none."""
    return tuple(sorted({term for term, _ in _summands(text) or ()}))


def has_names(text: str) -> bool:
    """Whether it is an equation but for coefficients that are names."""
    return any(coefficient is None for _, coefficient in _summands(text) or ())


def _summands(text: str) -> Sequence[tuple[int, float | None]] | None:
    """Terms with their coefficients (None: a name), or None where the text is no equation."""
    if len(text) > MOST_CHARACTERS:
        return None
    plain = "".join(text.translate(_SPELLINGS).lower().replace("^", "**").split())
    left = _LEFT_SIDE.match(plain)
    at = left.end() if left else 0
    found: list[tuple[int, float | None]] = []
    while at < len(plain):
        summand = _SUMMAND.match(plain, at)
        if summand is None or (found and not summand["sign"]):
            return None
        sign = -1.0 if summand["sign"] == "-" else 1.0
        coefficient = None if summand["name"] else sign * float(summand["number"] or 1)
        found.append((term_of(summand["term"]), coefficient))
        at = summand.end()
    return found or None


def term_of(text: str) -> int:
    """The place of a term, with or without parentheses around it."""
    return TERMS.index(text if text in TERMS else text[1:-1])
