"""Every text of Optimal Control.

`compact` spends a few words on an episode. In the preset `tiny` what was seen is one word, `c5=far-over`: law c5 ended
far beyond the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from codctl.envs.base import Rendering
from codctl.envs.optimal_control.action import CLOSE, OPEN, written
from codctl.envs.optimal_control.dynamics import ControlTask, ControlWorld
from codctl.envs.optimal_control.expression import FUNCTIONS, VARIABLES
from codctl.envs.optimal_control.laws import LAWS, WORLDS, law_of, residual
from codctl.envs.solve_prompt import ReplyForm

if TYPE_CHECKING:
    from codctl.envs.optimal_control.world import ControlEpisode

_MOTION = """\
You steer a point along a line. It has a place x and a velocity v. In every step you push it with a strength u, which \
is cut to the range from -1 to 1. Then
new v = a * v + b * u
new x = x + new v

The constants a and b are hidden. They are the same in all tasks of this series. The sign of b is hidden too: with a \
negative b, a positive push makes v smaller.

Each task gives the start (x and v), the target (x_target and v_target) and the number of steps. After the last step \
the loss is (x - x_target)^2 + 2 * (v - v_target)^2, plus 0.03 times the sum of all u^2. The reward is 1 / (1 + loss), \
so 1 is the best there is."""

_EXPRESSION = f"""\
You answer once, with one expression for u. It is evaluated anew in every step.
Variables: {", ".join(VARIABLES)}. t counts the steps done, horizon is the number of steps, and remaining_steps is \
horizon - t.
Allowed are numbers, + - * / **, comparisons, and, or, not, A if C else B, and the functions {", ".join(FUNCTIONS)}. \
clip(p, low, high) cuts p to a range, and ifelse(c, p, q) is p where c holds, else q. There is nothing else. The \
result must be a finite number.

An expression that fails while it runs, for example with a division by zero, gives reward 0. An answer that cannot be \
read gives reward -0.1. After the task you see a table of all steps, from which a and b follow."""

_LAWS = f"""\
You answer once, with one of eight ready control laws. Each is the best law for one pair of constants: \
{"; ".join(f"{law} for a = {world.a:g}, b = {world.b:g}" for law, world in zip(LAWS, WORLDS, strict=True))}.

An answer that cannot be read gives reward -0.1. After the task you see a table of all steps, from which a and b \
follow."""

_MEMORY = "With each task you also see your latest controller that ran, in which task, and how far off it ended."

_EXPRESSION_FORM = ReplyForm(
    ask="write the expression.",
    action=f"{OPEN}0.2*(x_target - x) - 0.6*v{CLOSE}",
    thought="I do not know a and b yet, so I push gently towards the target and brake.",
    note="Inside the element write &lt; for < and &gt; for >, or use lt and gt.",
    terse="the expression, such as <answer>0.2*(x_target - x) - 0.6*v</answer>",
)
_LAW_FORM = ReplyForm(
    ask="choose a law.",
    action="c3",
    thought="I do not know a and b yet, so I try one of the laws for a positive b.",
    terse="the law, such as <answer>c3</answer>",
)

_TERSE = {
    False: """\
A point moves along a line. In each step v becomes a*v + b*u, then x becomes x + v. a and b are hidden, the same in \
later tasks; b may be negative. Write one expression for the push u (-1 to 1) in x, v, t, x_target, remaining_steps. \
At the end x should be x_target and v 0.""",
    True: """\
