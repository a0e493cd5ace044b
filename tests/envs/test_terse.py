"""The terse rendering, for small pretrained models: what it says, and that hints in it are read back."""

from __future__ import annotations

from random import Random

import pytest

from codctl.envs.frozen_lake.world import LakeEpisode, LakeTask, LakeWorld
from codctl.envs.registry import get_family

FAMILIES = ("frozen_lake", "alchemy", "terminal", "learn2ask", "optimal_control", "grid_navigation")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_rules_fit_in_eighty_words(name: str) -> None:
    family = get_family(name)
    for preset in family.presets:
        rules = family.rules(preset, "terse")
        assert len(rules.split()) <= 80
        prompt = family.solve_prompt("THE HINTS", "terse", preset)
        assert prompt.startswith(rules)
        assert "Hints from earlier tasks: THE HINTS\n" in prompt
        assert "none yet" in family.solve_prompt("", "terse", preset)


@pytest.mark.parametrize("name", FAMILIES)
def test_hints_in_words_are_read_back(name: str) -> None:
    family = get_family(name)
    for index in range(5):
        world = family.pack("train", index, 1, "easy" if "easy" in family.presets else family.presets[0]).world
        score = family.score_context(world, family.truth(world, "terse"), [])
        assert (score.right, score.wrong, score.missing) == (family.facts(world), 0, 0)
        part = family.partial_truth(world, "terse", Random(index))
        assert family.score_context(world, part, []).wrong == 0


def test_frozen_lake() -> None:
    holes = frozenset({(0, 1), (1, 2)})
    episode = LakeEpisode(LakeWorld((3, 0, 1, 2)), LakeTask(3, holes, (0, 0), (1, 1), 4), "terse")
    assert episode.observation == (
        "Rows are a, b, c from the top, columns 1, 2, 3 from the left. Holes: a2, b3. You are at a1. "
        "The goal is 1 down, 1 right. Hole next to you: right. 4 turns left."
    )
    assert episode.act("Q").observation == (
        "Q ran into the border. You are at a1. The goal is 1 down, 1 right. Hole next to you: right. 3 turns left."
    )
    assert episode.act("X").observation == "X moved you down. You are at b1. The goal is 1 right. 2 turns left."
    assert episode.transcript() == "Q ran into the border. X moved you down."
    assert LakeEpisode(LakeWorld((3, 0, 1, 2)), LakeTask(3, frozenset(), (0, 0), (2, 1), 1), "terse").observation == (
        "The goal is 2 down, 1 right. 1 turn left."
    )
