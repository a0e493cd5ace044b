"""The fifteen functions of which a reaction is made, in the published order, with their slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Array]
Equation = Mapping[int, float]  # place of a term in TERMS → its coefficient, which is not 0


def _powers(exponent: int) -> tuple[Function, Function]:
    return lambda u: u**exponent, lambda u: exponent * u ** (exponent - 1)


_FUNCTIONS: dict[str, tuple[Function, Function]] = {  # a term, its values, its slopes
    "u": (lambda u: u, np.ones_like),
    "u**2": _powers(2),
    "u**3": _powers(3),
    "u**4": _powers(4),
    "u**5": _powers(5),
    "u**7": _powers(7),
    "sin(u)": (np.sin, np.cos),
    "sin(2*u)": (lambda u: np.sin(2 * u), lambda u: 2 * np.cos(2 * u)),
    "exp(u)-1": (np.expm1, np.exp),
    "log(1+u**2)": (lambda u: np.log1p(u**2), lambda u: 2 * u / (1 + u**2)),
    "tanh(u)": (np.tanh, lambda u: 1 - np.tanh(u) ** 2),
    "u/(1+u**2)": (lambda u: u / (1 + u**2), lambda u: (1 - u**2) / (1 + u**2) ** 2),
    "u**2/(1+u**2)": (lambda u: u**2 / (1 + u**2), lambda u: 2 * u / (1 + u**2) ** 2),
    "u**4/(1+u**4)": (lambda u: u**4 / (1 + u**4), lambda u: 4 * u**3 / (1 + u**4) ** 2),
    "u/(1+u+u**2)": (lambda u: u / (1 + u + u**2), lambda u: (1 - u**2) / (1 + u + u**2) ** 2),
}
TERMS = tuple(_FUNCTIONS)
_VALUES = tuple(values for values, _ in _FUNCTIONS.values())
_SLOPES = tuple(slopes for _, slopes in _FUNCTIONS.values())


def columns(u: Array, terms: Sequence[int] = range(len(TERMS))) -> Array:
    """Values of terms at states, shape (states, terms)."""
    return np.stack([_VALUES[term](u) for term in terms], axis=-1)


def slope_columns(u: Array, terms: Sequence[int] = range(len(TERMS))) -> Array:
    """Slopes of terms at states, shape (states, terms)."""
    return np.stack([_SLOPES[term](u) for term in terms], axis=-1)


def reaction(equation: Equation, u: Array) -> Array:
    """f(u), in the shape of `u`."""
    total = np.zeros_like(u)
    for term, coefficient in equation.items():
        total += coefficient * _VALUES[term](u)
    return total


def in_order(pairs: Iterable[tuple[int, float]]) -> dict[int, float]:
    """An equation whose terms stand in the order of the list."""
    return dict(sorted(pairs))
