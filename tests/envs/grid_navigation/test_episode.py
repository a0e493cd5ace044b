"""Rules, rewards and every text of Grid Navigation."""

from __future__ import annotations

from random import Random
from time import process_time

import pytest

from codctl.cod.prompts import Account, update_messages
from codctl.envs.base import Rendering
from codctl.envs.grid_navigation.names import cell_name
from codctl.envs.grid_navigation.policies import open_moves
from codctl.envs.grid_navigation.world import GridEpisode, GridTask, GridWorld
from codctl.envs.registry import get_family

COSTS = ((0, 10, 20, 30), (5, 99, 99, 40), (5, 99, 99, 50), (5, 7, 9, 11))
WORLD = GridWorld(COSTS, "tiny")  # sees what it enters, and no further
FAR = GridWorld(COSTS, "train")  # sees one cell further
TASK = GridTask((0, 0), (3, 3), 2)
FAMILY = get_family("grid_navigation")


def begin(rendering: Rendering = "full", world: GridWorld = WORLD, task: GridTask = TASK) -> GridEpisode:
    return GridEpisode(world, task, rendering)


def play(episode: GridEpisode, *actions: str) -> list[str]:
    return [episode.act(action).observation for action in actions]


def test_every_crossed_cell_is_entered_and_the_start_is_not() -> None:
    episode = begin()
    play(episode, "3,0", " 3 , 3\n")
    assert episode.reward == pytest.approx(1 - (5 + 5 + 5 + 7 + 9 + 11) / 6 / 100)
    assert (episode.done, episode.turns, episode.outcome) == (True, 2, "solved")
    assert "after 2 rounds with a mean cost of 7; the reward is 0.9300." in episode.feedback


def test_a_dear_way_is_no_success_but_has_its_reward() -> None:
    episode = begin()
    play(episode, "0,3", "3,3")
    assert episode.reward == pytest.approx(1 - (10 + 20 + 30 + 40 + 50 + 11) / 6 / 100)
    assert episode.outcome == "dear"


def test_cells_count_each_time_and_passing_the_goal_does_not_end() -> None:
    episode = begin(task=GridTask((0, 0), (0, 1), 3))
    play(episode, "0,1", "0,0", "0,1")
    assert episode.reward == pytest.approx(1 - (10 + 0 + 10) / 3 / 100)


def test_elsewhere_at_the_end_there_is_no_reward() -> None:
    episode = begin()
    play(episode, "0,3", "2,3")
    assert (episode.reward, episode.outcome) == (0.0, "missed")
    assert "You ended at (2,3), not on the target (3,3); the reward is 0." in episode.feedback


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("0,4", "it is outside the grid"),
        ("-1,0", "it is outside the grid"),
        ("999999,0", "it is outside the grid"),
        ("0,0", "you are there already, and every round needs a move"),
        ("1,1", "it is neither in your row nor in your column"),
    ],
)
def test_moves_that_are_not_allowed_end_the_task(action: str, says: str) -> None:
    episode = begin()
    step = episode.act(action)
    assert (step.reward, step.done, episode.outcome, episode.unreadable) == (0.0, True, "illegal", False)
    assert says in step.feedback


@pytest.mark.parametrize("action", ["a1", "0", "0,1,2", "0;1", "(0,1)", "row 0, column 1", "", "0,1 ", "٣,1", "1e3,0"])
def test_what_cannot_be_read_ends_the_task(action: str) -> None:
    episode = begin()
    episode.act(action)
    assert episode.unreadable == (action != "0,1 ")
    assert episode.done == (action != "0,1 ")


@pytest.mark.parametrize(
    "written", ["(0, 3)", "**0,3**", "row 0, column 3", "Row: 0, Col: 3", "[0 3]", "`0,3`.", "r0c3", "0 / 3"]
)
def test_a_cell_is_read_as_models_write_it(written: str) -> None:
    action = FAMILY.answered(begin(), written)
    assert action == ("0,3" if written != "r0c3" else written)
    assert FAMILY.answered(begin("compact"), written) == written


def test_people_may_type_brackets() -> None:
    assert FAMILY.typed(begin(), "(0, 3)") == "0,3"
    with pytest.raises(ValueError, match="'up' is not a cell; write row,column, such as 3,7"):
        FAMILY.typed(begin(), "up")


def test_after_the_end_there_is_no_move() -> None:
    episode = begin()
    play(episode, "0,3", "3,3")
    with pytest.raises(ValueError, match="over"):
        episode.act("0,0")


@pytest.mark.parametrize(("world", "count"), [(WORLD, 3), (FAR, 8)])
def test_what_is_revealed(world: GridWorld, count: int) -> None:
    episode = begin(world=world)
    assert not episode.known
    episode.act("0,3")
    assert len(episode.known) == count
    assert all(world.cost(cell) == cost for cell, cost in episode.known.items())
    assert ((0, 0) in episode.known) == (world is FAR)  # the start shows nothing by itself


FULL_FIRST = """\
Round 1 of 2. You have not moved yet.
You are at (0,0), the target is (3,3).
Known costs (? is unknown):
   |  0  1  2  3
 0 |  ?  ?  ?  ?
 1 |  ?  ?  ?  ?
 2 |  ?  ?  ?  ?
 3 |  ?  ?  ?  ?"""
