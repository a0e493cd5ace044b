"""Which reactions explain some data: every support, compared with a price for its size.

States and targets are both noisy. A point's weight is therefore 1/(σ_y² + (σ_u·f′(u))²), which follows from the fit
itself and is found in a few rounds. A support's score is the deviance of its fit plus ln(points + 1) for each term (the
Bayesian information criterion); one with a coefficient outside of what the generator draws is out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np

from codctl.envs.pde_discovery.regression import Support
from codctl.envs.pde_discovery.terms import TERMS, Array, columns, slope_columns
from codctl.envs.pde_discovery.world import STATE_NOISE, TARGET_NOISE

PLAUSIBLE = 0.4, 2.3  # magnitudes: those of the generator, with room for the noise
SURE = 6.0  # a lead of this score is a likelihood ratio of twenty
_ROUNDS = 3
_ABSURD = 10  # deviance for each point, which is expected to be about 1
_OUT = 1e9  # added to the score of an implausible fit: the least bad one leads where none is plausible


@dataclass(frozen=True)
class Belief:
    """What leads, and how clearly.

    Attributes:
        equation: The best support with its coefficients.
        score: Its score; lower is better.
        lead: How much worse the next support is.
        points: Of the data.
    """

    equation: dict[int, float]
    score: float
    lead: float
    points: int

    @property
    def best(self) -> Support:
        return tuple(self.equation)

    @property
    def explains(self) -> bool:
        """Whether the best support explains the data; else they do not stem from one reaction."""
        return self.score < _ABSURD * (self.points + 5)

    @property
    def is_sure(self) -> bool:
        return self.lead >= SURE


def believe(u: Array, y: Array, most_terms: int) -> Belief:
    """Compare all supports of at most so many terms."""
    return _believe(u.tobytes(), y.tobytes(), most_terms)


@lru_cache(maxsize=512)  # hints are scored several times on the same data
def _believe(u: bytes, y: bytes, most_terms: int) -> Belief:
    return compare(np.frombuffer(u), np.frombuffer(y), all_supports(most_terms))


def all_supports(most_terms: int) -> list[Support]:
    return [s for size in range(1, most_terms + 1) for s in combinations(range(len(TERMS)), size)]


def compare(u: Array, y: Array, supports: Sequence[Support]) -> Belief:
    """Score these supports."""
    scored: list[tuple[float, Support, list[float]]] = []
    for size in sorted({len(support) for support in supports}):
        chosen = [support for support in supports if len(support) == size]
        scores_S, fit_SK = _scores(u, y, np.array(chosen))
        scored += zip(scores_S.tolist(), chosen, fit_SK.tolist(), strict=True)
    scored.sort()
    score, support, fit = scored[0]
    lead = scored[1][0] - score if len(scored) > 1 else math.inf
    return Belief(dict(zip(support, fit, strict=True)), score, lead, len(u))


def _scores(u: Array, y: Array, supports_SK: np.ndarray) -> tuple[Array, Array]:
    """S supports of K terms, on N points."""
    theta_SNK = columns(u)[:, supports_SK].transpose(1, 0, 2)
    slopes_SNK = slope_columns(u)[:, supports_SK].transpose(1, 0, 2)
    size = supports_SK.shape[1]
    weights_SN = np.full(theta_SNK.shape[:2], TARGET_NOISE**-2)
    for _ in range(_ROUNDS + 1):
        weighted_SNK = theta_SNK * weights_SN[..., None]
        gram_SKK = weighted_SNK.transpose(0, 2, 1) @ theta_SNK
        # A ridge far below any information that counts keeps alike terms solvable.
        gram_SKK += 1e-12 * np.trace(gram_SKK, axis1=1, axis2=2)[:, None, None] * np.eye(size)
        fit_SK = np.linalg.solve(gram_SKK, (weighted_SNK.transpose(0, 2, 1) @ y)[..., None])[..., 0]
        slope_SN = (slopes_SNK @ fit_SK[..., None])[..., 0]
        variance_SN = TARGET_NOISE**2 + (STATE_NOISE * slope_SN) ** 2
        residual_SN = y - (theta_SNK @ fit_SK[..., None])[..., 0]
        weights_SN = 1 / variance_SN
    deviance_S = (residual_SN**2 / variance_SN).sum(axis=1)
    magnitude_SK = np.abs(fit_SK)
    is_out_S = ((magnitude_SK < PLAUSIBLE[0]) | (magnitude_SK > PLAUSIBLE[1])).any(axis=1)
    scores_S: Array = deviance_S + size * np.log(len(u) + 1) + _OUT * is_out_S
    return scores_S, fit_SK
