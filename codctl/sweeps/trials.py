"""The status of a sweep's trials, the same for its page and table, its trackers, `status`, and what is left to do."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codctl.errors import CodctlError, UsageError
from codctl.files.seal import is_sealed
from codctl.jobs.jobs import Jobs
from codctl.jobs.status import ALIVE, WRONG, RunStatus, ask_launchers, read_status
from codctl.pipeline.trial import missing_suites, suite_folder
from codctl.quantities import counted
from codctl.runs import eval_result
from codctl.runs.directory import TRIALS, RunDirectory, is_linked_trial
from codctl.runs.eval_result import EvalResult

if TYPE_CHECKING:
    from codctl.files.records import Attempt, SweepTrial

IN_RUN = "after"  # the evaluation that ends a run
Verdict = Literal["complete", "run", "in_progress", "failed"]


@dataclass(frozen=True)
class TrialState:
    """One trial of a sweep and its status.

    Attributes:
        entry: Of sweep.json: its name, labels, digest, overrides and suites.
        folder: Its run directory, there or not.
        status: Of its run.
        message: What is wrong with it, or why its last attempt failed.
        missing_suites: Names of the suites without a result.
        verdict: complete (nothing to do), run, in_progress, failed (waits for --retry-failed).
    """

    entry: SweepTrial = field(repr=False)
    folder: Path
    status: str
    message: str
    missing_suites: tuple[str, ...]
    verdict: Verdict

    @property
    def name(self) -> str:
        return self.entry["name"]

    @property
    def labels(self) -> Mapping[str, Any]:
        """Its values of the axes."""
        return self.entry["labels"]

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites that it is to play."""
        return tuple(suite["name"] for suite in self.entry["suites"])

    @property
    def command(self) -> str:
        """What trains it outside of its sweep; a trial without a recipe has only its overrides."""
        recipe, overrides = self.entry.get("recipe"), self.entry["overrides"]
        return shlex.join(["codctl", "train", recipe, *overrides] if recipe else overrides)

    @cached_property
    def attempts(self) -> list[Attempt]:
        with contextlib.suppress(CodctlError):
            return [] if is_linked_trial(self.folder) else RunDirectory(self.folder).attempts()
        return []

    @cached_property
    def evaluations(self) -> Mapping[str, Path]:
        """Folders of the evaluations that count, by name: of its suites, or else the one that ends a run."""
        return self._found[0]

    @property
    def missing(self) -> tuple[str, ...]:
        """What there is no result of yet, in words."""
        return self._found[1]

    @property
    def is_complete(self) -> bool:
        return self.status == "finished" and not self.missing

    @cached_property
    def _found(self) -> tuple[dict[str, Path], tuple[str, ...]]:
        if self.suites and not is_linked_trial(self.folder):
            return _suites(self.folder, self.suites)
        if self.status != "finished":
            return {}, ()
        path = RunDirectory(self.folder).evaluations / IN_RUN
        return ({IN_RUN: path}, ()) if is_sealed(path) else ({}, ("evaluation after the training",))

    def trained_worlds(self) -> list[tuple[str, str]]:
        """Family and preset of the worlds that it was trained on; empty when that is not known."""
        try:
            parts = RunDirectory(self.folder).config().world.parts
        except CodctlError:
            return []
        return [(part.family, part.preset) for part in parts]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {key: getattr(self, key) for key in ("name", "status", "missing_suites", "message", "verdict")}


def states_of(
    sweep: Path, entries: Sequence[SweepTrial], jobs: Jobs, *, retry_failed: bool = False, can_remake: bool = True
) -> list[TrialState]:
    """Look at trials.

    Args:
        sweep: The sweep's folder.
        entries: Of sweep.json.
        jobs: The scheduler.
        retry_failed: Whether failed ones are run again.
        can_remake: Whether the directory of a damaged one can be made again; otherwise it is left out.
    """
    seen = [read_status(sweep / TRIALS / entry["name"], f"{sweep.name}/{entry['name']}") for entry in entries]
    ask_launchers(seen, jobs)
    return [_state(one, entry, retry=retry_failed, remake=can_remake) for one, entry in zip(seen, entries, strict=True)]


def in_progress(trials: Sequence[Path], jobs: Jobs) -> list[str]:
    """Names of the trials that run or are queued."""
    seen = [read_status(path, path.name) for path in trials]
    ask_launchers(seen, jobs)
    return [one.name for one in seen if _is_in_progress(one)]


def _is_in_progress(seen: RunStatus) -> bool:
    return seen.status == "running" or (seen.status in ALIVE and bool(seen.jobs))


def _state(seen: RunStatus, entry: SweepTrial, *, retry: bool, remake: bool) -> TrialState:
    missing = tuple(missing_suites(seen.path, entry["suites"])) if entry["suites"] else ()
    message = seen.note or str(seen.record.get("message") or "")
    verdict = _verdict(seen, missing, retry=retry, remake=remake)
    if verdict == "run" and (problem := why_unusable(seen.path)):
        seen.status, message = "unreadable", problem
        verdict = _verdict(seen, missing, retry=retry, remake=remake)
    return TrialState(entry, seen.path, seen.status, message, missing, verdict)


def _verdict(seen: RunStatus, missing: Sequence[str], *, retry: bool, remake: bool) -> Verdict:
    if seen.status == "finished":
        return "run" if missing else "complete"
    if _is_in_progress(seen):
        return "in_progress"
    if seen.status == "unreadable":
        return "run" if retry and remake else "failed"
    never_began = seen.status == "died" and not seen.record  # its job was lost in the queue
    if seen.status in WRONG and not never_began and not retry:
        return "failed"
    return "run"


def why_unusable(path: Path) -> str:
    """What is wrong with a trial's directory; empty when it can be run, and when it has not been made."""
    try:
        if path.is_dir() and any(path.iterdir()):
            RunDirectory.open(path).config()
    except (UsageError, OSError) as error:
        return error.message if isinstance(error, UsageError) else str(error)
    return ""


def _suites(folder: Path, suites: Sequence[str]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """A suite counts when it is played to its end, with no trajectory left to play again."""
    results, missing = {}, []
    for name in suites:
        path = suite_folder(folder, name)
        result = read_result(path)
        if result is None:
            begun = "begun" if (path / "journal.jsonl").is_file() else "not played"
            missing.append(f"suite {name}: {begun}")
        elif again := result.to_play_again:
            missing.append(f"suite {name}: {counted(again, 'trajectory')} failed and will be played again")
        else:
            results[name] = path
    return results, tuple(missing)


def read_result(folder: Path) -> EvalResult | None:
    """The result of an evaluation; None when there is none that can be read."""
    try:
        found = eval_result.read(folder / eval_result.RESULT)
    except UsageError:
        return None
    return found if isinstance(found, EvalResult) else None