FULL_SECOND = """\
Round 2 of 2. You moved to (0,2) and entered: (0,1) costs 10, (0,2) costs 20. The entered cells cost 30 so far.
You are at (0,2), the target is (3,3).
Known costs (? is unknown):
   |  0  1  2  3
 0 |  ? 10 20  ?
 1 |  ?  ?  ?  ?
 2 |  ?  ?  ?  ?
 3 |  ?  ?  ?  ?"""
FULL_TRANSCRIPT = """\
Task: from (0,0) to (3,3) in 2 rounds.
Round 1: You moved to (0,2) and entered: (0,1) costs 10, (0,2) costs 20.
Known costs (? is unknown):
   |  0  1  2  3
 0 |  ? 10 20  ?
 1 |  ?  ?  ?  ?
 2 |  ?  ?  ?  ?
 3 |  ?  ?  ?  ?"""


def test_full_rendering() -> None:
    episode = begin()
    assert episode.observation == FULL_FIRST
    assert play(episode, "0,2") == [FULL_SECOND]
    assert episode.transcript() == FULL_TRANSCRIPT


def test_terse_rendering() -> None:
    episode = begin("terse")
    assert episode.observation == "You are at (0,0), the target is (3,3), 2 rounds left."
    assert play(episode, "0,2") == ["(0,1)=10 (0,2)=20 You are at (0,2), the target is (3,3), 1 round left."]
    assert episode.transcript() == "(0,1)=10 (0,2)=20"


def test_compact_rendering() -> None:
    episode = begin("compact")
    assert (episode.observation, episode.transcript()) == ("a1 > d4 2", "none")
    assert play(episode, "a3") == ["a2=1 a3=2 a3 > d4 1"]
    episode.act("d3")
    assert episode.transcript() == "a2=1 a3=2 b3=9 c3=9 d3=0"
    assert begin("compact").act("3,3").feedback.startswith("The reply could not be used: '3,3' is not a cell")


def test_only_what_is_new_is_shown_again() -> None:
    episode = begin("compact", task=GridTask((0, 0), (0, 1), 3))
    assert play(episode, "a3", "a2") == ["a2=1 a3=2 a3 > a2 2", "a2 > a2 1"]


def test_the_prompt_says_how_far_one_sees_and_who_remembers() -> None:
    remembering = FAMILY.in_variant("environment")
    assert "the eight around it" in FAMILY.solve_prompt("", "full", "train")
    assert "up to 2 rows and columns away" in FAMILY.solve_prompt("", "full", "train-8b")
    assert "the cost of each cell that you enter." in FAMILY.solve_prompt("", "full", "tiny")
    for rendering, said in (("full", "stay on the map"), ("terse", "are shown")):
        assert said not in FAMILY.solve_prompt("", rendering, "train")
        assert said in remembering.solve_prompt("", rendering, "train")
    assert FAMILY.solve_prompt("a1=3", "compact", "tiny") == "grid hints a1=3"
    assert "{x} %s" in FAMILY.solve_prompt("{x} %s", "full", "tiny")


def test_the_update_reads_of_the_whole_walk() -> None:
    episode = begin()
    play(episode, "3,0", "3,3")
    [_, user] = update_messages("mine", Account(episode, "rules", (), 0.93, is_graded=True), "full")
    for said in ("mine", "0.930", "(3,2) costs 9", " 3 |  5  7  9 11"):
        assert said in user["content"]


def test_speed() -> None:
    """5,000 turns a second is the aim on a core of its own; the value of the best way is computed once a task."""
    packs = [FAMILY.pack("train", index, 4, "train") for index in range(60)]
    rng, turns = Random(0), 0
    began = process_time()
    for slot in (slot for pack in packs for slot in pack.slots):
        episode = slot.begin("compact")
        assert isinstance(episode, GridEpisode)
        while not episode.done:
            episode.act(cell_name(rng.choice(open_moves(episode))))
        turns += episode.turns
    assert turns / (process_time() - began) > 1000


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["environment", "trinity"])
def test_where_the_environment_remembers_the_map_is_a_function_of_the_past(variant: str) -> None:
    family = FAMILY.in_variant(variant)
    first = begin("compact")
    play(first, "a3", "d3")
    second = family.begin_after(WORLD, TASK, "compact", [first])
    assert second.observation == "a1 > d4 2 known a2=1 a3=2 b3=9 c3=9 d3=0"
    second.act("d1")
    assert first.known.keys() == {(0, 1), (0, 2), (1, 2), (2, 2), (3, 2)}
    third = family.begin_after(WORLD, TASK, "compact", [first, second])
    assert third.observation.endswith("known a2=1 a3=2 b1=0 b3=9 c1=0 c3=9 d1=0 d3=0")
    assert second.transcript() == "b1=0 c1=0 d1=0"
    assert family.begin_after(WORLD, TASK, "compact", []).observation == "a1 > d4 2"


def test_with_hints_only_nothing_is_carried_over() -> None:
    pack = FAMILY.pack("test", 0, 2, "tiny")
    first = pack.slots[0].begin("compact")
    first.act("a1" if pack.tasks[0].start != (0, 0) else "a2")
    second = pack.slots[1].begin("compact", [first])
    assert isinstance(second, GridEpisode)
    assert not second.known
    assert "known" not in second.observation
