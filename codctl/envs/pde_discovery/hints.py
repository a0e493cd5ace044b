"""How right a hint about a reaction is."""

from __future__ import annotations

from collections.abc import Sequence

from codctl.envs.base import HintScore
from codctl.envs.pde_discovery.claims import CLOSE, claims
from codctl.envs.pde_discovery.episode import PdeEpisode, normalised_l1
from codctl.envs.pde_discovery.policies import belief_in, data_of
from codctl.envs.pde_discovery.world import PdeWorld


def score(world: PdeWorld, hints: str, seen: Sequence[PdeEpisode]) -> HintScore:
    """Two facts for each term: that it is there (with its sign, if the hint says one), and its coefficient within 10 %.

    They are knowable once one combination of terms explains the data seen clearly better than any other.
    """
    true, said = world.equation, claims(hints)
    truth = {(kind, term) for kind in ("term", "coefficient") for term in true}
    claimed = {("term", term) for term in said.signs} | {
        ("coefficient", term) for term in said.equation if term in true
    }
    right = {("term", term) for term, sign in said.signs.items() if term in true and sign * true[term] >= 0}
    right |= {("coefficient", k) for k, c in said.equation.items() if k in true and abs(c / true[k] - 1) <= CLOSE}
    belief = belief_in(data_of(seen), world.preset.most_terms)
    is_known = belief is not None and belief.is_sure and set(belief.best) == set(true)
    detail = {"normalised_l1": normalised_l1(said.equation, true)} if said.equation else {}
    return HintScore.of(claimed, right, truth, truth if is_known else set(), detail)
