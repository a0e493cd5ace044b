"""The hidden constants as they follow from tables of past steps: least squares of the next velocity on (v, u)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codctl.envs.optimal_control.dynamics import ControlWorld, Course

TOLERANCE = 0.1  # a stated constant is right within this
_ROUNDING = 0.0005 * math.sqrt(2)  # of a table with three decimals: standard deviation of a next velocity, at most
_SURE = 3.0  # standard errors
_LARGEST_RESIDUAL = 0.004  # what rounding explains, for any constants that are drawn
Row = tuple[float, float, float]  # velocity, push, next velocity


@dataclass(frozen=True)
class Estimate:
    """Least squares; a constant that the rows do not determine is None.

    Attributes:
        a: What remains of the velocity.
        b: What a push adds.
        a_error: Standard error that rounding leaves.
        b_error: The same.
    """

    a: float | None
    b: float | None
    a_error: float = math.inf
    b_error: float = math.inf

    @property
    def world(self) -> ControlWorld | None:
        """Both constants, as soon as the sign of b is sure: a feedback forgives wrong digits."""
        if self.a is None or self.b is None or abs(self.b) <= self.b_error * _SURE:
            return None
        return ControlWorld(self.a, self.b)

    @property
    def known(self) -> set[str]:
        """Names of the facts that the rows determine."""
        found = {"a"} if self.a is not None and self.a_error * _SURE <= TOLERANCE else set()
        if self.b is not None and self.b_error * _SURE <= TOLERANCE:
            found |= {"b", "sign"}
        return found


def estimate(courses: Iterable[Course]) -> Estimate:
    """Fit all steps of some courses, as they are shown.

    How well the rows determine a constant is told by the covariance of the fit. Without any push, or with pushes that
    only repeat the velocities, it is unbounded.
    """
    return _fit([row for course in courses for row in course.rows()])


def newest_consistent(courses: Sequence[Course]) -> list[Course]:
    """The newest courses that one pair of constants explains: the world may have changed, or someone have lied."""
    kept: list[Course] = []
    rows: list[Row] = []
    for course in reversed(courses):
        more = rows + course.rows()
        if not _explains(_fit(more), more):
            break
        kept, rows = [course, *kept], more
    return kept


def _fit(rows: Sequence[Row]) -> Estimate:
    vv = sum(v * v for v, _, _ in rows)
    uu = sum(u * u for _, u, _ in rows)
    vu = sum(v * u for v, u, _ in rows)
    vy = sum(v * y for v, _, y in rows)
    uy = sum(u * y for _, u, y in rows)
    if not uu and not vv:
        return Estimate(None, None)
    if not uu:
        return Estimate(vy / vv, None, _ROUNDING / math.sqrt(vv))
    if not vv:
        return Estimate(None, uy / uu, b_error=_ROUNDING / math.sqrt(uu))
    determinant = vv * uu - vu * vu
    if determinant <= 1e-12 * vv * uu:  # pushes in proportion to the velocities
        return Estimate(None, None)
    return Estimate(
        (uu * vy - vu * uy) / determinant,
        (vv * uy - vu * vy) / determinant,
        _ROUNDING * math.sqrt(uu / determinant),
        _ROUNDING * math.sqrt(vv / determinant),
    )


def _explains(found: Estimate, rows: Sequence[Row]) -> bool:
    a, b = found.a or 0.0, found.b or 0.0
    if found.a is None and found.b is None:
        return True
    return all(abs(y - a * v - b * u) <= _LARGEST_RESIDUAL for v, u, y in rows)
