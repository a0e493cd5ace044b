"""Sparse regression: the tool that an agent calls.

Source: regression.py of Trinity-RFT. The published tool also screens all terms by a thresholded ridge for one more
support to try. That support is never larger than the enumerated ones, so that it is among them: the screening, and
with it the ridge strength `alpha`, changes nothing and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from codctl.envs.pde_discovery.equations import write
from codctl.envs.pde_discovery.terms import Array, columns, reaction

Support = tuple[int, ...]
RIDGE = 1e-8
KAPPA_LIMIT = 100.0
_WORST_KAPPA = 1e12


@dataclass(frozen=True)
class Candidate:
    """An equation as it is printed, with its largest absolute error on the data."""

    equation: dict[int, float]
    error: float

    @property
    def support(self) -> Support:
        return tuple(self.equation)

    def __str__(self) -> str:
        return write(self.equation)


@dataclass(frozen=True)
class Regression:
    """What a regression found.

    Attributes:
        candidates: Scored equations; of equals the first in the order of supports leads.
        u: States of the data.
        y: Their targets.
        dictionary: Terms that it chose from.
    """

    candidates: tuple[Candidate, ...]
    u: Array
    y: Array
    dictionary: Support

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    def rival(self, support: Support) -> Candidate | None:
        """The best candidate with another support."""
        return next((one for one in self.candidates if one.support != support), None)

    def margin_of(self, support: Support, error: float) -> float | None:
        """By how much the best rival of an equation is worse, relative to its error; None without a rival."""
        rival = self.rival(support)
        if rival is None:
            return None
        gap = max(0.0, rival.error - error)
        if error > 0:
            return gap / error
        return math.inf if gap else 0.0

    @property
    def predicted(self) -> Array:
        """Targets by the best candidate."""
        return reaction(self.best.equation, self.u)

    def kappa(self, support: Support) -> float:
        return kappa(self.u, support)


def regress(
    u: Array, y: Array, terms: Sequence[int], most_terms: int, threshold: float, supports: Iterable[Support] = ()
) -> Regression:
    """Fit every support of at most so many terms, or only the given ones, and order them by their largest error.

    Args:
        u: States, shape (points,).
        y: Targets, shape (points,).
        terms: To choose from.
        most_terms: In one equation.
        threshold: Terms whose coefficient is smaller are dropped, and the others fitted again.
        supports: What is tried; empty tries all.
    """
    theta = columns(u)
    usable = [term for term in sorted(set(terms)) if np.linalg.norm(theta[:, term]) > 1e-12]
    tried = {tuple(term for term in support if term in usable) for support in supports}
    if not tried:
        tried = {s for size in range(1, min(most_terms, len(usable)) + 1) for s in combinations(usable, size)}
    fits = _fit_all(theta, y, tried, threshold)
    order = sorted(tried)
    coefficients = np.zeros((len(order), theta.shape[1]))
    equations = []
    for place, support in enumerate(order):
        equation = _as_printed(*fits[support])
        equations.append(equation)
        coefficients[place, list(equation)] = list(equation.values())
    with np.errstate(over="ignore", invalid="ignore"):
        errors = np.abs(y[:, None] - theta @ coefficients.T).max(axis=0)
    errors = np.where(np.isfinite(errors), errors, math.inf).tolist()
    ranked = sorted(range(len(order)), key=errors.__getitem__)
    return Regression(tuple(Candidate(equations[i], errors[i]) for i in ranked), u, y, tuple(sorted(set(terms))))


def _fit_all(
    theta: Array, y: Array, supports: Iterable[Support], threshold: float
) -> dict[Support, tuple[Support, list[float]]]:
    """For each support the terms that are left, with their coefficients."""
    by_size: dict[int, set[Support]] = {}
    for support in supports:
        by_size.setdefault(len(support), set()).add(support)
    gram, right = theta.T @ theta, theta.T @ y
    fits: dict[Support, tuple[Support, list[float]]] = {(): ((), [])}
    reduced: dict[Support, Support] = {}
    for size in range(max(by_size, default=0), 0, -1):
        order = sorted(by_size.get(size, ()))
        if not order:
            continue
        places = np.array(order)
        fitted = _solve(gram[places[:, :, None], places[:, None, :]] + RIDGE * np.eye(size), right[places])
        kept = np.abs(fitted) >= threshold
        for support, coefficients, keeps in zip(order, fitted.tolist(), kept.tolist(), strict=True):
            if all(keeps):
                fits[support] = support, coefficients
            else:
                rest = tuple(term for term, keep in zip(support, keeps, strict=True) if keep)
                reduced[support] = rest
                by_size.setdefault(len(rest), set()).add(rest)
    for support in sorted(reduced, key=len):  # what it was reduced to is smaller, and done before it
        fits[support] = fits[reduced[support]]
    return fits


def _solve(grams: Array, rights: Array) -> Array:
    """Solve many small systems; a singular one by least squares."""
    try:
        return np.asarray(np.linalg.solve(grams, rights[..., None])[..., 0], dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.stack([np.linalg.lstsq(g, r, rcond=None)[0] for g, r in zip(grams, rights, strict=True)])


def _as_printed(support: Support, coefficients: Sequence[float]) -> dict[int, float]:
    """The equation that its text states: three decimals, then three digits."""
    if not all(map(math.isfinite, coefficients)):
        return {}
    rounded = {term: float(f"{round(c, 3):.3g}") for term, c in zip(support, coefficients, strict=True)}
    return {term: c for term, c in rounded.items() if c}


def kappa(u: Array, support: Support) -> float:
    """Condition number of the normalised columns of a support: how alike its terms are on these states."""
    if not support:
        return _WORST_KAPPA
    theta = columns(u, support)
    norms = np.linalg.norm(theta, axis=0)
    if not (norms > 1e-12).any():
        return _WORST_KAPPA
    singular = np.linalg.svd(theta[:, norms > 1e-12] / norms[norms > 1e-12], compute_uv=False)
    return _WORST_KAPPA if singular[-1] <= 1e-12 else min(float(singular[0] / singular[-1]), _WORST_KAPPA)


def condition_penalty(kappa_of_support: float) -> float:
    """Decimal orders by which a condition number exceeds the limit."""
    return max(0.0, math.log10(kappa_of_support) - math.log10(KAPPA_LIMIT))


def largest_error(equation: dict[int, float], u: Array, y: Array) -> float:
    return float(np.abs(y - reaction(equation, u)).max())
