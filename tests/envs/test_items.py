"""Every family's hints can be edited: the items of a hint say together what the hint says."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from codctl.cod.delta import is_word, items_of, text_of
from codctl.cod.references import reference_player
from codctl.cod.rollout import play_all
from codctl.cod.trajectory import Trajectory
from codctl.envs.base import Pack, Rendering
from codctl.envs.registry import FAMILIES, get_family

PRESETS = {"grid_navigation": ("tiny",), "optimal_control": ("easy", "tiny"), "pde_discovery": ("easy", "tiny")}
CASES = [
    (name, preset, rendering)
    for name in FAMILIES.built_in
    for preset in PRESETS.get(name, get_family(name).presets[:1])
    for rendering in get_family(name).renderings
]


def play(name: str, packs: list[Pack], rendering: Rendering, update: str) -> list[Trajectory]:
    player = reference_player("demonstrator", rendering, 0, update)  # type: ignore[arg-type]
    return asyncio.run(play_all(player, packs, 1))


@pytest.mark.parametrize(("name", "preset", "rendering"), CASES)
def test_items_say_what_the_hint_says(name: str, preset: str, rendering: Rendering) -> None:
    family = get_family(name)
    packs = [family.pack("test", index, 3, preset) for index in range(3)]
    hints = {pack.id: [family.truth(pack.world, rendering)] for pack in packs}
    for pack in packs:
        hints[pack.id] += [family.partial_truth(pack.world, rendering, Random(seed)) for seed in range(3)]
    played = {one.pack: one for one in play(name, packs, rendering, "rewrite")}
    for pack in packs:
        for text in [*hints[pack.id], *(revision.text for revision in played[pack.id].revisions)]:
            items = family.items(text, rendering)
            again = text_of(items, rendering)
            assert family.score_context(pack.world, again, []) == family.score_context(pack.world, text, [])
            assert items_of(again, rendering) == items
            assert rendering != "compact" or all(map(is_word, items))
    [edited] = play(name, packs[:1], rendering, "delta")
    assert {e.outcome for e in edited.of("update")} <= {"written", "unchanged"}


@pytest.mark.parametrize("hint", ["none", "Nothing noted yet.", "No recipe is known yet.", ""])
def test_a_hint_that_knows_nothing_has_no_items(hint: str) -> None:
    assert get_family("alchemy").items(hint, "full") == ()
