"""One experiment: measure, fit, commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isclose
from typing import Any

import numpy as np

from codctl.envs.base import Episode, Rendering, Step
from codctl.envs.pde_discovery import actions, text
from codctl.envs.pde_discovery.actions import (
    ALL_DATA,
    Action,
    Commit,
    InvalidError,
    Regress,
    Sample,
    Summarise,
    UnreadableError,
)
from codctl.envs.pde_discovery.regression import Regression, largest_error, regress
from codctl.envs.pde_discovery.terms import TERMS, Array, Equation
from codctl.envs.pde_discovery.world import PdeTask, PdeWorld

MAX_TURNS = 6
POINTS = 6
_MERGED = re.compile(r"merged_t(\d{1,4})_t(\d{1,4})", re.ASCII)


@dataclass(frozen=True)
class DataSet:
    """Measured points, or several data sets together."""

    name: str
    task: int
    x: Array
    t: Array
    u: Array
    y: Array

    def __len__(self) -> int:
        return len(self.u)


@dataclass(frozen=True)
class Committed:
    """An equation that was committed.

    Attributes:
        task: In which task.
        equation: Term → coefficient.
        error: Largest error on the data of its regression.
        margin: By how much the best candidate with other terms was worse there, relative to the error; None where there
            was none.
        points: Of that data.
        span: Of the states in it.
    """

    task: int
    equation: Equation
    error: float
    margin: float | None
    points: int
    span: float


class PdeEpisode(Episode):
    """Six turns and six sample points. The reward says how near the committed equation is; the agent is not told it.

    Attributes:
        datasets: Measured in this task, in order.
        earlier: Measured in earlier tasks, where the environment keeps them.
        history: What was committed in earlier tasks, likewise.
        regression: The latest one of this task.
        committed: In this task.
        log: What was asked and what came back, by turns.
    """

    shows_reward = False

    def __init__(
        self, world: PdeWorld, task: PdeTask, rendering: Rendering, past: Sequence[PdeEpisode] | None = None
    ) -> None:
        """Begin.

        Args:
            world: The hidden reaction.
            task: The trajectory.
            rendering: How texts are written.
            past: Earlier episodes that the environment remembers; None where it remembers nothing.
        """
        super().__init__(MAX_TURNS)
        self.world, self.task, self.rendering = world, task, rendering
        self.remembers = past is not None
        self.earlier = [data for episode in past or () for data in episode.datasets]
        self.history = [episode.committed for episode in past or () if episode.committed]
        self._fitted_before = next((e.fitted for e in reversed(past or ()) if e.fitted), "")
        self.datasets: list[DataSet] = []
        self.regression: Regression | None = None
        self.committed: Committed | None = None
        self.log: list[tuple[str, str]] = []
        self.observation = text.observation(self, "")

    @property
    def points_left(self) -> int:
        return POINTS - sum(map(len, self.datasets))

    @property
    def known(self) -> dict[str, DataSet]:
        """All data sets that a regression may use."""
        return {data.name: data for data in (*self.earlier, *self.datasets)}

    @property
    def fitted(self) -> str:
        """The latest best fit, which may stem from an earlier task where the environment remembers."""
        return str(self.regression.best) if self.regression else self._fitted_before

    @property
    def latest_commit(self) -> Committed | None:
        return self.committed or (self.history[-1] if self.history else None)

    def act(self, action: str) -> Step:
        if self.done:
            raise ValueError("the episode is over")
        try:
            asked = self._read(action)
        except UnreadableError as error:
            return self.fail(str(error))
        self.turns += 1
        try:
            said = self._do(asked) if not isinstance(asked, InvalidError) else text.refused(str(asked))
        except InvalidError as error:
            said = text.refused(str(error))
        self.log.append((action, said))
        if self.committed:
            return self.end(self._reward, text.ending(self), self.info, solved=self._is_right)
        if self.turns >= self.max_turns:
            return self.end(0.0, text.ending(self), self.info)
        return Step(text.observation(self, said), 0.0, False)

    def transcript(self) -> str:
        return text.transcript(self)

    def _read(self, action: str) -> Action | InvalidError:
        try:
            asked = actions.read(action)
        except InvalidError as error:
            return error
        if isinstance(asked, Summarise) and not self.remembers:
            raise UnreadableError("'summarize_pack_evidence' is not an action here")
        return asked

    def _do(self, asked: Action) -> str:
        if isinstance(asked, Sample):
            return self._sample(asked)
        if isinstance(asked, Regress):
            return self._regress(asked)
        if isinstance(asked, Summarise):
            return text.summary(self.history, asked.reveal)
        return self._commit(asked)

    def _sample(self, asked: Sample) -> str:
        if len(asked.points) > self.points_left:
            raise InvalidError(f"{len(asked.points)} points were asked for and {self.points_left} are left")
        x, t = np.array(asked.points).T
        measurement = len(self.known) + 1
        u, y = self.task.measure(self.world, x, t, measurement)
        data = DataSet(f"ds_t{self.task.number}_{measurement}", self.task.number, x, t, u, y)
        self.datasets.append(data)
        return text.sampled(self, data)

    def _regress(self, asked: Regress) -> str:
        data = self._data(asked.data)
        most = self.world.preset.most_terms
        self.regression = regress(data.u, data.y, asked.terms, most, asked.threshold, asked.supports)
        return text.regressed(self, self.regression, data)

    def _data(self, name: str) -> DataSet:
        """One data set, all, or those of some tasks.

        Raises:
            InvalidError: There is none of this name.
        """
        merged = _MERGED.fullmatch(name)
        if name in (ALL_DATA, "merged"):
            parts = list(self.known.values())
        elif merged and self.remembers:
            parts = [data for data in self.known.values() if int(merged[1]) <= data.task <= int(merged[2])]
        else:
            parts = [data for data in self.known.values() if data.name == name]
        if not parts:
            raise InvalidError(f"there is no data set {name[:40]!r}" + ("" if self.known else "; sample first"))
        together = {field: np.concatenate([getattr(part, field) for part in parts]) for field in "xtuy"}
        return DataSet(name, self.task.number, **together)

    def _commit(self, asked: Commit) -> str:
        if not self.datasets:
            raise InvalidError("an equation can be committed only after sampling in this task")
        if self.regression is None:
            raise InvalidError("an equation can be committed only after a regression in this task")
        if not any(_same(asked.equation, candidate.equation) for candidate in self.regression.candidates):
            raise InvalidError(
                "preferred_equation must be one that the latest regression scored, with its coefficients"
            )
        u, y = self.regression.u, self.regression.y
        error = largest_error(asked.equation, u, y)
        margin = self.regression.margin_of(tuple(asked.equation), error)
        self.committed = Committed(self.task.number, asked.equation, error, margin, len(u), float(np.ptp(u)))
        return text.committed(self.committed)

    @property
    def _is_right(self) -> bool:
        """Whether the structure is."""
        return self.committed is not None and set(self.committed.equation) == set(self.world.equation)

    @property
    def _reward(self) -> float:
        return 1 / (1 + self._distance + self._surplus) if self.committed else 0.0

    @cached_property
    def _distance(self) -> float:
        return normalised_l1(self.committed.equation, self.world.equation) if self.committed else 1.0

    @property
    def _surplus(self) -> int:
        return max(0, len(self.committed.equation) - len(self.world.equation)) if self.committed else 0

    @property
    def info(self) -> Mapping[str, Any]:
        """The published measures of a task."""
        right, true = self._is_right, self.world.equation
        off = (
            [abs(self.committed.equation[k] - c) / abs(c) for k, c in true.items()] if self.committed and right else []
        )
        return {
            "structure": float(right),
            "coefficient_error": sum(off) / len(off) if off else 1.0,
            "normalised_l1": self._distance,
            "surplus_terms": self._surplus,
            "points": POINTS - self.points_left,
            "terms": len(true),
        }


def normalised_l1(equation: Equation, true: Equation) -> float:
    """How far coefficients are from the true ones, relative to the size of those."""
    off = sum(abs(equation.get(term, 0.0) - true.get(term, 0.0)) for term in range(len(TERMS)))
    return off / sum(map(abs, true.values()))


def _same(one: Equation, other: Equation) -> bool:
    return set(one) == set(other) and all(isclose(c, other[term], rel_tol=1e-9) for term, c in one.items())
