"""What a hint claims, and how right it is."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.envs.alchemy.claims import claims
from codctl.envs.alchemy.text import hint_from
from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyWorld
from codctl.envs.base import Rendering
from codctl.envs.registry import get_family

ALCHEMY = get_family("alchemy")
TINY = ALCHEMY.pack("train", 0, 1, "tiny").world


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("", set()),
        ("none", set()),
        ("m=a+b", {"m=a+b"}),
        ("m=b+a", {"m=a+b"}),
        ("m = a + b", {"m=a+b"}),
        ("m: a+b", {"m=a+b"}),
        ("<answer> m: a+b </answer>", {"m=a+b"}),
        ("m=a+b n=c+c A=m+n", {"m=a+b", "n=c+c", "A=m+n"}),
        ("m=a+b, n=c+c", {"m=a+b", "n=c+c"}),
        ("dud=a+a m=a+b", {"dud=a+a", "m=a+b"}),
        ("a + b makes m", {"m=a+b"}),
        ("a + b -> m\nc + c → n", {"m=a+b", "n=c+c"}),
        ("a+b = m", {"m=a+b"}),
        ("- kir + vol makes opal.\n- tham + tham makes dus.", {"m=a+b", "n=c+c"}),
        ("Mix kir and vol to get opal", {"m=a+b"}),
        ("mix a and b to get m", {"m=a+b"}),
        ("Kir with Vol gives an Opal", {"m=a+b"}),
        ("opal is made of kir and vol", {"m=a+b"}),
        ("opal from kir + vol; dus from tham + tham", {"m=a+b", "n=c+c"}),
        ("To make opal, mix kir and vol", {"m=a+b"}),
        ("get opal by mixing vol with kir", {"m=a+b"}),
        ("opal needs kir and vol", {"m=a+b"}),
        ("kir + vol makes opal and tham + tham makes dus", {"m=a+b", "n=c+c"}),
        ("You mixed kir + vol: it made opal.", {"m=a+b"}),
        # as language models write: Markdown, quotes, other verbs
        ("- **a + c** = m\n- **c + c** = n", {"m=a+c", "n=c+c"}),
        ("**Recipes**:\n1. `kir` + `vol` = `opal`\n2. `tham` + `tham` = `dus`", {"m=a+b", "n=c+c"}),
        ('"kir" + "vol" makes "opal"', {"m=a+b"}),
        ("kir + vol = **opal** (tier 1)", {"m=a+b"}),
        ("kir + vol: opal", {"m=a+b"}),
        ("| kir + vol | opal |\n| tham + tham | dus |", {"m=a+b", "n=c+c"}),
        ("opal requires kir and vol", {"m=a+b"}),
        ("kir and vol combine to form opal", {"m=a+b"}),
        ("Combining kir with vol results in opal.", {"m=a+b"}),
        ("kir + vol ⇒ opal", {"m=a+b"}),
        ("If you mix kir and vol, you get opal.", {"m=a+b"}),
        ("opal can be made by mixing the elements kir and vol", {"m=a+b"}),
        ("Target opal: use kir + vol first", {"m=a+b"}),
        ("kir + vol makes opal, not dus", {"m=a+b"}),
        # what may be is no claim
        ("kir + vol might make opal", set()),
        ("kir + vol makes either opal or dus", set()),
        ("kir + vol makes opal or dus", set()),
        ("kir + vol = opal (uncertain)", set()),
        ("kir + vol = opal?", set()),
        ("I think kir + vol makes opal; tham + tham makes dus", {"n=c+c"}),
        ("Untested: kir + vol", set()),
        # a wrong claim is a claim
        ("A=a+b a=b+c", {"A=a+b", "a=b+c"}),
        ("m=a+b m=a+c", {"m=a+b", "m=a+c"}),
        # a negation claims nothing, and spoils only its own clause
        ("a + b does not make m", set()),
        ("a + b doesn't make m, c + c makes n", {"n=c+c"}),
        ("m is not a + b; n=c+c", {"n=c+c"}),
        ("kir + vol never gives opal but tham + tham gives dus", {"n=c+c"}),
        ("kir + tham makes nothing", set()),
        ("kir + kir failed", set()),
        # an observation states its fact and nothing about the target that follows
        ("m=a+b make n 3", {"m=a+b"}),
        ("dud=a+c make m 3", {"dud=a+c"}),
        # unknown names, and symbols in the wrong case
        ("x=a+b", set()),
        ("M=a+b", set()),
        ("brux + vol makes opal", set()),
        ("a b m", set()),
        ("make m 4", set()),
        ("=+=", set()),
    ],
)
def test_claims(world, hint: str, expected: set[str]) -> None:
    words = world.words("compact")
    written = {
        f"{'dud' if product is None else words[product]}={words[first]}+{words[second]}"
        for (first, second), product in claims(hint, world)
    }
    assert written == expected


FACTS = (
    "{p} + {q} = {c}",
    "**{p} + {q}** = {c}",
    "`{p}` + `{q}` = `{c}`",
    "- {p} + {q} → {c}",
    '"{p}" + "{q}" makes "{c}"',
    "{p} + {q}: {c}",
    "{c}={p}+{q}",
    "{c} = {p} + {q}",
    "{c} requires {p} and {q}",
    "{c} is made of {p} and {q}",
    "To make {c}, mix {p} and {q}.",
    "{p} and {q} combine to form {c}.",
    "Mixing {p} with {q} yields {c}!",
    "| {p} + {q} | {c} |",
)
NO_FACTS = (
    "{p} + {q} does not make {c}",
    "{p} + {q} never makes {c}",
    "{c} is not made of {p} and {q}",
    "{p} + {q} might make {c}",
    "Maybe {p} + {q} = {c}",
    "{c} = {p} + {q} (uncertain)",
    "{c} probably requires {p} and {q}",
    "Does {p} + {q} make {c}?",
)


def written(index: int, preset: str, forms: tuple[str, ...], rng: Random) -> tuple[AlchemyWorld, str]:
    """All recipes of a world in one of some forms each."""
    world = ALCHEMY.pack("train", index, 1, preset).world
    lines = []
    for (first, second), product in world.products.items():
        p, q = rng.sample((first, second), 2)
        lines.append(rng.choice(forms).format(p=world.names[p], q=world.names[q], c=world.names[product]))
    return world, "\n".join(lines)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 50), st.sampled_from(["tiny", "easy", "hard"]), st.randoms(use_true_random=False))
def test_true_facts_are_right_in_whichever_words(index: int, preset: str, rng: Random) -> None:
    world, hint = written(index, preset, FACTS, rng)
    score = ALCHEMY.score_context(world, hint, ())
    assert (score.right, score.wrong) == (len(world.products), 0), hint


def test_elements_that_are_called_like_a_denial(world) -> None:
    odd = replace(world, names=("nor", "may", "not", *world.names[3:]))
    for rendering in ("full", "terse"):
        assert ALCHEMY.score_context(odd, ALCHEMY.truth(odd, rendering), ()).right == 3


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 50), st.sampled_from(["tiny", "easy", "hard"]), st.randoms(use_true_random=False))
def test_what_is_denied_or_left_open_is_neither_right_nor_wrong(index: int, preset: str, rng: Random) -> None:
    world, hint = written(index, preset, NO_FACTS, rng)
    score = ALCHEMY.score_context(world, hint, ())
    assert (score.right, score.wrong) == (0, 0), hint


PIECES = [
    "a",
    "b",
    "m",
    "n",
    "kir",
    "opal",
    "=",
    "+",
    "makes",
    "->",
    "not",
    "from",
    "mix",
    "and",
    ".",
    ",",
    "dud",
    "\n",
]


@settings(max_examples=100, deadline=None)
@given(st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_no_text_breaks_the_parser(hint: str) -> None:
    score = ALCHEMY.score_context(TINY, hint, ())
    assert score.right + score.missing == len(TINY.products)
    assert score.knowable == score.knowable_right == 0


def test_a_very_long_hint_is_read_in_good_time(world) -> None:
    for hint in (
        "a" * 4000,
        "a " * 2000,
        "a+" * 2000,
        "m=a+b " * 700,
        "is " * 1300,
        "a" + " " * 4000 + "b",
        "a by" + " " * 4000,
    ):
        started = time.process_time()
        claims(hint, world)
        assert time.process_time() - started < 2  # work of milliseconds, unless an expression backtracks


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 50), st.sampled_from(["tiny", "easy", "hard"]), st.sampled_from(["full", "compact"]))
def test_hints_that_we_write_are_read_back(index: int, preset: str, rendering: Rendering) -> None:
    drawn = ALCHEMY.pack("train", index, 1, preset).world
    recipes = Random(index).sample(sorted(drawn.products.items()), len(drawn.products))
    assert claims(hint_from(drawn, recipes, rendering), drawn) == recipes


@pytest.mark.parametrize(
    ("hint", "actions", "expected"),  # expected: right, wrong, missing, knowable, knowable_right
    [
        ("", "", (0, 0, 3, 0, 0)),
        ("", "a+b", (0, 0, 3, 1, 0)),
        ("m=a+b", "a+b", (1, 0, 2, 1, 1)),
        ("m=a+c", "a+b", (0, 1, 3, 1, 0)),
        ("n=c+c", "a+b", (1, 0, 2, 1, 0)),  # a lucky guess is right, but was not knowable
        ("m=a+b m=a+c", "a+b", (0, 2, 3, 1, 0)),  # two recipes for an element of one: not known
        ("m=a+b n=a+b", "a+b", (0, 2, 3, 1, 0)),  # two products of one pair: not known
        ("m=a+b dud=a+a dud=c+c", "a+b", (1, 0, 2, 1, 1)),  # duds are no facts
        ("m=a+b n=c+c A=m+n", "a+b c+c m+m n+n", (3, 0, 0, 2, 2)),  # A is left over, but was not seen
        ("kir + vol makes opal", "a+b a+b m+n zz+a", (1, 0, 2, 1, 1)),
    ],
)
def test_score(world, task, hint: str, actions: str, expected: tuple[int, ...]) -> None:
    episode = AlchemyEpisode(world, task, "compact")
    for action in actions.split():
        episode.act(action)
    score = ALCHEMY.score_context(world, hint, [episode])
    assert (score.right, score.wrong, score.missing, score.knowable, score.knowable_right) == expected


def test_an_element_may_have_as_many_recipes_as_the_rules_say(scarce_world) -> None:
    both = ALCHEMY.score_context(scarce_world, "m=a+b m=b+c", ())
    assert (both.right, both.wrong, both.missing) == (2, 0, 2)
    three = ALCHEMY.score_context(scarce_world, "m=a+b m=b+c m=a+a", ())
    assert (three.right, three.wrong) == (0, 3)


@pytest.mark.parametrize("rendering", ["compact", "full"])
@pytest.mark.parametrize("preset", ALCHEMY.presets)
def test_the_truth_scores_fully_and_a_part_of_it_is_never_wrong(preset: str, rendering: Rendering) -> None:
    for index in range(30):
        drawn = ALCHEMY.pack("train", index, 1, preset).world
        score = ALCHEMY.score_context(drawn, ALCHEMY.truth(drawn, rendering), ())
        assert (score.right, score.wrong, score.missing) == (ALCHEMY.facts(drawn), 0, 0)
        assert ALCHEMY.score_context(drawn, ALCHEMY.partial_truth(drawn, rendering, Random(index)), ()).wrong == 0


@pytest.mark.parametrize("rendering", ["compact", "full"])
def test_raw_trajectories_claim_what_they_showed(world, task, rendering: Rendering) -> None:
    """The `history` arm gives transcripts as hints."""
    episode = AlchemyEpisode(world, task, rendering)
    words = episode.words
    for first, second in ((0, 0), (0, 1), (3, 4), (2, 2), (1, 1)):
        episode.act(f"{words[first]} + {words[second]}")
    score = ALCHEMY.score_context(world, episode.transcript(), [episode])
    assert (score.right, score.wrong, score.knowable_right) == (2, 0, 2)
