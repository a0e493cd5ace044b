"""Rules of an episode, every text, and what the environment remembers."""

from __future__ import annotations

import asyncio
import time

import pytest

from codctl.cod.prompts import Account, update_messages
from codctl.cod.references import play_policy
from codctl.cod.strategies import Poison, draw_pack
from codctl.envs.base import Rendering
from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.world import ControlEpisode
from codctl.envs.registry import get_family

FAMILY = get_family("optimal_control")
WORLD = ControlWorld(0.5, -1.0)
TASK = ControlTask(1.0, 0.25, -1.0, 0.0, 3)
LAW_TASK = ControlTask(-0.4, 0.0, 2.1, 0.0, 6, by_law=True)


def element(expression: str) -> str:
    return f"<action_expression>{expression}</action_expression>"


def begin(rendering: Rendering = "full", task: ControlTask = TASK, world: ControlWorld = WORLD) -> ControlEpisode:
    return ControlEpisode(world, task, rendering)


FEEDBACK = """\
The expression ran for 3 steps:

t x v u
0 1.000 0.250 1.000
1 0.125 -0.875 1.000
2 -1.312 -1.438 -1.000
3 -1.031 0.281 --

At the end x = -1.031 (target -1.000) and v = 0.281 (target 0.000). The loss is 0.249."""


def test_the_expression_is_evaluated_in_every_step_and_cut_to_the_range() -> None:
    episode = begin()
    step = episode.act(element("2 if x &gt; 0 else -9"))
    # v: .25 → .125 − 1 → −.4375 − 1 → −.71875 + 1; x: 1 → .125 → −1.3125 → −1.03125
    loss = 0.03125**2 + 2 * 0.28125**2 + 0.03 * 3
    assert step.reward == episode.reward == pytest.approx(1 / (1 + loss))
    assert step.feedback == FEEDBACK
    assert (step.done, episode.outcome, episode.turns, episode.controller) == (True, "missed", 1, "2 if x > 0 else -9")
    with pytest.raises(ValueError, match="over"):
        episode.act(element("1"))


def test_variables_have_the_values_of_the_step() -> None:
    task = ControlTask(0.1, 0.2, 0.3, 0.0, 4)
    parts = {"x": 0.1, "v": 0.2, "t": 0.0, "x_target": 0.3, "v_target": 0.0, "horizon": 4.0, "remaining_steps": 4.0}
    for name, value in parts.items():
        episode = ControlEpisode(WORLD, task, "compact")
        episode.act(f"{name} / 8")
        assert episode.course is not None
        assert episode.course.us[0] == value / 8
    episode = ControlEpisode(WORLD, task, "compact")
    episode.act("t / 8 + remaining_steps / 80")
    assert episode.course is not None
    assert episode.course.us == pytest.approx((0.05, 0.1625, 0.275, 0.3875))


@pytest.mark.parametrize(
    ("expression", "feedback"),
    [
        ("1 / (t - 2)", "The expression failed at t = 2: division by zero. Nothing that it did is shown."),
        ("x > 0", "The expression failed at t = 0: the result is true, not a number. Nothing that it did is shown."),
        ("(v + 0.5) ** 0.5", "The expression failed at t = 1: a fractional power of a negative number. Nothing that it "
         "did is shown."),
    ],
)  # fmt: skip
def test_what_fails_while_it_runs_gets_nothing(expression: str, feedback: str) -> None:
    episode = begin("terse")
    step = episode.act(expression)
    assert (step.reward, step.feedback, episode.outcome, episode.unreadable) == (0.0, feedback, "failed", False)
    assert episode.course is None
    assert episode.transcript() == f"You answered {expression}."


@pytest.mark.parametrize("rendering", ["full", "terse", "compact"])
def test_what_cannot_be_read_costs_a_tenth(rendering: Rendering) -> None:
    for answer in ("x +", "<action_expression>sin(x)</action_expression>", "c3", "```x```"):
        episode = begin(rendering)
        step = episode.act(answer)
        assert (step.reward, episode.unreadable, episode.outcome) == (-0.1, True, "no_action")
        assert step.feedback.startswith("The reply could not be used: ")
        assert episode.transcript().strip()
    episode = begin(rendering, LAW_TASK)
    assert episode.act("c9").feedback == "The reply could not be used: 'c9' is not a law; the laws are c1 to c8."


def test_full_wants_the_element_and_the_others_the_bare_expression() -> None:
    assert begin("full").act("0.1").reward == -0.1
    assert begin("terse").act(element("0.1")).reward == -0.1
    assert begin("full").act(element("0.1")).reward > 0
    assert begin("compact").act("0.1").reward > 0


@pytest.mark.parametrize(
    "answer", ["0.5 if x < 0 else -0.5", element("0.5 if x < 0 else -0.5"), element("0.5 if x &lt; 0 else -0.5"),
               "```\n0.5 if x < 0 else -0.5\n```", "```xml\n" + element("0.5 if x &lt; 0 else -0.5") + "\n```",
               "`0.5 if x < 0 else -0.5`"],
)  # fmt: skip
@pytest.mark.parametrize("rendering", ["full", "terse"])
def test_answers_as_models_and_people_write_them(answer: str, rendering: Rendering) -> None:
    for read in (FAMILY.answered, FAMILY.typed):
        episode = begin(rendering)
        assert episode.act(read(episode, answer)).reward > 0
        assert episode.controller == "0.5 if x < 0 else -0.5"


