from __future__ import annotations

import pytest

from codctl.cod.mixture import Mixture
from codctl.config.schema import MixtureRef, WorldConfig
from codctl.errors import UsageError


def mixture(lake: float, alchemy: float) -> Mixture:
    parts = ({"family": "frozen_lake", "weight": lake}, {"family": "alchemy", "weight": alchemy})
    return Mixture.of(WorldConfig.model_validate({"mixture": parts, "length": 2}))


def test_one_family_is_a_mixture_of_one() -> None:
    [only] = Mixture.of(WorldConfig(preset="easy")).parts
    assert only.family.name == "frozen_lake"
    assert only.world == MixtureRef(family="frozen_lake", preset="easy", variant="default")


def test_any_stretch_of_packs_has_the_families_in_the_proportion_of_their_weights() -> None:
    mixed = mixture(3.0, 1.0)
    for first in (0, 12_345, 7 * 10**9):
        names = [mixed.part(first + i).family.name for i in range(16)]
        assert 11 <= names.count("frozen_lake") <= 13


def test_a_pack_depends_on_its_number_only_and_seeds_do_not_share_packs() -> None:
    mixed = mixture(1.0, 1.0)
    assert mixed.packs("train", 1, 4, 3) == mixed.packs("train", 1, 0, 10)[4:7]
    ids = {pack.id for seed in range(3) for pack in mixed.packs("train", seed, 0, 20)}
    assert len(ids) == 60


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UsageError, match="unknown family 'frozen_lak'; did you mean 'frozen_lake'"):
        Mixture.of(WorldConfig(family="frozen_lak"))
