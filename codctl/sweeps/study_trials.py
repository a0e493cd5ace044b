"""How the trials of a sweep stand, from their files: what is finished, what is missing, and what to type."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import CodctlError, UsageError
from codctl.files.seal import is_sealed
from codctl.quantities import counted
from codctl.runs import eval_result
from codctl.runs.directory import TRIALS, RunDirectory, is_linked_trial, read_sweep
from codctl.runs.eval_result import EvalResult

if TYPE_CHECKING:
    from codctl.files.forms import Attempt, Sweep, SweepTrial

IN_RUN = "after"


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep.

    Attributes:
        name: Of its folder.
        labels: Where it stands on the axes.
        folder: Its run directory, there or not.
        status: Of the run.
        message: Why its last attempt failed.
        attempts: How many.
        seconds: That its attempts took.
        command: That repeats it alone.
        digest: Of its config.
        suites: Names of the suites that it is to play.
        results: Evaluations that are there and whole: their folders by name; of suites, or else those of the run.
        missing: What it still owes, in words.
    """

    name: str
    labels: Mapping[str, Any]
    folder: Path
    status: str
    message: str
    attempts: int
    seconds: float
    command: str
    digest: str
    suites: tuple[str, ...]
    results: Mapping[str, Path]
    missing: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        return self.status == "finished" and not self.missing


def read_plan(sweep: Path) -> Sweep:
    """The sweep's plan.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    plan = read_sweep(sweep)
    if plan is None:
        raise UsageError("not a sweep: sweep.json is missing", where=str(sweep), hint="codctl status")
    return plan


def look(sweep: Path, entry: SweepTrial) -> Trial:
    """How one trial of the plan stands."""
    folder = sweep / TRIALS / entry["name"]
    run = RunDirectory(folder)
    attempts: list[Attempt] = []
    status, broken = "planned", ""
    is_link = is_linked_trial(folder)
    if is_link:
        status, broken = "unreadable", "it is a link, and links in a sweep are not followed"
    elif run.manifest_path.is_file():
        try:
            run.manifest()
            status, attempts = run.status(), run.attempts()
        except CodctlError as error:
            status, broken = "unreadable", error.message
    suites = tuple(suite["name"] for suite in entry["suites"])
    results, missing = _suites(folder, suites) if suites and not is_link else _in_run(folder, status)
    return Trial(
        name=entry["name"],
        labels=entry["labels"],
        folder=folder,
        status=status,
        message=broken or (attempts[-1]["message"] if attempts else ""),
        attempts=len(attempts),
        seconds=round(sum(attempt.get("seconds") or 0.0 for attempt in attempts), 1),
        command=_alone(entry),
        digest=entry["digest"],
        suites=suites,
        results=results,
        missing=missing,
    )


def trained_worlds(trial: Trial) -> list[tuple[str, str]]:
    """Family and preset of the worlds that it was trained on; empty when nobody can know."""
    try:
        parts = RunDirectory(trial.folder).config().world.parts
    except CodctlError:
        return []
    return [(part.family, part.preset) for part in parts]


def _alone(entry: SweepTrial) -> str:
    """What trains it outside of its sweep; a trial without a recipe has only its overrides."""
    recipe, overrides = entry.get("recipe"), entry["overrides"]
    return shlex.join(["codctl", "train", recipe, *overrides] if recipe else overrides)


def _suites(folder: Path, suites: tuple[str, ...]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """A suite counts when it is played to its end, with no trajectory left to play again."""
    results, missing = {}, []
    for name in suites:
        path = folder / "suites" / name
        result = read_result(path)
        if result is None:
            begun = "begun" if (path / "journal.jsonl").is_file() else "not played"
            missing.append(f"suite {name}: {begun}")
        elif again := result.to_play_again:
            missing.append(f"suite {name}: {counted(again, 'trajectory')} failed and will be played again")
        else:
            results[name] = path
    return results, tuple(missing)


def _in_run(folder: Path, status: str) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The run's own evaluation after its training."""
    if status != "finished":
        return {}, ()
    path = RunDirectory(folder).stage("evaluation") / IN_RUN
    return ({IN_RUN: path}, ()) if is_sealed(path) else ({}, ("evaluation after the training",))


def read_result(folder: Path) -> EvalResult | None:
    """The result.json of an evaluation; None when there is none that can be read."""
    try:
        found = eval_result.read(folder / eval_result.RESULT)
    except UsageError:
        return None
    return found if isinstance(found, EvalResult) else None
