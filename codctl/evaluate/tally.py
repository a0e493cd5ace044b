"""How far an evaluation is, counted in tasks: trajectories that are played together also end together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codctl.cod.context import Revision
from codctl.cod.rollout import Hints
from codctl.envs.base import Episode, Pack
from codctl.results.rows import Row

Report = Callable[[str, int, int, dict[str, float]], None]
_SHOWN = 8  # positions


@dataclass
class Tally:
    """Counts tasks and keeps the newest means of each arm.

    Attributes:
        report: Called with the arm, tasks done, tasks in all, and the means.
        total: Tasks in all.
        done: Tasks done.
    """

    report: Report
    total: int = 0
    done: int = 0
    _sums: dict[str, dict[int, list[float]]] = field(default_factory=dict)  # arm → position → sum and count
    _read: dict[str, list[bool]] = field(default_factory=dict)  # arm → of each task, whether its replies could be read

    def announce(self) -> None:
        """Say how far it is before anything more is played."""
        self.report("", self.done, self.total, {})

    def task_is_done(self, arm: str) -> None:
        self.done += 1
        self.report(arm, self.done, self.total, self._means(arm))

    def trajectory_is_done(self, arm: str, rows: Sequence[Row], *, is_reference: bool) -> None:
        """Its last task is done. A reference policy is not whom one watches: its success is not shown."""
        for row in rows if not is_reference else ():
            self._read.setdefault(arm, []).append(not row.format_error)
            if row.success is not None:
                mean = self._sums.setdefault(arm, {}).setdefault(row.position, [0.0, 0.0])
                mean[0] += row.success
                mean[1] += 1
        self.task_is_done(arm)

    def _means(self, arm: str) -> dict[str, float]:
        sums, read = self._sums.get(arm, {}), self._read.get(arm, [])
        positions = sorted(sums)
        shown = positions[:: max(1, -(-len(positions) // _SHOWN))]
        means = {f"success/position_{p}": sums[p][0] / sums[p][1] for p in shown}
        return means | ({"unreadable": 1 - sum(read) / len(read)} if read else {})


@dataclass(frozen=True)
class CountedHints:
    """The hints of an arm. That they are asked for at a position says that the task before it is done."""

    hints: Hints
    tally: Tally
    arm: str

    @property
    def updates(self) -> bool:
        return self.hints.updates

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        if position:
            self.tally.task_is_done(self.arm)
        return self.hints.at(pack, position, own, past)
