"""What can be had in each world: success or reward of the reference policies by position, as a table for the docs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codctl.cod.references import cheapest_rendering, play_policy, references
from codctl.envs.base import Family
from codctl.errors import UsageError
from codctl.files.atomic import write_bytes
from codctl.results.statistics import means

MARK = "<!-- ceilings -->"
_PACKS_AT_ONCE = 50  # bounds the memory of trajectories, of which only the rewards are kept
_SEED = 0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Curve:
    """Success, or the mean reward of a graded family, of one policy by position, with 95 % intervals over packs."""

    family: str
    variant: str
    preset: str
    policy: str
    mean: list[float]
    low: list[float]
    high: list[float]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def ceilings_of(family: Family, packs: int, length: int, say: Say) -> list[Curve]:
    """Measure every variant, preset and reference policy of a family on its test packs."""
    found = []
    for variant in family.open_variants:
        for preset in family.presets:
            for policy in references([family]):
                say(f"{family.name} {variant} {preset} {policy}: {packs} packs of {length}")
                found.append(_curve(family, variant, preset, policy, packs, length))
    return found


def markdown(curves: list[Curve]) -> str:
    """The table: a row for each variant, preset and policy."""
    positions = range(len(curves[0].mean))
    head = ["variant", "preset", "policy", *(f"position {position + 1}" for position in positions)]
    rows = [[c.variant, c.preset, c.policy, *(_cell(c, position) for position in positions)] for c in curves]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def block(family: Family, curves: list[Curve], packs: int) -> str:
    """Table, the command that makes it, and what the reference is."""
    if not curves:
        return "The family has neither `bayes` nor `informed`, so there are no ceilings.\n"
    length = len(curves[0].mean)
    command = f"codctl env ceilings {family.name} --packs {packs} --length {length} --write docs/worlds"
    return (
        f"{'Mean reward' if family.graded else 'Success'} by position (raw, 95 % interval over {packs} test packs).\n"
        f"{_meaning(family)}\n\n"
        f"{markdown(curves)}\n\n```sh\n{command}\n```\n"
    )


def _meaning(family: Family) -> str:
    said = {
        "bayes": f"`bayes`: {family.reference or 'the strongest uninformed reference'}.",
        "informed": "`informed` knows the world.",
        "random": "`random` is what shares are counted from.",
    }
    return " ".join(said[name] for name in references([family]))


def page_of(family: Family, docs: Path) -> Path:
    """The family's page.

    Raises:
        UsageError: There is none, or it has no place for the table.
    """
    page = docs / f"{family.name}.md"
    if not page.is_file():
        raise UsageError("the page does not exist", where=str(page), hint=f"write it, with a line {MARK} for the table")
    if MARK not in page.read_text(encoding="utf-8").splitlines():
        raise UsageError(f"the page has no line {MARK}", where=str(page), hint="add it where the table belongs")
    return page


def write_block(page: Path, text: str) -> None:
    """Put the table under the mark, in place of what was there up to the next heading."""
    lines = page.read_text(encoding="utf-8").splitlines()
    place = lines.index(MARK) + 1
    rest = next((number for number in range(place, len(lines)) if lines[number].startswith("#")), len(lines))
    after = ["", *lines[rest:]] if rest < len(lines) else []
    write_bytes(page, "\n".join([*lines[:place], "", *text.splitlines(), *after, ""]).encode())


def _curve(family: Family, variant: str, preset: str, policy: str, packs: int, length: int) -> Curve:
    values_PS = np.array(list(_rewards(family, variant, preset, policy, packs, length)))
    found = means([values_PS], ends=family.reward_range)
    ends = (found.mean_C.tolist(), found.low_C.tolist(), found.high_C.tolist())
    return Curve(family.name, variant, preset, policy, *ends)


def _rewards(family: Family, variant: str, preset: str, policy: str, packs: int, length: int) -> Iterator[list[float]]:
    for start in range(0, packs, _PACKS_AT_ONCE):
        indices = range(start, min(start + _PACKS_AT_ONCE, packs))
        drawn = [family.pack("test", index, length, preset, variant) for index in indices]
        for trajectory in play_policy(policy, drawn, cheapest_rendering([family]), _SEED):
            yield [episode.raw_reward for episode in trajectory.of("solve")]


def _cell(curve: Curve, position: int) -> str:
    mean, low, high = (ends[position] for ends in (curve.mean, curve.low, curve.high))
    return f"{mean:.3f} [{low:.3f} {high:.3f}]"
