"""TensorBoard: event files in `tensorboard/` of the run's folder. `tensorboard --logdir RUNS_DIR` shows them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codctl.tracking.sink import Evaluation, Point, Sink, Subject

_FOLDER = "tensorboard"


class TensorboardSink(Sink):
    """See `Sink`. What was written is read back, so that nothing is written twice."""

    title = "TensorBoard"
    package = "tensorboard"
    install = "pip install 'codctl[tensorboard]'"

    _folder: Path
    _writer: Any

    def attach(self, subject: Subject) -> Mapping[str, int]:
        from tensorboard.summary import Writer

        self._folder = subject.folder / _FOLDER
        written = _steps(self._folder)
        self._writer = Writer(str(self._folder))
        return written

    def log(self, points: Sequence[Point]) -> None:
        _write(self._writer, points)

    def evaluation(self, evaluation: Evaluation) -> None:
        """In a folder of its own, so that TensorBoard shows it as a run beside this one."""
        from tensorboard.summary import Writer

        folder = self._folder / evaluation.place.replace("/", "-")
        shutil.rmtree(folder, ignore_errors=True)
        writer = Writer(str(folder))
        _write(writer, evaluation.points)
        writer.close()

    def close(self) -> None:
        self._writer.close()


def _write(writer: Any, points: Sequence[Point]) -> None:
    for point in points:
        writer.add_scalar(point.key, point.value, point.step, wall_time=point.at_ms / 1000)
    writer.flush()


def _steps(folder: Path) -> dict[str, int]:
    """The last step of each key in the event files of a folder. A torn end, as a crash leaves it, is passed over."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[str, int] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag] = max(event.step, found.get(value.tag, -1))
    return found
