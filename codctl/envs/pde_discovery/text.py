"""Every text of the numeric presets. `compact` says the same in few words; actions are XML in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from codctl.envs.base import Rendering
from codctl.envs.pde_discovery.equations import write, written
from codctl.envs.pde_discovery.regression import Regression, condition_penalty
from codctl.envs.pde_discovery.templates import PRESETS
from codctl.envs.pde_discovery.terms import TERMS, Array, Equation
from codctl.envs.solve_prompt import ReplyForm
from codctl.quantities import counted

if TYPE_CHECKING:
    from codctl.envs.pde_discovery.episode import Committed, DataSet, PdeEpisode

_WORLD = """\
A quantity u(x, t) obeys u_t = u_xx + f(u) for 0 < x < 1 and 0 < t < 1, and u = 0 at x = 0 and at x = 1. The reaction \
f is hidden. It is the same in every task of this series, while each task has its own initial state and so its own \
trajectory. Find f.

f is a sum of {terms} of these functions, each times a coefficient:
{dictionary}"""

_BUDGET = """\
A task has 6 turns and 6 sample points. One action takes one turn, and is written as XML.

Sample the trajectory, at any points with 0 < x < 1 and 0 <= t <= 1. You are told the name of the data set, not yet \
its values:
<sample_pde_data><point_grid><point x="0.4" t="0"/><point x="0.7" t="0.02"/></point_grid></sample_pde_data>

Fit equations to data. At each point the data have the state u and a target y, which is f(u); both are slightly noisy. \
Either give a dictionary, and every combination of at most {most} of its terms is fitted, or give up to 8 candidate \
equations, and only their combinations of terms are fitted (your coefficients are not used). You see the fit with the \
least largest error, the closest one with other terms, and all points. The fit with the least error is not always the \
true one: more terms fit noise better.
<run_sparse_regression><dataset_id>merged_all</dataset_id><dictionary><term>u</term><term>u**2</term></dictionary>\
</run_sparse_regression>
<run_sparse_regression><candidate_equations><equation>1*sin(u) - 1*u**5</equation></candidate_equations>\
</run_sparse_regression>
{data} A threshold (0.05 unless you give one) drops terms with smaller coefficients."""

_FORGETS = "merged_all is all data of this task; a single data set can be named instead."
_REMEMBERS = (
    "merged_all is all data of the series so far, which stay available; merged_t1_t2 is the data of tasks 1 to 2, and "
    "a single data set can be named as well."
)

_SUMMARISE = """\
List what you committed in earlier tasks, with the equations if you ask for them:
<summarize_pack_evidence><reveal_equations>true</reveal_equations></summarize_pack_evidence>"""

_COMMIT = """\
Commit an equation, which ends the task. It must be one that your latest regression fitted, with its coefficients as \
they were printed; sampling and a regression in this task come first. Functions with a plus or minus inside stand in \
parentheses: 0.7*(exp(u)-1).
<update_scientific_context><preferred_equation>1.2*sin(u) - 0.8*u**5</preferred_equation></update_scientific_context>

What counts is how near the committed equation is to f: the error of its coefficients relative to those of f, and one \
more for each term too many. Without a commit, or with an answer that cannot be read, a task counts nothing. You are \
not told how well you did.

