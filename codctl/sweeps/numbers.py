"""Numbers of a sweep or study: one cell for each setting and evaluation, over training seeds and packs.

Success is raw throughout. Shape suffixes: J sampling seeds, P packs, S positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from codctl.cod.references import FLOOR
from codctl.cod.strategies import of_result
from codctl.results.outcomes import unread
from codctl.results.statistics import Estimates, Floats, differences, means, scaled, shares
from codctl.results.summary import mean_of_known, solved_so_far
from codctl.runs.eval_result import PartResult
from codctl.sweeps.study_result import AttemptEstimate, Curve, GradedNumbers, Numbers, PositionEstimate, SeedEstimate

Column = tuple[str, str, int]  # measure, arm, place
_SHARES, _DIFFERENCES = ("success", "solved"), ("gain", "own_less_none")
_ALIKE = ("family", "preset", "variant", "strategy", "rendering", "packs", "length", "temperature")

METHOD = (
    "Means over training seeds of raw success. The 95 % intervals cover the choice of seeds and of packs: the part "
    "of the seeds uses a t quantile, which is wide for few seeds; the part of the packs counts once, since all seeds "
    "play the same packs. For a single seed it is Wilson's interval over packs, which does not cover other seeds."
)


@dataclass(frozen=True)
class Played:
    """One evaluation of one trained model, pack by pack.

    Attributes:
        what: The part of the suite's result.
        success_JPS: For each arm and reference policy; NaN where an episode could not be played.
        reward_JPS: Raw rewards of a graded family, in the same form, those of the random policy too.
    """

    what: PartResult
    success_JPS: Mapping[str, Floats]
    reward_JPS: Mapping[str, Floats] = field(default_factory=dict)


def is_alike(parts: Sequence[PartResult]) -> bool:
    """Whether the training seeds of a setting were asked the same: else their mean would mean nothing."""
    asked = [[*(getattr(part, key) for key in _ALIKE), len(part.seeds)] for part in parts]
    return all(one == asked[0] for one in asked)


def numbers(played: Sequence[Played]) -> Numbers:
    """Sum up one evaluation over the training seeds of a setting.

    Args:
        played: One for each seed; all were asked the same (`is_alike`).
    """
    what = played[0].what
    tables = [_columns(one) for one in played]
    columns = [column for column in tables[0] if all(column in table for table in tables)]
    estimates = {
        column: found
        for kind, measure in ((_SHARES, shares), (_DIFFERENCES, differences))
        for column, found in _estimates(tables, [one for one in columns if one[0] in kind], measure, what).items()
    }
    found = _sorted_out([one.what for one in played], estimates)
    return replace(found, graded=_graded(played)) if what.graded else found


def _graded(played: Sequence[Played]) -> GradedNumbers:
    what = played[0].what
    assert what.graded is not None
    names, groups_P = list(played[0].reward_JPS), _groups(what)
    tables = {name: [mean_of_known(one.reward_JPS[name]) for one in played] for name in names}
    rewards = {name: means(table, groups_P, what.graded.ends) for name, table in tables.items()}
    shared = {}
    if {FLOOR, "informed"} <= set(names):
        ends = tables[FLOOR][0], tables["informed"][0]  # the same for every training seed
        shared = {name: scaled(tables[name], *ends, groups_P) for name in names if name not in (FLOOR, "informed")}

    def curve(found: Estimates) -> Curve:
        points = (PositionEstimate(**vars(_at(found, c)), position=place) for c, place in enumerate(what.positions))
        return tuple(point for point in points if not np.isnan(point.mean))

    rises = {name: _at(found, -1) for name, found in shared.items() if len(what.positions) > 1}
    return GradedNumbers(
        raw_reward={name: curve(found) for name, found in rewards.items()},
        share={name: curve(found) for name, found in shared.items()},
        share_gain={name: rise for name, rise in rises.items() if not np.isnan(rise.mean)},
    )


def _at(found: Estimates, column: int) -> SeedEstimate:
    mean, low, high = (float(values[column]) for values in (found.mean_C, found.low_C, found.high_C))
    return SeedEstimate(mean, low, high, tuple(float(one) for one in found.mean_KC[:, column]))


def difference(ours: Sequence[Played], theirs: Sequence[Played]) -> dict[str, SeedEstimate] | None:
    """`gain` and `last`: what the own hints of one setting are better by, seed by seed and pack by pack.

    None when they do not pair.
    """
    if len(ours) != len(theirs) or not is_alike([one.what for one in (*ours, *theirs)]):
        return None
    tables: list[dict[Column, Floats]] = []
    for our, their in zip(ours, theirs, strict=True):
        mine, other = _columns(our), _columns(their)
        last = max((place for measure, arm, place in mine if (measure, arm) == ("success", "own")), default=None)
        keys: dict[str, Column] = {"gain": ("gain", "own", 0), "last": ("success", "own", last or 0)}
        if last is None or any(key not in mine or key not in other for key in keys.values()):
            return None
        tables.append({(name, "own", 0): mine[key] - other[key] for name, key in keys.items()})
    # A gain is a difference itself, so two of them can be 2 apart.
    reach = {"gain": 2.0, "last": 1.0}
    found: dict[str, SeedEstimate] = {}
    for name, most in reach.items():
        estimates = _estimates(tables, [(name, "own", 0)], partial(differences, reach=most), ours[0].what)
        found |= {column[0]: estimate for column, estimate in estimates.items()}
    return found if len(found) == len(reach) else None


def _estimates(
    tables: Sequence[Mapping[Column, Floats]],
    columns: Sequence[Column],
    measure: Callable[..., Estimates],
    what: PartResult,
) -> dict[Column, SeedEstimate]:
    """Every column that is known, with its interval."""
    if not columns:
        return {}
    found = measure([np.stack([table[column] for column in columns], axis=1) for table in tables], _groups(what))
    return {column: _at(found, c) for c, column in enumerate(columns) if not np.isnan(found.mean_C[c])}


def _columns(played: Played) -> dict[Column, Floats]:
    """Everything that is measured of a pack, each as an array over packs."""
    found: dict[Column, Floats] = {}
    positions = played.what.positions
    known = {arm: mean_of_known(success_JPS) for arm, success_JPS in played.success_JPS.items()}
    for arm, success_PS in known.items():
        found |= {("success", arm, position): success_PS[:, s] for s, position in enumerate(positions)}
        if len(positions) > 1:
            found["gain", arm, 0] = success_PS[:, -1] - success_PS[:, 0]
        if of_result(played.what).kind == "loop":
            solved_PS = mean_of_known(solved_so_far(played.success_JPS[arm]))
            found |= {("solved", arm, position + 1): solved_PS[:, s] for s, position in enumerate(positions)}
    if {"own", "none"} <= set(known):
        found["own_less_none", "own", 0] = known["own"][:, -1] - known["none"][:, -1]
    return found


def _sorted_out(parts: Sequence[PartResult], estimates: Mapping[Column, SeedEstimate]) -> Numbers:
    what = parts[0]
    arms, references = list(what.arms), list(what.ceiling_curves)

    def of(measure: str, arm: str) -> list[tuple[int, SeedEstimate]]:
        return [(key[2], found) for key, found in estimates.items() if key[:2] == (measure, arm)]

    def curve(arm: str) -> Curve:
        return tuple(PositionEstimate(**vars(found), position=place) for place, found in of("success", arm))

    def attempts(arm: str) -> tuple[AttemptEstimate, ...]:
        return tuple(AttemptEstimate(**vars(found), attempt=place) for place, found in of("solved", arm))

    is_loop = of_result(what).kind == "loop"
    return Numbers(
        packs=what.packs,
        positions=what.positions,
        failed_episodes=sum(part.failed_episodes for part in parts),
        unread=unread(replace(what, outcomes=tuple(point for part in parts for point in part.outcomes))),
        arms={arm: curve(arm) for arm in arms},
        references={name: curve(name) for name in references},
        gain={arm: estimates["gain", arm, 0] for arm in arms if ("gain", arm, 0) in estimates},
        own_less_none=estimates.get(("own_less_none", "own", 0)),
        solved_by_attempt={name: attempts(name) for name in (*arms, *references)} if is_loop else None,
    )


def _groups(what: PartResult) -> Floats | None:
    """Packs in a row that are of one world are drawn together."""
    if of_result(what).packs_per_world(what.length) == 1 or what.packs <= what.length:
        return None
    groups_P: Floats = np.floor(np.arange(what.packs) / what.length)
    return groups_P
