"""Curves as results store them: a list of points, each with its position, without those where nothing was played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def means(curve: Sequence[Mapping[str, Any]], positions: Sequence[int] | None = None) -> list[float | None]:
    """Means at these positions; None where nothing was played.

    Args:
        curve: The points.
        positions: Of the tasks; all up to the last of the curve when left out.
    """
    found = {point["position"]: point["mean"] for point in curve}
    return [found.get(place) for place in (range(max(found, default=-1) + 1) if positions is None else positions)]
