"""How numbers are written for people: one format for tables, pages and messages.

Counts are whole, everything else has three significant digits, shares have two decimals. Rounding never turns a number
into 0, or a share into 1, that is not exactly that: 0.004 is not 0.00, and 99.7 % of the tasks are not all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

_SAME = 1e-9  # nearer than this is equal: what is left is the arithmetic's own rounding
_ONE_SHARE, _ALL_POINTS = 1.0, 100.0
_MINUS, _NO_BREAK = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


def number(value: float) -> str:
    """Any quantity: whole numbers as such, others with three significant digits (0.000667, 41325, 1e-7)."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    if 1000 <= abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+").replace("e+", "e")


def share(value: float) -> str:
    """A share from 0 to 1: 0.45."""
    return _rounded(value, 2, (0.0, _ONE_SHARE))


def difference(value: float) -> str:
    """A difference of two shares, with its sign: +0.45."""
    text = _rounded(value, 2, (0.0, _ONE_SHARE, -_ONE_SHARE))
    return f"+{text}" if value > _SAME else text


def percent(value: float) -> str:
    """A share in percent: 45 %."""
    return f"{points(value)}{_NO_BREAK}%"


def points(value: float) -> str:
    """A share in percent without the sign for it."""
    return _rounded(100 * value, 0, (0.0, _ALL_POINTS)).replace("-", _MINUS)


def signed_points(value: float) -> str:
    """A difference of two shares in percentage points: +45, −3, 0."""
    text = _rounded(100 * value, 0, (0.0, _ALL_POINTS, -_ALL_POINTS)).replace("-", _MINUS)
    return f"+{text}" if value > _SAME else text


class Interval(Protocol):
    """A mean with the ends of its interval."""

    @property
    def mean(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def with_interval(estimate: Interval, show: Callable[[float], str] = share) -> str:
    """Mean and 95 % interval, which no table wraps: 0.45 [0.42 0.48]."""
    return f"{show(estimate.mean)} [{show(estimate.low)}{_NO_BREAK}{show(estimate.high)}]"


def counted(count: int, noun: str) -> str:
    """A number of things: 1 job, 2 jobs, 1,204 replies."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Several of a thing, by the regular rules: trials, replies, processes."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def is_or_are(count: int) -> str:
    """The verb that follows a count: 1 trial is, 2 trials are."""
    return "is" if count == 1 else "are"


def was_or_were(count: int) -> str:
    """The same in the past."""
    return "was" if count == 1 else "were"


def position(index: int) -> int:
    """The number of a position as people count: the first task is 1. Files count from 0."""
    return index + 1


def _rounded(value: float, decimals: int, ends: Sequence[float]) -> str:
    """Rounded, with more decimals where it would otherwise become an end that it is not."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{decimals}f}"
    for end in ends:
        gap = abs(value - end)
        if gap <= _SAME:
            return f"{end:.{decimals}f}"
        if float(text) == end:
            return f"{value:.{-math.floor(math.log10(gap) + _SAME)}f}"
    return text
