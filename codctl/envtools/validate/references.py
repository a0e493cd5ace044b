"""Can the tasks be solved, is there something to learn, and does the reference learn it?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from codctl.cod.references import play_policy
from codctl.cod.trajectory import Trajectory
from codctl.envtools.validate.check import Finding, Subject
from codctl.quantities import counted, is_or_are, share

LEAST_TO_LEARN = 0.05
SURE = 2.0  # standard errors by which a rise must leave zero behind
FLAT = 3.0  # standard errors within which a flat curve may look otherwise


def rewards(subject: Subject) -> Finding:
    seen = sorted({float(e.raw_reward) for ts in subject.played.values() for t in ts for e in t.of("solve")})
    least, most = subject.family.reward_range
    if subject.family.graded:
        return Finding(
            least <= seen[0] and seen[-1] <= most,
            f"episodes end with rewards from {seen[0]:g} to {seen[-1]:g} (expected {least:g} to {most:g})",
            "set `reward_range` to the least and the greatest reward there can be",
        )
    return Finding(
        set(seen) <= {0.0, 1.0},
        f"episodes end with the rewards {', '.join(f'{reward:g}' for reward in seen[:5])} (expected 0 and 1)",
        "give reward 1 for success and 0 for everything else, or set `graded = True`",
    )


def solvable(subject: Subject) -> Finding:
    """Whether anyone solves each task; that the informed policy does is another check."""
    if nothing := subject.without("informed"):
        return nothing  # the others may fail what can be solved
    tasks = len(subject.packs) * subject.length
    unsolved = [where for where, by in _solvers(subject) if not by]
    if len(unsolved) > _tolerated(subject):
        return Finding(
            False,
            f"no policy solves {len(unsolved)} of {counted(tasks, 'task')}, the first {unsolved[0]}",
            "in `sample`, draw a task again until it has a solution within its turn budget",
        )
    if unsolved:
        return Finding(
            True,
            f"{len(unsolved)} of {counted(tasks, 'task')} {is_or_are(len(unsolved))} unsolved; {_declared(subject)}",
        )
    return Finding(True, f"each of {counted(tasks, 'task')} is solved by a policy")


def oracle(subject: Subject) -> Finding:
    if nothing := subject.without("informed"):
        return nothing
    missed = [where for where, by in _solvers(subject) if "informed" not in by]
    if len(missed) > _tolerated(subject):
        return Finding(
            False,
            f"`informed` fails {len(missed)} of {counted(len(subject.packs) * subject.length, 'task')}, "
            f"the first {missed[0]}",
            "`informed` may look at `view.world`: let it play a solution that is known to work",
        )
    if missed:
        return Finding(
            True, f"`informed`, which knows the world, fails {counted(len(missed), 'task')}; {_declared(subject)}"
        )
    return Finding(True, "`informed`, which knows the world, solves every task")


def _tolerated(subject: Subject) -> float:
    """How many tasks may be without a solution, with three standard errors of counting them."""
    tasks, share = len(subject.packs) * subject.length, subject.family.unsolvable
    return tasks * share + 3 * math.sqrt(tasks * share * (1 - share))


def _declared(subject: Subject) -> str:
    return f"the family declares that up to {subject.family.unsolvable:.0%} have no solution"


def cold(subject: Subject) -> Finding:
    if nothing := subject.without("informed", "bayes"):
        return nothing
    informed, bayes = (_rewards(subject, name)[:, 0].mean() for name in ("informed", "bayes"))
    said, whole = f"`bayes` solves {bayes:.1%} of the first tasks, `informed` {informed:.1%}", 1.0
    if subject.family.graded:
        floor = _rewards(subject, "random")[:, 0].mean()
        whole = max(informed - floor, 1e-9)
        said = f"mean reward of the first task: `random` {floor:.3f}, `bayes` {bayes:.3f}, `informed` {informed:.3f}"
    if not subject.is_learnable:
        return Finding(True, f"{said}; variant {subject.variant!r} is declared to have nothing to learn")
    return Finding(
        bool(informed - bayes >= LEAST_TO_LEARN * whole),
        f"{said} (expected a gap of at least {LEAST_TO_LEARN:.0%}{' of the way' if subject.family.graded else ''})",
        "hide more, or give fewer turns, so that the first task cannot be solved by trying; "
        "if nothing is hidden on purpose, set learnable[variant] = False",
    )


def learnable(subject: Subject) -> Finding:
    """Whether the reference gets better along the pack; a slow rise gets more packs before it is called none."""
    if nothing := subject.without("bayes"):
        return nothing
    bayes_PS = _rewards(subject, "bayes")
    rise, error = _rise(bayes_PS)
    if subject.is_learnable and rise <= SURE * error:
        bayes_PS = np.concatenate([bayes_PS, _more(subject, "bayes")])
        rise, error = _rise(bayes_PS)
    curve = " ".join(share(value) for value in bayes_PS.mean(axis=0))
    said = (
        f"`bayes` by position: {curve}; rise {rise:+.3f} (standard error {error:.3f}, {counted(len(bayes_PS), 'pack')})"
    )
    if not subject.is_learnable:
        return Finding(
            abs(rise) <= max(FLAT * error, 0.01),
            f"there is nothing to learn in variant {subject.variant!r}, so the curve must be flat: {said}",
            "set learnable[variant] = True if tasks teach something for the next; "
            "else draw all positions from the same distribution",
        )
    return Finding(
        rise > SURE * error,
        f"{said} (expected more than {SURE:g} standard errors)",
        "let tasks of a pack share hidden facts that `bayes` keeps from `view.past`; "
        "if that is not intended, set learnable[variant] = False",
    )


def _rise(values_PS: NDArray[np.float64]) -> tuple[float, float]:
    """From first to last position along the straight line that fits best, and its standard error.

    Pack by pack: worlds differ in difficulty, and that cancels.
    """
    positions = np.arange(values_PS.shape[1]) - (values_PS.shape[1] - 1) / 2
    rises_P = values_PS @ positions / (positions @ positions) * (values_PS.shape[1] - 1)
    return float(rises_P.mean()), float(rises_P.std(ddof=1)) / math.sqrt(len(rises_P))


def _more(subject: Subject, policy: str) -> NDArray[np.float64]:
    """Three times as many packs again."""
    packs = [subject.draw(index) for index in range(subject.count, 4 * subject.count)]
    return _table(play_policy(policy, packs, subject.rendering, 0))


def _rewards(subject: Subject, policy: str) -> NDArray[np.float64]:
    """Raw reward, packs × positions."""
    return _table(subject.played[policy])


def _table(trajectories: Sequence[Trajectory]) -> NDArray[np.float64]:
    return np.array([[e.raw_reward for e in t.of("solve")] for t in trajectories], dtype=np.float64)


def _solvers(subject: Subject) -> Iterator[tuple[str, list[str]]]:
    """Each task with the policies that solve it; a task that `informed` fails says what it was told."""
    for p, pack in enumerate(subject.packs):
        episodes = {name: subject.played[name][p].of("solve") for name in subject.policies}
        for position, told in enumerate(episodes["informed"]):
            where = f"{pack.id}, position {position + 1}: {told.feedback!r}"
            yield where, [name for name in subject.policies if episodes[name][position].is_solved]
