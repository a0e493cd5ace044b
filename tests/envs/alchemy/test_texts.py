"""Golden texts: what a model reads, word for word."""

from __future__ import annotations

from random import Random

import pytest

from codctl.envs.alchemy import text
from codctl.envs.alchemy.world import AlchemyEpisode
from codctl.envs.registry import get_family

ALCHEMY = get_family("alchemy")

FULL_FIRST = """Round 1 of 8. Nothing is mixed yet.
Tier 0: kir, vol, tham
Tier 1: opal, dus
Tier 2: zemqu
Target: zemqu (tier 2)
You have: kir, vol, tham"""

FULL_TRANSCRIPT = """Task: make zemqu (tier 2) in 8 rounds.
Tier 0: kir, vol, tham
Tier 1: opal, dus
Tier 2: zemqu
Round 1: You mixed kir + vol: it made opal.
Round 2: You tried opal + dus: you have none of dus, so nothing was mixed.
Round 3: You mixed opal + opal: it made nothing."""


def test_full(world, task) -> None:
    episode = AlchemyEpisode(world, task, "full")
    assert episode.observation == FULL_FIRST == ALCHEMY.describe_task(world, task)
    assert episode.act("kir + vol").observation == (
        "Round 2 of 8. You mixed kir + vol: it made opal.\nTarget: zemqu (tier 2)\nYou have: kir, vol, tham, opal"
    )
    episode.act("opal + dus")
    episode.act("opal + opal")
    assert episode.transcript() == FULL_TRANSCRIPT


def test_full_with_limited_material(scarce_world, scarce_task) -> None:
    episode = AlchemyEpisode(scarce_world, scarce_task, "full")
    assert episode.observation.splitlines()[-1] == "You have: kir ×4, vol ×4, tham ×4"
    assert episode.act("kir + vol").observation.splitlines()[-1] == "You have: kir ×3, vol ×3, tham ×4, opal ×1"


def test_compact(world, task) -> None:
    episode = AlchemyEpisode(world, task, "compact")
    assert episode.observation == "make A 8 tiers 3 2 1"
    assert episode.transcript() == "none"
    assert episode.act("m: a+b").observation == "m=a+b make A 7 have m"
    assert episode.act("m+n").observation == "lack=n make A 6 have m"
    assert episode.act("m+Z").observation == "unknown make A 5 have m"
    assert episode.act("m+m").observation == "dud=m+m make A 4 have m"
    assert episode.act("b+a").observation == "m=a+b make A 3 have m"
    assert episode.transcript() == "m=a+b dud=m+m m=a+b"


def test_compact_tiny_has_a_small_fixed_vocabulary() -> None:
    words = set()
    for index in range(50):
        slot = ALCHEMY.pack("train", index, 1, "tiny").slots[0]
        episode = slot.begin("compact")
        assert episode.observation == f"make {episode.words[slot.task.target]} 2"  # type: ignore[attr-defined]
        words |= {fact.split("=")[0] for fact in ALCHEMY.truth(slot.world, "compact").split()}
    assert words == set("mnopq")


@pytest.mark.parametrize(
    ("rendering", "hint"),
    [
        ("compact", "m=a+b n=c+c A=m+n"),
        ("full", "- kir + vol makes opal.\n- tham + tham makes dus.\n- opal + dus makes zemqu."),
    ],
)
def test_truth(world, rendering, hint: str) -> None:
    assert ALCHEMY.truth(world, rendering) == hint
    facts = hint.split("\n" if rendering == "full" else " ")
    drawn = {ALCHEMY.partial_truth(world, rendering, Random(seed)) for seed in range(300)}
    separator = "\n" if rendering == "full" else " "
    # any part in any order: 1 + 3 + 6 + 6
    assert len(drawn) == 16
    assert all(set(part.split(separator)) <= {*facts, ""} for part in drawn)


def test_nothing_known(world) -> None:
    assert text.hint_from(world, [], "compact") == "none"
    assert text.hint_from(world, [], "full") == "No recipe is known yet."


def test_replies(world) -> None:
    assert text.reply(world.words("compact"), 3, (0, 1), "compact") == "<answer> m: a+b </answer>"
    assert text.reply(world.words("compact"), None, (0, 1), "compact") == "<answer> a+b </answer>"
    assert text.reply(world.names, 3, (0, 1), "full") == "<answer>kir + vol</answer>"
    assert text.reply(world.names, None, (0, 1), "full") == "<answer>kir + vol</answer>"


def test_prompts() -> None:
    assert ALCHEMY.solve_prompt("", "compact", "tiny") == "brew hints none"
    assert ALCHEMY.solve_prompt("m=a+b", "compact", "tiny") == "brew hints m=a+b"
    easy, hard = (ALCHEMY.solve_prompt("- x + y makes z.", "full", preset) for preset in ("easy", "hard"))
    assert "has one recipe: two elements of the tier just below" in easy
    assert "Elements are not used up" in easy
    assert "has one or two recipes" in hard
    assert "each mix takes both of its elements" in hard
    assert "- x + y makes z." in easy
    assert "(none yet)" in ALCHEMY.solve_prompt("", "full", "easy")
