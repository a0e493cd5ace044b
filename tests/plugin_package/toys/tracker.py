"""tracking.sinks=[lines]: every number on a line of a file in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codctl.tracking.sink import Point, Sink, Status, Subject


class Lines(Sink):
    title = "lines.txt"

    def attach(self, subject: Subject) -> Mapping[str, int]:
        self._file = subject.folder / str(self.options.get("file", "lines.txt"))
        return {}  # it never asks what has arrived: codctl remembers what it has sent

    def log(self, points: Sequence[Point]) -> None:
        self._write(*(f"{point.step} {point.key} {point.value:g}" for point in points))

    def status(self, status: Status) -> None:
        self._write(status)

    def _write(self, *lines: str) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
