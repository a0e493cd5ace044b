"""What trackers get of a run beside its numbers: settings, evaluations, small files. Never a secret.

Job scripts may hold secrets, so they stay here, and so does what a link in the folder leads to.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from codctl.config.credentials import redacted
from codctl.files import reader
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import RESULT, WALKTHROUGHS, Estimate, EvalResult, Measured, PartResult
from codctl.runs.evaluations import EVALUATIONS, evaluations_of
from codctl.tracking.sink import Artifact, Evaluation, Point

_LARGEST_BYTES = 10_000_000
_PRIVATE = {"cluster": {"setup", "extras"}}
_PLACES = ("stages/evaluation", "suites")
_FILES = (RESULT, "report.html", WALKTHROUGHS)
_OF_SWEEPS = ("sweep.json", RESULT, "table.csv", "report.html")
_WHAT = (
    *("family", "preset", "variant", "strategy", "rendering", "split", "packs", "length"),
    *("drift_at", "poison", "temperature", "solve_tokens", "update_tokens", "suggested_tokens", "answers", "seeds"),
)
_NOT_IN_A_NAME = re.compile(r"[^\w./ :-]", re.ASCII)


def settings(run: RunDirectory) -> dict[str, object]:
    """The digest and every key of the config, dotted.

    Raises:
        UsageError: The run's config cannot be read.
    """
    frozen = run.frozen()
    return {"digest": frozen["digest"], **_flatten(_public(frozen["config"])), "name": run.name}


def about(run: RunDirectory) -> dict[str, str]:
    """Where a run comes from: command, commit, user, description, digest."""
    manifest, frozen = run.manifest(), run.frozen()
    found = {
        "command": redacted(shlex.join(manifest["command"])),
        "commit": str(manifest["machine"].get("commit") or "").partition(" ")[0],
        "user": _user(),
        "description": redacted(str(frozen["config"].get("description") or "")),
        "digest": str(manifest["digest"]),
    }
    return {name: value for name, value in found.items() if value}


def files(run: RunDirectory) -> list[Artifact]:
    """config.json as it may be shown, the run's page, first and last stored rollouts, files of its evaluations."""
    frozen = run.frozen()
    shown = {**frozen, "config": _public(frozen["config"])}
    config = Artifact(run.path / "config.json", text=redacted(json.dumps(shown, indent=2, ensure_ascii=False)))
    stored = sorted(run.rollouts.glob("step-*.parquet"))
    rollouts = [Artifact(path, "rollouts") for path in dict.fromkeys([*stored[:1], *stored[-1:]])]
    found = [file for file in [Artifact(run.path / "report.html"), *rollouts] if _is_file_of(run.path, file.path)]
    small = [file for file in found if file.path.stat().st_size <= _LARGEST_BYTES]
    return [config, *small, *(Artifact(path, evaluation=one.place) for one in evaluations(run) for path in one.files)]


def files_of_sweep(folder: Path) -> list[Artifact]:
    """Plan, results and page of a sweep."""
    return [Artifact(path) for name in _OF_SWEEPS if _is_file_of(folder, path := folder / name)]


def evaluations(run: RunDirectory) -> list[Evaluation]:
    """All finished evaluations of a run: of its training and of its sweep, by place, then those of `codctl eval`.

    One that is being written is not there yet.
    """
    inside = (path for place in _PLACES for path in sorted(run.path.glob(f"{place}/[!.]*/{RESULT}")))
    found = [_read(path, path.parent.relative_to(run.path).as_posix(), run.path) for path in inside]
    played = (one for one in evaluations_of(run) if one.state == "finished")
    found += [_read(one.path / RESULT, f"{EVALUATIONS}/{one.name}", one.path) for one in played]
    return [evaluation for evaluation in found if evaluation is not None]


def digest(content: bytes) -> str:
    """Changes with the content."""
    return hashlib.sha256(content).hexdigest()[:16]


