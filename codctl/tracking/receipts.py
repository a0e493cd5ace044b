"""What MLflow has confirmed of a run: `mlflow-sent.json`. Losing it costs questions or repetitions, never a number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codctl.errors import UsageError
from codctl.files import atomic, reader
from codctl.tracking.points import Point

FILE = "mlflow-sent.json"


@dataclass
class Receipts:
    """Confirmed by the MLflow run `run_id`.

    Attributes:
        run_id: Whose they are.
        steps: For each key the step up to which all points are there.
        params: Whether the settings are there.
        status: The last status that was set.
        evaluations: For each folder the nested run, and of which result it is.
        artifacts: For each file what it was like when it was copied.
        in_doubt: An answer was lost while something was made: there may be a second one.
    """

    run_id: str
    steps: dict[str, int] = field(default_factory=dict)
    params: bool = False
    status: str = ""
    evaluations: dict[str, dict[str, str]] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    in_doubt: bool = False

    def has(self, point: Point) -> bool:
        return point.step <= self.steps.get(point.key, -1)

    def confirm(self, points: Iterable[Point]) -> None:
        for point in points:
            self.steps[point.key] = max(point.step, self.steps.get(point.key, -1))

    def save(self, folder: Path) -> None:
        atomic.write_json(folder / FILE, {"schema": 1, **asdict(self)}, durable=False)


def load(folder: Path, run_id: str | None) -> Receipts | None:
    """The receipts of this MLflow run; None when there are none, so that MLflow has to be asked."""
    from codctl.files import forms as files

    try:
        content: Any = reader.read(folder / FILE, files.MlflowSent)
    except UsageError:  # what it would say is asked of MLflow
        return None
    return Receipts(**content) if content and content["run_id"] == run_id else None
