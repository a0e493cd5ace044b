"""A tracker that is a file, for the tests of what is the same for all trackers: `tests.tracking.toy:Toy`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codctl.tracking.sink import Artifact, Evaluation, Point, Sink, Status, Subject

TOY = "tests.tracking.toy:Toy"


class Toy(Sink):
    """`options`: `file` takes a JSON object a line; while `down` exists it cannot be reached; with `hang` it waits."""

    title = "toy"

    def attach(self, subject: Subject) -> Mapping[str, int]:
        time.sleep(600 if self.options.get("hang") else 0)
        self._say(attach=subject.title, key=subject.state.key, settings=len(subject.settings))
        return {key: step for line in self._lines() for key, step, _ in line.get("points", ())}

    def log(self, points: Sequence[Point]) -> None:
        self._say(points=[(point.key, point.step, point.value) for point in points])

    def evaluation(self, evaluation: Evaluation) -> None:
        self._say(evaluation=evaluation.place, stamp=evaluation.stamp)

    def artifact(self, artifact: Artifact) -> None:
        self._say(file=artifact.path.name)

    def status(self, status: Status) -> None:
        self._say(status=status)

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(str(self.options["file"])).read_text().splitlines()]

    def _say(self, **what: Any) -> None:
        if Path(str(self.options.get("down"))).exists():
            raise ConnectionError("nobody answers")
        with Path(str(self.options["file"])).open("a") as file:
            file.write(json.dumps(what) + "\n")