def test_laws_are_read_in_either_case_and_nonsense_is_left_as_it_is() -> None:
    assert FAMILY.answered(begin("full", LAW_TASK), "**C5**.") == "c5"
    assert FAMILY.answered(begin("full", LAW_TASK), "c9") == "c9"
    assert FAMILY.answered(begin("full"), "push hard") == "push hard"
    with pytest.raises(ValueError, match="there is no function 'sin'"):
        FAMILY.typed(begin("full"), "sin(x)")


def test_texts_of_the_renderings() -> None:
    assert begin("full").observation == (
        "Start: x = 1.000, v = 0.250\nTarget: x_target = -1.000, v_target = 0.000\nSteps: 3"
    )
    assert begin("terse").observation == "Start: x 1.000, v 0.250. Target: x -1.000, v 0.000. Steps: 3."
    assert begin("compact").observation == "1.000 0.250 > -1.000 3"
    assert begin("compact", LAW_TASK).observation == "-0.4 > 2.1 6"
    episode = begin("compact")
    assert episode.transcript() == "none"
    assert episode.act("1").feedback == "end -3.031 -1.719"
    assert episode.transcript() == "v 0.250 u 1.000 v -0.875 u 1.000 v -1.438 u 1.000 v -1.719"
    episode = begin("terse")
    assert episode.act("1").feedback == (
        "v went 0.250 -0.875 -1.438 -1.719, with u 1.000 1.000 1.000. At the end x -3.031, v -1.719; "
        "the target was x -1.000, v 0.000."
    )


@pytest.mark.parametrize(
    ("law", "seen"), [("c8", "c8=near"), ("c1", "c1=far-short"), ("c3", "c3=far-over"), ("c4", "c4=over")]
)
def test_of_a_law_it_is_seen_where_it_ended(law: str, seen: str) -> None:
    episode = begin("compact", LAW_TASK, ControlWorld(1.1, 1.2) if law != "c3" else ControlWorld(1.1, 0.6))
    assert episode.act(law).feedback == episode.transcript() == seen
    assert update_messages("", Account(episode, is_graded=True), "compact")[1]["content"].startswith(
        f"hints none seen {seen} reward "
    )


@pytest.mark.parametrize("rendering", ["full", "terse", "compact"])
def test_environment_shows_the_latest_controller_that_ran(rendering: Rendering) -> None:
    family = FAMILY.in_variant("environment")
    assert family.remembers
    assert not FAMILY.remembers
    past = [begin(rendering) for _ in range(3)]
    answers = ["1", "0.25 - x / 8", "1 / 0"]  # the last one fails, and does not replace the second
    for episode, answer in zip(past, answers, strict=True):
        episode.act(element(answer) if rendering == "full" else answer)
    plain = FAMILY.begin(WORLD, TASK, rendering).observation
    shown = family.begin_after(WORLD, TASK, rendering, past).observation
    assert shown.startswith(plain)
    assert "0.25 - x / 8" in shown
    assert "1 / 0" not in shown
    course = past[1].course
    assert course is not None
    assert f"{course.xs[-1] + 1:.3f}" in shown
    assert f"{course.vs[-1]:.3f}" in shown
    assert f"{course.reward:.3f}" in shown
    assert family.begin_after(WORLD, TASK, rendering, past[2:]).observation == plain
    assert family.begin_after(WORLD, TASK, rendering, []).observation == plain
    assert FAMILY.begin_after(WORLD, TASK, rendering, past).observation == plain
    assert ("latest controller" in family.solve_prompt("", rendering, "hard")) == (rendering == "full")


def test_two_rollouts_of_a_pack_see_nothing_of_each_other() -> None:
    pack = FAMILY.pack("test", 0, 4, "hard", "environment")
    alone = play_policy("bayes", [pack], "compact", 0)[0]
    together = play_policy("bayes", [pack, FAMILY.pack("test", 0, 4, "hard", "environment"), pack], "compact", 0)
    seen = [[e.observations[0] for e in trajectory.of("solve")] for trajectory in (alone, *together)]
    assert "before" not in seen[0][0]
    assert all("before" in text for text in seen[0][1:])
    assert seen[1:] == [seen[0]] * 3


def test_poison_changes_what_is_told_and_not_what_the_environment_remembers() -> None:
    lied = draw_pack(FAMILY, Poison(1.0), "test", 0, 3, "hard", "environment")
    true = FAMILY.pack("test", 0, 3, "hard", "environment")
    assert lied.slots[0].reported_world is not None
    shown = [t.of("solve")[1].observations[0] for t in play_policy("kick", [lied, true], "compact", 0)]
    assert shown[0] == shown[1]
    assert "before 0.2 if t == 0 else 0" in shown[0]


@pytest.mark.parametrize("preset", ["hard", "tiny"])
def test_five_thousand_turns_a_second(preset: str) -> None:
    """Whole episodes, in CPU seconds, with room for a slow machine."""
    pack = FAMILY.pack("test", 0, 1, preset)
    actions = (
        ["c3"] if preset == "tiny" else ["0.3*(x_target - x) - 0.8*v", "-0.5 if x > x_target else clip(x, -1, 0.5)"]
    )
    turns, started = 0, time.process_time()
    while time.process_time() - started < 0.3:
        for action in actions * 20:
            pack.slots[0].begin("compact").act(action)
            turns += 1
    assert turns / 0.3 > 2500


def test_it_is_played_in_an_event_loop_as_all_worlds_are() -> None:
    assert not begin().waits
    assert asyncio.run(_acted())


async def _acted() -> bool:
    return begin("compact").act("0.5").done  # type: ignore[union-attr]