A point moves along a line. In each step v becomes a*v + b*u, then x becomes x + v. a and b are hidden, the same in \
later tasks; b may be negative. Choose one of the laws c1 to c8, each made for other constants. At the end x should be \
x_target and v 0.""",
}


def rules(rendering: Rendering, *, by_law: bool, remembers: bool) -> str:
    if rendering == "compact":
        return "push"
    if rendering == "terse":
        return _TERSE[by_law]
    parts = [_MOTION, _LAWS if by_law else _EXPRESSION]
    if remembers:
        parts.append(_MEMORY)
    return "\n\n".join(parts)


def reply_form(*, by_law: bool) -> ReplyForm:
    return _LAW_FORM if by_law else _EXPRESSION_FORM


def observation(task: ControlTask, rendering: Rendering, before: ControlEpisode | None) -> str:
    """The task; `before` is the earlier episode that an environment with a memory shows."""
    seen = _before(before, rendering) if before else ""
    if rendering == "compact":
        start = f"{task.x0:.1f}" if task.by_law else f"{task.x0:.3f} {task.v0:.3f}"
        target = f"{task.x_target:.1f}" if task.by_law else f"{task.x_target:.3f}"
        return f"{start} > {target} {task.horizon}{seen and f' {seen}'}"
    if rendering == "terse":
        return f"Start: {_at(task.x0, task.v0)}. Target: {_goal(task)}. Steps: {task.horizon}.{seen and f' {seen}'}"
    start = f"Start: x = {task.x0:.3f}, v = {task.v0:.3f}"
    target = f"Target: x_target = {task.x_target:.3f}, v_target = {task.v_target:.3f}"
    lines = f"{start}\n{target}\nSteps: {task.horizon}"
    return f"{lines}\n\n{seen}" if seen else lines


def _before(episode: ControlEpisode, rendering: Rendering) -> str:
    task, course = episode.task, episode.course
    assert course is not None
    x_off, v_off = course.xs[-1] - task.x_target, course.vs[-1] - task.v_target
    if rendering == "compact":
        if task.by_law:
            return f"before {episode.controller}={residual(task, course)}"
        start = f"{task.x0:.3f} {task.v0:.3f} > {task.x_target:.3f} {task.horizon}"
        return f"before {episode.controller} at {start} off {x_off:.3f} {v_off:.3f} reward {reward(course.reward)}"
    if rendering == "terse":
        started = f"from {_at(task.x0, task.v0)} to {_goal(task)} in {task.horizon} steps"
        return (
            f"Earlier, {started}, {episode.controller} ended off by {x_off:.3f} in x and {v_off:.3f} in v, "
            f"with reward {reward(course.reward)}."
        )
    kind = "law" if task.by_law else "expression"
    return (
        f"Your latest {kind} that ran, in an earlier task with the same constants:\n{episode.controller}\n"
        f"It started at x = {task.x0:.3f}, v = {task.v0:.3f}, with x_target = {task.x_target:.3f}, "
        f"v_target = {task.v_target:.3f} and {task.horizon} steps. At the end x - x_target was {x_off:.3f} and "
        f"v - v_target was {v_off:.3f}. The reward was {reward(course.reward)}."
    )


def ran(episode: ControlEpisode) -> str:
    """The feedback of a controller that ran to the end."""
    task, course = episode.task, episode.course
    assert course is not None
    end = f"{_at(course.xs[-1], course.vs[-1])}"
    if episode.rendering == "compact":
        return f"end {course.xs[-1]:.3f} {course.vs[-1]:.3f}" if not task.by_law else _pair(episode)
    if episode.rendering == "terse":
        return f"{_steps(episode)} At the end {end}; the target was {_goal(task)}."
    return (
        f"The {'law' if task.by_law else 'expression'} ran for {task.horizon} steps:\n\n{table(episode)}\n\n"
        f"At the end x = {course.xs[-1]:.3f} (target {task.x_target:.3f}) and v = {course.vs[-1]:.3f} "
        f"(target {task.v_target:.3f}). The loss is {course.loss:.3f}."
    )


def stopped(t: int, reason: str) -> str:
    return f"The expression failed at t = {t}: {reason}. Nothing that it did is shown."


def table(episode: ControlEpisode) -> str:
    """All steps; the last row has no push."""
    course = episode.course
    assert course is not None
    pushes = [*(f"{u:.3f}" for u in course.us), "--"]
    rows = [f"{t} {x:.3f} {v:.3f} {u}" for t, (x, v, u) in enumerate(zip(course.xs, course.vs, pushes, strict=True))]
    return "\n".join(["t x v u", *rows])


def transcript(episode: ControlEpisode) -> str:
    if episode.rendering == "full":
        steps = table(episode) if episode.course else "The controller did not run to the end."
        return (
            f"{episode.observation}\n\nYou answered: {episode.controller or '(nothing that could be read)'}\n\n{steps}"
        )
    if episode.rendering == "terse":
        return f"You answered {episode.controller}." if episode.controller else "You gave no answer."
    if episode.course is None:
        return "none"
    if episode.task.by_law:
        return _pair(episode)
    steps = " ".join(f"v {v:.3f} u {u:.3f}" for v, u in zip(episode.course.vs, episode.course.us, strict=False))
    return f"{steps} v {episode.course.vs[-1]:.3f}"


def _steps(episode: ControlEpisode) -> str:
    course = episode.course
    assert course is not None
    velocities = " ".join(f"{v:.3f}" for v in course.vs)
    return f"v went {velocities}, with u {' '.join(f'{u:.3f}' for u in course.us)}."


def _pair(episode: ControlEpisode) -> str:
    assert episode.course is not None
    return f"{episode.controller}={residual(episode.task, episode.course)}"


def reward(value: float) -> str:
    """Three decimals; more digits where they would all be 0."""
    return f"{value:.3f}" if value >= 0.0005 else f"{value:.2e}"


def hint_from(facts: Sequence[str], rendering: Rendering) -> str:
    """Facts as `fact` and `note` write them, as one hint."""
    if rendering == "compact":
        return " ".join(facts) or "none"
    if rendering == "terse":
        return " ".join(facts) or "Nothing noted yet."
    return "\n".join(facts) or "Nothing is known for certain yet."


def truth(world: ControlWorld, rendering: Rendering) -> list[str]:
    """All hidden facts of a world."""
    if world in WORLDS:
        return [best(law_of(world), rendering)]
    return [constant("a", world.a, rendering), constant("b", world.b, rendering)]


def best(law: str, rendering: Rendering) -> str:
    if rendering == "compact":
        return f"best={law}"
    if rendering == "terse":
        return f"{law} is the best law."
    world = WORLDS[LAWS.index(law)]
    return f"- {law} is the best law (a = {world.a:g}, b = {world.b:g})."


def note(law: str, word: str, rendering: Rendering) -> str:
    """How far from the target a law ended: no claim, but it tells what to try next."""
    if rendering == "compact":
        return f"{law}={word}"
    where = {"near": "near", "over": "beyond", "short": "short of"}[word.removeprefix("far-")]
    said = f"{law} ended {'far ' * word.startswith('far-')}{where} the target."
    return said if rendering == "terse" else f"- {said}"


def constant(name: str, value: float, rendering: Rendering) -> str:
    if rendering == "compact":
        return f"{name}={value:.3f}"
    if rendering == "terse":
        return f"{name} = {value:.3f}."
    more = f" (a positive push makes v {'larger' if value > 0 else 'smaller'})" if name == "b" else ""
    return f"- {name} = {value:.3f}{more}."


def reply(controller: str, task: ControlTask, rendering: Rendering) -> str:
    if rendering == "compact":
        return f"<answer> {controller} </answer>"
    if rendering == "full" and not task.by_law:
        return f"<answer>{written(controller)}</answer>"
    return f"<answer>{controller}</answer>"


_SURE = ("My hints say that {known}", "According to my hints, {known}", "I have noted that {known}")
_TRY = (
    "I do not know {unknown} yet, so I try {it}.",
    "Nothing tells me {unknown}, so I try {it}.",
    "{unknown} is not known yet; I try {it}.",
)


def thought(known: str, act: str, rendering: Rendering, rng: Random) -> str:
    """What the demonstrator says where its hints tell something."""
    said = rng.choice(_SURE).format(known=known)
    return f"{said}." if rendering == "terse" else f"{said}, so I {act}."


def trial(unknown: str, it: str, rng: Random) -> str:
    """The same for a try, which must not sound like a fact."""
    return _capital(rng.choice(_TRY).format(unknown=unknown, it=it))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _at(x: float, v: float) -> str:
    return f"x {x:.3f}, v {v:.3f}"


def _goal(task: ControlTask) -> str:
    return f"x {task.x_target:.3f}, v {task.v_target:.3f}"
