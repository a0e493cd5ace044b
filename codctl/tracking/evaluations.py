"""The evaluations of a run as MLflow shows them: curves by position, gain, digest. Each is a run nested under it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.files import reader
from codctl.runs.compare import model_of_evaluation
from codctl.runs.directory import RunDirectory
from codctl.runs.evaluations import EVALUATIONS, RESULT, evaluations_of
from codctl.tracking.points import Point
from codctl.tracking.settings import is_file_of

_PLACES = ("stages/evaluation", "suites")
_FILES = ("result.json", "report.html", "walkthrough.json")
_WHAT = (
    *("digest", "suite", "family", "preset", "variant", "strategy", "rendering", "split", "packs", "length"),
    *("drift_at", "poison", "temperature", "solve_tokens", "update_tokens", "suggested_tokens", "answers", "seeds"),
)
_NOT_IN_A_NAME = re.compile(r"[^\w./ :-]", re.ASCII)


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation of a run.

    Attributes:
        place: Its folder below the run's: `suites/ralph-loop`, or below the runs folder: `evaluations/tiny-…`.
        stamp: Changes with the result.
        result: As result.json has it.
        files: Small ones, to be shown beside the numbers.
    """

    place: str
    stamp: str
    result: Mapping[str, Any]
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What to call it below its run; one of `codctl eval` by its suite and the beginning of its digest."""
        folder = self.place.rsplit("/", maxsplit=1)[-1]
        if not self.place.startswith(f"{EVALUATIONS}/"):
            return folder
        return f"{self.result.get('suite')}-{folder.rpartition('-')[2]}"


def find(run: Path) -> list[Evaluation]:
    """All finished evaluations of a run: of its training and of its sweep, by place, then those of `codctl eval`.

    One that is being written is not there yet.
    """
    inside = (path for place in _PLACES for path in sorted(run.glob(f"{place}/[!.]*/result.json")))
    found = [_read(path, path.parent.relative_to(run).as_posix()) for path in inside if is_file_of(run, path)]
    played = (one for one in evaluations_of(RunDirectory(run)) if one.state == "finished")
    results = [(one.path / RESULT, f"{EVALUATIONS}/{one.name}") for one in played]
    found += [_read(path, place) for path, place in results if is_file_of(path.parents[1], path)]
    return [evaluation for evaluation in found if evaluation is not None]


def params(evaluation: Evaluation) -> dict[str, object]:
    """What was played."""
    parts = _parts(evaluation.result)
    found = {f"{prefix}{key}": part[key] for prefix, part in parts for key in _WHAT if part.get(key) is not None}
    top = {key: evaluation.result[key] for key in ("suite", "digest") if key in evaluation.result}
    model = {f"model.{key}": value for key, value in _model(evaluation).items() if value is not None}
    return {**found, **top, **model, "place": evaluation.place}


def _model(evaluation: Evaluation) -> dict[str, Any]:
    """Which model of its run was played."""
    model = evaluation.result.get("subject") or model_of_evaluation(evaluation.files[0].parent) or {}
    return {key: model.get(key) for key in ("checkpoint", "step")}


def points(evaluation: Evaluation, at_ms: int) -> list[Point]:
    """Its numbers: step is the position in the pack, for `solved_by_attempt` the attempt."""
    found = [
        Point(_NOT_IN_A_NAME.sub("_", f"{prefix}{key}"), step, float(value), at_ms)
        for prefix, part in _parts(evaluation.result)
        for key, step, value in _numbers(part)
        if value is not None
    ]
    return list({(point.key, point.step): point for point in found}.values())


def _parts(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    parts = result.get("parts") or [result]
    return [(f"{part['name']}/" if len(parts) > 1 else "", part) for part in parts]


def _numbers(part: Mapping[str, Any]) -> Iterable[tuple[str, int, float | None]]:
    for arm, curves in part.get("arms", {}).items():
        for measure, curve in curves.items():
            yield from ((f"{arm}/{measure}", point["position"], point["mean"]) for point in curve)
    for name, curve in part.get("ceiling_curves", {}).items():
        yield from ((f"ceiling/{name}", point["position"], point["mean"]) for point in curve)
    for name, curve in part.get("solved_by_attempt", {}).items():
        yield from ((f"{name}/solved_by_attempt", point["attempt"], point["mean"]) for point in curve)
    for measure in ("gain", "regret"):
        for arm, estimate in part.get(measure, {}).items():
            yield from ((f"{arm}/{measure}{end}", 0, estimate[of]) for end, of in _ENDS if of in estimate)
    if "failed_episodes" in part:
        yield "failed_episodes", 0, part["failed_episodes"]
    counts = part.get("replies") or {"faults": {}, "by_position": ()}
    yield from ((f"replies/{kind}", 0, count) for kind, count in counts["faults"].items())
    for point in counts["by_position"]:
        yield f"{point['arm']}/replies/{point['episode']}_{point['kind']}", point["position"], point["count"]
    for point in part.get("outcomes", ()):
        name = f"{point['arm']}/outcome/{point['episode']}/{point['outcome']}"
        yield name, point["position"], point["count"] / point["of"]
    if foreign := part.get("foreign"):
        yield from ((f"foreign/{key}", step, value) for key, step, value in _numbers(foreign))


_ENDS = (("", "mean"), ("_low", "low"), ("_high", "high"))


def _read(path: Path, place: str) -> Evaluation | None:
    from codctl.runs import result_file

    try:
        content = reader.read_bytes(path, most_bytes=reader.LARGE)
        result = reader.check(reader.parse(content), result_file.Result)
    except (OSError, ValueError):
        return None
    files = tuple(file for name in _FILES if is_file_of(path.parent, file := path.with_name(name)))
    return Evaluation(place, hashlib.sha256(content).hexdigest()[:16], result, files)
