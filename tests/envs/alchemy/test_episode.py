"""How an episode goes: what mixing does to the inventory, what ends it, what it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.envs.alchemy.world import AlchemyEpisode, AlchemyTask, AlchemyWorld
from codctl.envs.base import PolicyView, Rendering, Slot
from codctl.envs.registry import get_family

ALCHEMY = get_family("alchemy")
EXAMPLES = int(os.environ.get("CODCTL_FUZZ_EXAMPLES", "4000"))


def play(world: AlchemyWorld, task: AlchemyTask, *actions: str, rendering: Rendering = "compact") -> AlchemyEpisode:
    episode = AlchemyEpisode(world, task, rendering)
    for action in actions:
        episode.act(action)
    return episode


def test_what_is_made_stays_and_unlimited_material_is_never_used_up(world, task) -> None:
    episode = play(world, task, "a+b", "a+b", "c+c")
    assert episode.stock == {0: 1, 1: 1, 2: 1, 3: 1, 4: 1}
    step = episode.act("n+m")  # in either order
    assert (step.done, step.reward, step.feedback) == (True, 1.0, "You made the target.")
    assert episode.turns == 4


def test_limited_material_is_used_up_by_every_mix(scarce_world, scarce_task) -> None:
    episode = play(scarce_world, scarce_task)
    assert episode.stock == {0: 4, 1: 4, 2: 4}  # two tiers up: each may need four of one
    for action in ("a+a", "b+c", "c+b", "a+c"):
        episode.act(action)
    assert episode.stock == {0: 1, 1: 2, 2: 1, 3: 2}
    assert episode.act("c+c").observation == "lack=c make A 3 have a*1 b*2 c*1 m*2"
    assert episode.stock == {0: 1, 1: 2, 2: 1, 3: 2}


def test_it_ends_when_nothing_can_be_mixed_any_more(scarce_world) -> None:
    episode = play(scarce_world, AlchemyTask(target=4, max_turns=15, is_limited=True), "a+a", "b+b", "c+a")
    assert not episode.done  # two pieces of c are spent on nothing, one is left with nothing to go with it
    assert episode.act("c+b").feedback == ""
    episode = play(scarce_world, AlchemyTask(target=4, max_turns=15, is_limited=True), "a+a", "b+c", "c+b")
    assert (episode.stock, episode.done) == ({0: 0, 1: 0, 2: 0, 3: 2}, False)
    step = episode.act("m+m")
    assert (step.done, step.reward, episode.turns) == (True, 0.0, 4)
    assert episode.outcome == "material"
    assert step.feedback == "You ran out of material before you had the target."


@pytest.mark.parametrize("action", ["m: a+b", "a+b", "b + a", " a  +b ", "A: b+a", "x:a+b"])
def test_ways_to_write_a_mix(world, task, action: str) -> None:
    assert play(world, task, action).stock[3] == 1


@pytest.mark.parametrize("action", ["", "a", "a b", "a+", "+", "a+b+c", "a+b c", "mix a+b", "m: n: a+b", "a+b\na+b"])
def test_what_is_no_mix_of_two_ends_the_episode(world, task, action: str) -> None:
    episode = play(world, task, action)
    assert (episode.done, episode.reward, episode.unreadable, episode.turns) == (True, 0.0, True, 1)
    assert episode.feedback == (f"The reply could not be used: {action[:40]!r} is not two elements; write them as a+b.")


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("kir + vol", "You mixed kir + vol: it made opal."),
        ("vol + kir", "You mixed vol + kir: it made opal."),
        ("kir + kir", "You mixed kir + kir: it made nothing."),
        ("kir + opal", "You tried kir + opal: you have none of opal, so nothing was mixed."),
        ("kir + brux", "You tried kir + brux: no element is called brux, so nothing was mixed."),
        ("a + b", "You tried a + b: no element is called a, so nothing was mixed."),
    ],
)
def test_every_mix_is_answered_and_costs_a_round(world, task, action: str, said: str) -> None:
    step = AlchemyEpisode(world, task, "full").act(action)
    assert step.observation.splitlines()[0] == f"Round 2 of 8. {said}"
    assert not step.done


def test_too_little_of_an_element_is_told_from_none(scarce_world) -> None:
    task = AlchemyTask(target=4, max_turns=8, is_limited=True)
    episode = play(scarce_world, task, "kir + vol", rendering="full")
    said = episode.act("kir + kir").observation.splitlines()[0]
    assert said == "Round 3 of 8. You tried kir + kir: you have too little of kir, so nothing was mixed."


def test_the_last_round_ends_it(world, task) -> None:
    episode = play(world, task, *["a+a"] * 8)
    assert (episode.done, episode.reward) == (True, 0.0)
    assert episode.feedback == "You ran out of rounds before you had the target."
    with pytest.raises(ValueError, match="over"):
        episode.act("a+b")


@pytest.mark.parametrize(
    ("preset", "variant"), [("tiny", "default"), ("easy", "default"), ("hard", "default"), ("easy", "paper")]
)
@pytest.mark.parametrize("redrawn", [False, True])
def test_an_agent_that_knows_the_recipes_has_rounds_and_material_enough(
    preset: str, variant: str, redrawn: bool
) -> None:
    informed = ALCHEMY.policy("informed")
    for index in range(15):
        pack = ALCHEMY.pack("train", index, 8, preset, variant)
        world = ALCHEMY.redraw(pack.world, Random(index)) if redrawn else pack.world
        for position, task in enumerate(pack.tasks):
            episode = AlchemyEpisode(world, task, "compact")
            while not episode.done:
                reply = informed.solve(PolicyView(pack, position, episode, (), "", "compact"), Random(0))
                episode.act(reply.removeprefix("<answer>").removesuffix("</answer>").strip())
            assert episode.reward == 1.0


PIECES = [
    "a",
    "b",
    "m",
    "n",
    "A",
    "z",
    "kir",
    "+",
    " + ",
    ":",
    "m:",
    " ",
    "\n",
    "\t",
    "😀",
    "é",
    "\x00",
    "<answer>",
    "=",
    "a+b",
]


def hostile(rng: Random) -> str:
    """Half mixes of what could be meant, half any characters."""
    if rng.random() < 0.5:
        return "".join(rng.choices(PIECES, k=rng.randint(0, 6)))
    return "".join(chr(rng.randrange(1, 0xD800)) for _ in range(rng.randint(0, 40)))


def check_answers(slot: Slot, rendering: Rendering, answers: Iterator[str]) -> None:
    """Play answers until the episode ends: whatever they are, it ends as episodes do."""
    episode = slot.begin(rendering)
    for answer in answers:
        step = episode.act(answer)
        assert bool(step.feedback) == step.done == (not step.observation)
        assert episode.transcript()
        if step.done:
            break
    assert episode.reward in (0.0, 1.0)
    assert episode.turns <= episode.max_turns


def test_no_answer_breaks_an_episode() -> None:
    rng = Random(0)
    slots = [ALCHEMY.pack("test", index, 1, preset).slots[0] for preset in ALCHEMY.presets for index in range(5)]
    thrown = 0
    while thrown < EXAMPLES:
        words = rng.sample(PIECES, 3)
        answers = [f"{words[0]} + {words[1]}", hostile(rng), "a+b", hostile(rng)]
        rng.shuffle(answers)
        check_answers(rng.choice(slots), rng.choice(ALCHEMY.renderings), iter(answers))
        thrown += len(answers)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_text_breaks_an_episode(answers: list[str]) -> None:
    check_answers(ALCHEMY.pack("test", 0, 1, "hard").slots[0], "full", iter(answers))


def test_a_very_long_answer_is_refused_at_once(world, task) -> None:
    for action in ("a" * 10**6, "a " * 10**6, "+" * 10**6, "a" + " " * 10**6 + "b"):
        assert play(world, task, action).unreadable
