"""The least time that work can take on this machine: its matrix products alone, at the row counts of the work.

Each matrix of the model is multiplied here with as many rows as the work has for it, forward and, where something is
learned, backward twice. What a perfect implementation would add is left out: attention itself, norms, the sampling, all
Python. So nothing reaches its bound; how many times as long something takes says how much there is left to win.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import torch

from codctl.cod.trajectory import Trajectory
from codctl.learner.batching import Sample

_LEAST_S, _TRIES = 0.02, 3  # of a measurement
_STEP = 2**0.25  # between two row counts that are measured; between them times are interpolated

Shape = tuple[int, int]  # inputs, outputs


@dataclass
class Products:
    """Times of the products of a model's matrices, measured when they are first asked for.

    Attributes:
        layers: Matrices of all layers: how many there are of each shape.
        head: The output layer.
    """

    layers: Counter[Shape]
    head: Shape
    _times: dict[tuple[Shape, int, bool], float] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any) -> Products:
        head = model.get_output_embeddings()
        found = Counter(
            (part.in_features, part.out_features)
            for part in model.modules()
            if isinstance(part, torch.nn.Linear) and part is not head
        )
        return cls(found, (head.in_features, head.out_features))

    def seconds(self, rows: float, heads: float, *, learns: bool = False) -> float:
        """CPU seconds of one pass: so many rows through the layers, so many of them through the output layer."""
        layers = sum(count * self._at(shape, rows, learns) for shape, count in self.layers.items())
        return layers + (self._at(self.head, heads, learns) if heads else 0.0)

    def rate(self, rows: float, *, learns: bool = False) -> float:
        """FLOP/s of the layers' matrices at so many rows."""
        once = 2 * sum(count * inputs * outputs for (inputs, outputs), count in self.layers.items()) * rows
        return once * (3 if learns else 1) / self.seconds(rows, 0, learns=learns)

    def _at(self, shape: Shape, rows: float, learns: bool) -> float:
        below = 1
        while (above := max(below + 1, round(below * _STEP))) <= rows:
            below = above
        share = (rows - below) / (above - below)
        low = self._measured(shape, below, learns)
        return low + share * (self._measured(shape, above, learns) - low) if share else low

    def _measured(self, shape: Shape, rows: int, learns: bool) -> float:
        if (shape, rows, learns) not in self._times:
            self._times[shape, rows, learns] = _least_seconds(shape, rows, learns)
        return self._times[shape, rows, learns]


def _least_seconds(shape: Shape, rows: int, learns: bool) -> float:
    inputs, outputs = shape
    weight, values, gradient = torch.randn(outputs, inputs), torch.randn(rows, inputs), torch.randn(rows, outputs)

    def multiply() -> None:
        values @ weight.T
        if learns:
            gradient @ weight
            gradient.T @ values

    multiply()
    tries = []
    for _ in range(_TRIES):
        began = process_time()
        for count in itertools.count(1):
            multiply()
            if (spent := process_time() - began) > _LEAST_S:
                tries.append(spent / count)
                break
    return min(tries)


def least_passes(trajectories: Iterable[Trajectory]) -> list[tuple[int, int]]:
    """Forward passes that cannot be fewer: every live trajectory gets its next token in each of them.

    A pass reads what a trajectory has got since its last token, a prompt or that token. Prompts with an equal beginning
    are read once each.

    Returns:
        Of each pass the rows that it reads, and the tokens that it samples.
    """
    reads = [list(_reads(trajectory)) for trajectory in trajectories]
    return [(sum(each), len(each)) for each in (_present(column) for column in itertools.zip_longest(*reads))]


def _reads(trajectory: Trajectory) -> Iterable[int]:
    """Tokens read before each sampled one."""
    for episode in trajectory.episodes:
        read = 0
        for place, sampled in enumerate(episode.loss_mask):
            if sampled:
                yield place - read
                read = place


def _present(column: Iterable[int | None]) -> list[int]:
    return [count for count in column if count is not None]


def of_rollouts(products: Products, trajectories: Iterable[Trajectory]) -> float:
    """Seconds of the fewest passes."""
    return sum(products.seconds(rows, heads) for rows, heads in least_passes(trajectories))


def of_learning(products: Products, rows: Sequence[Sample], budget: int) -> float:
    """Seconds of learning from the rows once, without padding, in micro-batches of so many tokens."""
    tokens, sampled = sum(len(row.ids) for row in rows), sum(row.loss_tokens for row in rows)
    passes = max(1.0, tokens / budget)
    return passes * products.seconds(tokens / passes, sampled / passes, learns=True)