def milliseconds(moment: str) -> int:
    """Of a time as codctl writes it; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError:
        return 0


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {name: inner for name, inner in value.items() if name not in _PRIVATE.get(key, ())}
        if isinstance(value, Mapping)
        else value
        for key, value in config.items()
    }


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = redacted(value) if isinstance(value, str) else value
    return flat


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in some containers
        return ""


def _is_file_of(folder: Path, path: Path) -> bool:
    """Whether a file lies in a folder, and no link leads out of it: it might lead to private keys."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def _read(path: Path, place: str, within: Path) -> Evaluation | None:
    if not _is_file_of(within, path):
        return None
    try:
        content = reader.read_bytes(path, most_bytes=reader.LARGE)
        result = reader.check_json(content, EvalResult)
    except (OSError, ValueError):
        return None
    name, ended_ms = path.parent.name, path.stat().st_mtime_ns // 1_000_000
    if place.startswith(f"{EVALUATIONS}/"):  # by its suite and the beginning of its digest
        name = f"{result.suite}-{name.rpartition('-')[2]}"
    return Evaluation(
        place=place,
        name=name,
        stamp=digest(content),
        settings={**_played(result), "place": place},
        points=points_of(result, ended_ms),
        command=result.command,
        files=tuple(file for name in _FILES if _is_file_of(path.parent, file := path.with_name(name))),
        ended_ms=ended_ms,
    )


def _played(result: EvalResult) -> dict[str, object]:
    parts = _parts(result)
    found: dict[str, object] = {f"{prefix}{key}": getattr(part, key) for prefix, part in parts for key in _WHAT}
    found |= {"suite": result.suite, "digest": result.digest}
    found |= {"model.checkpoint": result.subject.checkpoint, "model.step": result.subject.step}
    known = ((key, value) for key, value in found.items() if value is not None)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in known}


def points_of(result: EvalResult, at_ms: int) -> list[Point]:
    """The numbers of an evaluation; the step is the position in the pack, or the attempt."""
    found = [
        Point(_NOT_IN_A_NAME.sub("_", f"{prefix}{key}"), step, float(value), at_ms)
        for prefix, part in _parts(result)
        for key, step, value in _numbers_of_part(part)
    ]
    return list({(point.key, point.step): point for point in found}.values())


def _parts(result: EvalResult) -> list[tuple[str, PartResult]]:
    return [(f"{part.name}/" if len(result.parts) > 1 else "", part) for part in result.parts]


def _numbers_of_part(part: PartResult) -> Iterator[tuple[str, int, float]]:
    yield from _numbers(part)
    for name, attempts in (part.solved_by_attempt or {}).items():
        yield from ((f"{name}/solved_by_attempt", point.attempt, point.mean) for point in attempts)
    yield "failed_episodes", 0, part.failed_episodes
    yield from ((f"replies/{kind}", 0, count) for kind, count in part.replies.faults.items())
    for fault in part.replies.by_position:
        yield f"{fault.arm}/replies/{fault.episode}_{fault.kind}", fault.position, fault.count
    for one in part.outcomes:
        yield f"{one.arm}/outcome/{one.episode}/{one.outcome}", one.position, one.count / max(one.of, 1)
    if part.distractors:
        yield from ((f"distractors/{key}", step, value) for key, step, value in _numbers(part.distractors))


def _numbers(found: Measured) -> Iterator[tuple[str, int, float]]:
    for arm, curves in found.arms.items():
        for measure, curve in vars(curves).items():
            yield from ((f"{arm}/{measure}", point.position, point.mean) for point in curve)
    for name, curve in found.ceiling_curves.items():
        yield from ((f"ceiling/{name}", point.position, point.mean) for point in curve)
    for arm, details in found.hint_detail.items():
        for name, curve in details.items():
            yield from ((f"{arm}/hint_detail/{name}", point.position, point.mean) for point in curve)
    measured: list[tuple[str, Mapping[str, Estimate]]] = [("gain", found.gain), ("regret", found.regret)]
    if graded := found.graded:
        for measure, told in (("raw_reward", graded.raw_reward), ("share", graded.share)):
            for name, curve in told.items():
                where = name if name in found.arms else f"reference/{name}"
                yield from ((f"{where}/{measure}", point.position, point.mean) for point in curve)
        measured += [("reward_gain", graded.reward_gain), ("share_gain", graded.share_gain)]
    for measure, estimates in measured:
        for arm, one in estimates.items():
            yield f"{arm}/{measure}", 0, one.mean
            yield f"{arm}/{measure}_low", 0, one.low
            yield f"{arm}/{measure}_high", 0, one.high