Use what a task shows to prepare the later ones: which terms f has does not change."""

FORM = ReplyForm(
    ask="act.",
    action='<sample_pde_data><point_grid><point x="0.5" t="0"/></point_grid></sample_pde_data>',
    thought="The peak is near the middle, so I sample there.",
    inside=" with one action inside",
)


def rules(rendering: Rendering, preset_name: str, *, remembers: bool) -> str:
    most = PRESETS[preset_name].most_terms
    if rendering == "compact":
        return f"pde u_t = u_xx + f(u), 1-{most} of {', '.join(TERMS)}"
    parts = [
        _WORLD.format(terms=f"one to {('two', 'three')[most - 2]}", dictionary=", ".join(TERMS)),
        _BUDGET.format(most=most, data=_REMEMBERS if remembers else _FORGETS),
        *([_SUMMARISE] if remembers else []),
        _COMMIT,
    ]
    return "\n\n".join(parts)


def observation(episode: PdeEpisode, said: str) -> str:
    """Where the task stands, and what the last action led to."""
    names, left = list(episode.known), episode.points_left
    turn = f"{episode.turns + 1} of {episode.max_turns}"
    if episode.rendering == "compact":
        stand = f"turn {turn} points {left} data {' '.join(names) or 'none'}"
        return f"{said} {stand}" if said else stand
    lines = [said] if said else [f"Task {episode.task.number}."]
    lines += [f"Turn {turn}. Sample points left: {left}. Data sets: {', '.join(names) or 'none yet'}."]
    if not said and episode.history:
        last = episode.history[-1]
        lines.append(
            f"What you committed in task {last.task} was fitted to {last.points} points with u over a span of "
            f"{last.span:.3g}; its largest error there was {last.error:.3g}{_margin(last.margin)}."
        )
    return "\n".join(lines)


def refused(reason: str) -> str:
    return f"Refused: {reason}."


def sampled(episode: PdeEpisode, data: DataSet) -> str:
    if episode.rendering == "compact":
        return f"{data.name} {len(data)} points u {_range(data.u)}"
    return (
        f"{counted(len(data), 'point')} sampled as {data.name}: x {_range(data.x)}, t {_range(data.t)} (mean "
        f"{data.t.mean():.3g}), u {_range(data.u)}."
    )


def regressed(episode: PdeEpisode, found: Regression, data: DataSet) -> str:
    best, rival = found.best, found.rival(found.best.support)
    if episode.rendering == "compact":
        other = f" other {rival} error {rival.error:.3g}" if rival else ""
        rows = "; ".join(f"{u:.4g} {y:.4g}" for u, y in zip(data.u, data.y, strict=True))
        return f"fit {best} error {best.error:.3g}{other} u y {rows}"
    fits, points = counted(len(found.candidates), "fit"), counted(len(data), "point")
    closest = "No fit with other terms was tried."
    if rival:
        margin = found.margin_of(best.support, best.error)
        closest = (
            f"The closest fit with other terms is {rival} with {rival.error:.3g}, worse by {margin:.3g} of the best."
        )
    kappa = found.kappa(best.support)
    return (
        f"Best of {fits} to {data.name} ({points}): f(u) = {best}, largest error {best.error:.3g}, "
        f"{counted(len(best.support), 'term')}. {closest} Condition number {kappa:.3g} for its terms, "
        f"{found.kappa(found.dictionary):.3g} for all that were chosen from; penalty {condition_penalty(kappa):.3g}.\n"
        f"x t u y fit error\n{_rows(data, found.predicted)}"
    )


def _rows(data: DataSet, predicted: Array) -> str:
    points = zip(data.x, data.t, data.u, data.y, predicted, np.abs(data.y - predicted), strict=True)
    return "\n".join(" ".join(f"{number:.4g}" for number in point) for point in points)


def summary(history: Sequence[Committed], reveal: bool) -> str:
    """Equations that were committed, as slots; each with its tasks."""
    slots: dict[str, list[int]] = {}
    for committed in history:
        slots.setdefault(write(committed.equation), []).append(committed.task)
    lines = [
        f"H{number}: {'task' if len(tasks) == 1 else 'tasks'} {', '.join(map(str, tasks))}"
        + (f", f(u) = {equation}" if reveal else "")
        for number, (equation, tasks) in enumerate(slots.items(), 1)
    ]
    return "\n".join(["Committed before (your own, not the truth):", *lines]) if lines else "Nothing was committed yet."


def committed(made: Committed) -> str:
    on = f"largest error {made.error:.3g} on {counted(made.points, 'point')}"
    return f"Committed f(u) = {write(made.equation)}: {on}{_margin(made.margin)}."


def ending(episode: PdeEpisode) -> str:
    """The feedback. It tells what was done and not how good that was."""
    commit = episode.latest_commit
    if episode.rendering == "compact":
        return f"committed {write(commit.equation) if commit else 'none'} fit {episode.fitted or 'none'}"
    said = episode.log[-1][1]
    if not episode.committed:
        said += "\nThe turns are used up, and no equation was committed."
        said += f"\nLatest committed equation: {write(commit.equation) if commit else 'none'}."
    return f"{said}\nLatest best fit: {episode.fitted or 'none'}."


def transcript(episode: PdeEpisode) -> str:
    if episode.rendering == "compact":
        said = " ".join(said for _, said in episode.log)
        return said or "none"
    lines = [f"Turn {turn}: {action}\n{said}" for turn, (action, said) in enumerate(episode.log, 1)]
    return "\n".join([f"Task {episode.task.number}.", *lines])


def hint_from(equation: Equation | None, rendering: Rendering) -> str:
    if not equation:
        return "none" if rendering == "compact" else "Nothing is known for certain yet."
    return f"f(u) = {write(equation)}"


def support_hint(signed: Sequence[tuple[int, int]]) -> str:
    """Terms and signs alone."""
    return "\n".join(
        f"- f has the term {written(term)} with a {'negative' if s < 0 else 'positive'} sign." for term, s in signed
    )


def _margin(margin: float | None) -> str:
    return "" if margin is None else f"; the closest fit with other terms was worse by {margin:.3g} of that"


def _range(values: Array) -> str:
    return f"{np.min(values):.3g} to {np.max(values):.3g}"
