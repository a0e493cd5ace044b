"""The formulas of time against trainings that are simulated event by event, with drawn lengths."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from random import Random
from statistics import mean, pstdev

import pytest

from codctl.plan import schedule, waves
from codctl.plan.waves import Pace, Work, mean_of_longest
from tests.plan.simulated import Costs, World, side_by_side, wave

PACE = Pace(step=15e-3, row=3e-5, token=8e-8, prompt=2e-5, seats=256)
LEARNER = Costs(learn=7e-5, publish=10, load=6, validate=3, save=4)
WORLD = World()


def work(world: World, trajectories: int) -> Work:
    """What a planner would know of a world: means and the deviation."""
    return replace(known(world), trajectories=trajectories)


@lru_cache
def known(world: World) -> Work:
    rng = Random(1)
    drawn = [world.trajectory(rng) for _ in range(2000)]
    chains = [sum(episodes) for episodes in drawn]
    before = sum(own * (world.prompt + own / 2) for episodes in drawn for own in episodes)
    return Work(
        1,
        mean(chains),
        pstdev(chains) / mean(chains),
        before / sum(chains),
        world.prompt * world.episodes,
    )


@pytest.mark.parametrize("spread", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("number", [2, 16, 64, 256])
def test_the_longest_of_some(number: int, spread: float) -> None:
    rng, shape = Random(0), 1 / spread**2
    drawn = [max(rng.gammavariate(shape, 1 / shape) for _ in range(number)) for _ in range(800)]
    assert mean_of_longest(number, spread) == pytest.approx(mean(drawn), rel=0.02)


@pytest.mark.parametrize(
    ("trajectories", "steps", "engines", "seats"),
    [
        (64, 1, 4, 256),  # published packs on four engines, step by step
        (64, 4, 4, 256),  # … all steps of a version
        (64, 4, 1, 256),
        (64, 4, 20, 256),
        (64, 4, 1, 64),  # three of four trajectories wait for a seat
        (64, 4, 2, 100),
        (16, 2, 1, 8),
        (8, 1, 1, 256),
    ],
)
@pytest.mark.parametrize("sigma", [0.3, 0.8])
def test_a_wave_takes_what_it_takes_with_drawn_lengths(
    trajectories: int, steps: int, engines: int, seats: int, sigma: float
) -> None:
    world, pace = World(sigma=sigma), Pace(PACE.step, PACE.row, PACE.token, PACE.prompt, seats)
    found = waves.play(pace, work(world, trajectories), steps, engines)
    within = 0.08 if seats * engines >= trajectories * steps else 0.12
    rng = Random(2)
    drawn = [
        wave(pace, world, rng, trajectories=trajectories, steps=steps, engines=engines)[0]
        for _ in range(max(5, 800 // (trajectories * steps)))
    ]
    assert found.seconds == pytest.approx(mean(max(one) for one in drawn), rel=within)
    for i, complete in enumerate(found.complete):
        assert complete == pytest.approx(mean(max(one[: i + 1]) for one in drawn), rel=0.1), i


def test_replies_that_take_turns_are_all_late() -> None:
    of_step, full = work(WORLD, 64), Pace(PACE.step, PACE.row, PACE.token, PACE.prompt, seats=64)
    in_order, in_turns = (waves.play(full, of_step, 4, 1, is_in_order=order) for order in (True, False))
    assert in_order.complete[0] < 0.7 * in_order.seconds
    assert in_turns.complete == (in_order.seconds,) * 4


@pytest.mark.parametrize("lead", [0, 1])
@pytest.mark.parametrize("learn", [2e-5, 7e-5, 3e-4])  # the learner is idle most of the time, some of it, never
@pytest.mark.parametrize(("steps", "engines"), [(1, 4), (2, 4), (4, 4), (4, 2)])
def test_the_rhythm_of_a_training_is_that_of_the_simulation(steps: int, engines: int, learn: float, lead: int) -> None:
    of_step = work(WORLD, 32)
    played = waves.play(PACE, of_step, steps, engines)
    times = schedule.Durations(
        played.seconds,
        played.tail,
        played.complete,
        learn * of_step.trajectories * of_step.chain,
        LEARNER.publish,
        LEARNER.load,
        LEARNER.validate,
        LEARNER.save,
    )
    found = schedule.side_by_side(times, lead)
    costs = Costs(learn, LEARNER.publish, LEARNER.load, LEARNER.validate, LEARNER.save)
    simulated = side_by_side(
        PACE, WORLD, costs, trajectories=32, steps=steps, engines=engines, lead=lead, waves=60 // steps
    )
    assert found.step == pytest.approx(simulated, rel=0.06)
    assert sum(found.engines.values()) == pytest.approx(found.step)
    assert sum(found.learners.values()) == pytest.approx(found.step)


def test_in_turns_everything_adds_up() -> None:
    times = schedule.Durations(100, 20, (80, 100), learn=10, publish=4, load=6, validate=1, save=2)
    apart, shared = schedule.in_turns(times, is_shared=False), schedule.in_turns(times, is_shared=True)
    assert apart.step == shared.step == 50 + 3 + 1 + 10 + 2 + 2
    assert shared.engines == shared.learners
    assert shared.engines["wait"] == 0
    assert sum(shared.engines.values()) == apart.step
    assert apart.learners["wait"] == 54
