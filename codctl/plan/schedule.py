"""When engines and learners work and when they wait for each other, wave after wave. Seconds; pure arithmetic.

Weights of version v exist when the learner has learned v rollout steps. A wave is played with one version by engines
that hold no other, so it begins when the wave before is over and its version is there. A step is learned when its own
trajectories are there, after the step before.
"""

from __future__ import annotations

from dataclasses import dataclass

_SETTLED, _COUNTED = 24, 24  # waves before the rhythm counts, and waves that are counted
GENERATE, TAIL, LEARN, IDLE = "generate", "tail", "learn", "wait"
PUBLISH, LOAD, VALIDATE, SAVE = "publish", "load", "validate", "checkpoint"


@dataclass(frozen=True)
class Durations:
    """What is to be put in order. Seconds.

    Attributes:
        wave: Engines play a wave.
        tail: Of that: what the slowest trajectories take longer.
        complete: From the start of a wave until the trajectories of each of its rollout steps are there.
        learn: The learner takes for a rollout step.
        publish: The learner takes to give new weights away.
        load: Engines take to get them.
        validate: Engines take for validations, as a mean for each rollout step.
        save: The learner stands still for checkpoints, as a mean for each rollout step.
    """

    wave: float
    tail: float
    complete: tuple[float, ...]
    learn: float
    publish: float = 0.0
    load: float = 0.0
    validate: float = 0.0
    save: float = 0.0

    @property
    def steps(self) -> int:
        """Rollout steps of a wave."""
        return len(self.complete)


@dataclass(frozen=True)
class Schedule:
    """The rhythm that it settles into, for one rollout step. Seconds.

    Attributes:
        step: From one rollout step to the next.
        engines: What they do in that time; adds up to it.
        learners: The same of the learners.
    """

    step: float
    engines: dict[str, float]
    learners: dict[str, float]


def in_turns(times: Durations, *, is_shared: bool) -> Schedule:
    """Engines and learners never work at the same time.

    Args:
        times: Durations.
        is_shared: They are the same devices, which so never wait.
    """
    played = (times.wave + times.load) / times.steps + times.validate
    learned = times.learn + times.publish / times.steps + times.save
    found = _schedule(times, played + learned)
    if not is_shared:
        return found
    both = {**found.engines, **found.learners, IDLE: 0.0}
    return Schedule(found.step, both, both)


def side_by_side(times: Durations, lead: int = 0) -> Schedule:
    """Engines play a wave while learners learn from it, and from the one before.

    The first wave has one step more than the others (`engine.overlap`), so that a wave waits for all steps of the wave
    before but its last; waves of a single step wait for the one before that.

    Args:
        times: Durations.
        lead: Waves that the weights are older than they have to be.
    """
    starts = [0.0]
    learned = _learn(times, 0.0, 0.0)  # when each step of a wave is learned
    published = (
        [0.0, learned[_needed(times)]] if times.steps > 1 else [0.0, 0.0, learned[0]]
    )  # when the version of a wave is there
    for number in range(1, _SETTLED + _COUNTED + 1):
        free = starts[-1] + times.load + times.wave + times.steps * times.validate
        start = max(free, published[max(0, number - lead)])
        starts.append(start)
        learned = _learn(times, start + times.load, learned[-1])
        published.append(learned[_needed(times)])
    return _schedule(times, (starts[-1] - starts[-1 - _COUNTED]) / (_COUNTED * times.steps))


def _needed(times: Durations) -> int:
    """The step of a wave after which the next version exists."""
    return max(0, times.steps - 2)


def _learn(times: Durations, start: float, free: float) -> list[float]:
    """When each step of a wave that starts then is learned, and its weights given away where they are a version."""
    found: list[float] = []
    for number, complete in enumerate(times.complete):
        free = max(free, start + complete) + times.learn + times.save
        if number == _needed(times):
            free += times.publish
        found.append(free)
    return found


def _schedule(times: Durations, step: float) -> Schedule:
    engines = {
        GENERATE: (times.wave - times.tail) / times.steps,
        TAIL: times.tail / times.steps,
        LOAD: times.load / times.steps,
        VALIDATE: times.validate,
    }
    learners = {LEARN: times.learn, PUBLISH: times.publish / times.steps, SAVE: times.save}
    return Schedule(step, _with_rest(engines, step), _with_rest(learners, step))


def _with_rest(parts: dict[str, float], step: float) -> dict[str, float]:
    return {**parts, IDLE: max(0.0, step - sum(parts.values()))}
