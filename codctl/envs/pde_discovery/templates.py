"""The published lists of reactions: which terms go together, and their signs.

Source: ground_truth_families/*.json of Trinity-RFT's PDE discovery, in their order, which fixes the published
evaluation. S = sin u, S2 = sin 2u, E = eᵘ − 1, L = ln(1 + u²), T = tanh u, h1 = u/(1 + u²), h2 = u²/(1 + u²),
h4 = u⁴/(1 + u⁴), H = u/(1 + u + u²); digits are powers of u.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from codctl.envs.pde_discovery.terms import TERMS

Template = tuple[tuple[int, int], ...]  # (place of the term in TERMS, sign), in the order of TERMS
_SHORT = dict(
    zip(["1", "2", "3", "4", "5", "7", "S", "S2", "E", "L", "T", "h1", "h2", "h4", "H"], range(len(TERMS)), strict=True)
)
_SIGNED = re.compile(r"([+-])(\w+)")


def _templates(text: str) -> tuple[Template, ...]:
    return tuple(
        tuple(sorted((_SHORT[name], 1 if sign == "+" else -1) for sign, name in _SIGNED.findall(word)))
        for word in text.split()
    )


_TRAIN = _templates(
    "-1 -3 -S -T -h2 +1-2 +1-3 +1-5 +2-4 +S-3 +E-2 +L-2 +T-2 +T-3 +h1-2 +h1-3 +h2-1 +h2-3 +3-5 -1+T -1+h4 -1+H +S2-2 "
    "+S2-3 +S2-5 +S-4 +T-4 +h1-4 +H-2 +H-3 -S2-2 -S2-3 -S2-5 -S-4 -S-3 -1+h1 -2+h2 +3-7 +2-5 +h2-5"
)
_EVAL = _templates(
    "+1-4 +2-3 +S-5 +E-3 +L-4 +T-5 +h1-5 +h2-4 +1-7 +S-S2 +h2-h4 +E-5 -E+S +5-7 -T+h1 +3-4 -L+h2 +1+2-3 +1+T-3 +1-3-5 "
    "+S-S2-3 +1+3-7 +h2+h4-5 +E+T-7 +S2+h2-7"
)
_MEDIUM = (*_EVAL[:10], *_templates("+S+S2 +h2-h4 -h2+h4 -S-S2 -S+S2"))
_EASY = _templates("-1 -3 -5 -T -h1 -L -h2 +1-2 +1-3 +1-5 +2-3 +S-3 +T-3 +h1-3 +T-2 +h1-2 +L-2")


@dataclass(frozen=True)
class Preset:
    """From what the reactions of a preset are drawn.

    Attributes:
        templates: The reactions without their magnitudes.
        most_terms: As many terms as an equation may have, which the prompt says.
        amplitude: The largest amplitude of an initial state. It is the largest multiple of 3/64 at which sin(πx) stays
            below 3 in the published check of every template at every corner of the magnitudes.
    """

    templates: tuple[Template, ...]
    most_terms: int
    amplitude: float


PRESETS = {
    "train": Preset(_TRAIN, 2, 2.765625),
    "hard": Preset(_EVAL, 3, 2.765625),
    "eval-18": Preset((*_EVAL[:12], *_EVAL[17:23]), 3, 2.765625),
    "medium": Preset(_MEDIUM, 2, 2.765625),
    "easy": Preset(_EASY, 2, 2.953125),
}
