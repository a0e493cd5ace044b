"""`codctl sync`: bring the trackers up to what the runs folder holds, once and only once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from codctl.errors import BackendError, CodctlError, Problem, UsageError
from codctl.log import log
from codctl.runs.directory import SWEEPS, RunDirectory, find_run, list_runs, list_sweeps, trials_of
from codctl.tracking import sinks, state
from codctl.tracking.feed import Feed, Sent, tracking_of
from codctl.tracking.sender import first_line
from codctl.tracking.sink import Status

_SAID_SINGLY = 20  # of more, only those with news
_HINT = "when it can be reached again, repeat the command: nothing is lost"
_GOES_ON = ("running", "queued", "paused", "planned")
Statuses = Callable[[Sequence[RunDirectory]], Sequence[str]]


def by_files(runs: Sequence[RunDirectory]) -> list[str]:
    """Statuses of runs without their launchers."""
    return [run.status() for run in runs]


@dataclass
class Outcome:
    """What happened to one run or sweep and one tracker.

    Attributes:
        run: As the command line names it.
        tracker: Empty for a run without one.
        status: How the run stands.
        sent: What was sent.
        note: Why nothing was, or what went wrong.
        problem: What went wrong, with what to do.
    """

    run: str
    tracker: str
    status: str
    sent: Sent = field(default_factory=Sent)
    note: str = ""
    problem: Problem | None = None

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "problem"}


def select(runs_dir: Path, names: Sequence[str]) -> list[RunDirectory | Path]:
    """The runs and the folders of sweeps that a user names, runs first; all of the runs folder when none is named.

    Raises:
        UsageError: There is no such run or sweep.
    """
    if not names:
        sweeps = list_sweeps(runs_dir)
        return [*list_runs(runs_dir), *(run for folder in sweeps for run in trials_of(folder)), *sweeps]
    runs: list[RunDirectory] = []
    sweeps = []
    for name in names:
        if folder := _sweep_folder(runs_dir, name):
            sweeps.append(folder)
            runs += trials_of(folder)
        else:
            runs.append(find_run(runs_dir, name))
    return [*runs, *sweeps]


def conclude(sweep: Path, statuses: Statuses, *, deadline_s: float = 60.0) -> None:
    """A sweep has ended or was summed up: send what is missing. A tracker that is down costs one warning."""
    _quietly([*_readable(trials_of(sweep)), sweep], sweep.name, deadline_s, statuses)


def evaluated(run: RunDirectory, *, deadline_s: float = 30.0) -> None:
    """An evaluation of a run has ended: send it to where the run was. A tracker that is down costs one warning."""
    with contextlib.suppress(CodctlError):
        if any(state.load(run.path, run.root, name) for name in sinks.names(tracking_of(run))):
            _quietly([run], run.title, deadline_s)


def _quietly(
    selection: Sequence[RunDirectory | Path], name: str, deadline_s: float, statuses: Statuses = by_files
) -> None:
    try:
        list(Sync(deadline_s=deadline_s, thorough=False, say=log.debug, statuses=statuses).work(selection))
    except CodctlError as error:
        log.warning("%s. Nothing is lost: `codctl sync %s` sends the rest", error.message, name)


class Sync:
    """Sends what is missing, run by run.

    Args:
        deadline_s: For everything together, in seconds.
        thorough: Ask the trackers also about runs of which all was sent.
        say: For progress.
        statuses: Of a sweep's trials, also by what their launchers say.
    """

    def __init__(
        self, *, deadline_s: float, thorough: bool, say: Callable[[str], None], statuses: Statuses = by_files
    ) -> None:
        self._ends_s, self._deadline_s = time.monotonic() + deadline_s, deadline_s
        self._thorough, self._say, self._statuses = thorough, say, statuses
        self._gone: dict[tuple[str, str], CodctlError] = {}

    def work(self, selection: Sequence[RunDirectory | Path]) -> Iterator[Outcome]:
        """The outcomes of each run and sweep.

        Raises:
            BackendError: At the end, when a tracker was not there, said no, or was too slow. What it took is kept.
        """
        problems: list[Problem] = []
        total = len(selection)
        try:
            for number, one in enumerate(selection, start=1):
                for outcome in self._outcomes(one):
                    problems += [outcome.problem] if outcome.problem else []
                    if outcome.sent or total <= _SAID_SINGLY:
                        to = f" to {sinks.title(outcome.tracker)}" if outcome.tracker else ""
                        self._say(f"{number} of {total}  {outcome.run}{to}: {described(outcome)}")
                    yield outcome
        except _TooSlowError:
            problems.append(Problem(f"not done within {self._deadline_s:g} s", hint="the same command continues"))
        if problems:
            raise _failure(problems)

    def _outcomes(self, one: RunDirectory | Path) -> Iterator[Outcome]:
        """Of each of its trackers; one that fails keeps nothing from the others."""
        title = one.title if isinstance(one, RunDirectory) else one.name
        try:
            trials = [one] if isinstance(one, RunDirectory) else _readable(trials_of(one))
            status = one.status() if isinstance(one, RunDirectory) else _status_of(self._statuses(trials))
            names = sinks.names(tracking_of(trials[0])) if trials else ()
        except CodctlError as error:
            yield _failed(Outcome(title, "", ""), error)
            return
        if not names:
            yield Outcome(title, "", status, note="no tracker is switched on for it (tracking.mlflow, tracking.sinks)")
        for name in names:
            outcome = Outcome(title, name, status)
            sweep = one if isinstance(one, Path) else None
            try:
                if sweep and not sinks.open_sink(name, tracking_of(trials[0])).has_sweeps:
                    continue
                self._send(trials[0], sweep, outcome)
            except CodctlError as error:
                _failed(outcome, error)
            yield outcome

    def _send(self, run: RunDirectory, sweep: Path | None, outcome: Outcome) -> None:
        self._check()
        status, folder = cast("Status", outcome.status), sweep or run.path
        if status == "running" and not sweep:
            outcome.note = "in use: the process that runs it sends its numbers"
            return
        if (sweep or status in ("planned", "queued")) and not state.load(folder, run.root, outcome.tracker):
            outcome.note = "none of its trials has started" if sweep else "not started yet"
            return
        with state.sending(folder, outcome.tracker) as is_alone:
            if not is_alone:
                outcome.note = "in use: another process is sending it"
                return
            one = Feed(run, outcome.tracker, self._check, sweep)
            outcome.sent = one.sent
            try:
                if self._thorough or not one.is_complete(status):
                    with self._explained(outcome.tracker, one):
                        one.attach(thorough=self._thorough)
                        one.everything(status)
            finally:
                one.close()

    @contextlib.contextmanager
    def _explained(self, tracker: str, one: Feed) -> Iterator[None]:
        """Turn a tracker's errors into ours; one that is not there is asked once."""
        where = one.address
        if reason := self._gone.get((tracker, where)):
            raise reason
        try:
            yield
        except (CodctlError, _TooSlowError):
            raise
        except Exception as error:
            what = "refuses" if sinks.has_answered(tracker, error) else "cannot be reached"
            found = BackendError(f"{sinks.title(tracker)} {what}: {first_line(error)}", where=where, hint=_HINT)
            if what != "refuses":
                self._gone[tracker, where] = found
            raise found from error

    def _check(self) -> None:
        if time.monotonic() > self._ends_s:
            raise _TooSlowError


class _TooSlowError(Exception):
    """The deadline has passed."""


def described(outcome: Outcome) -> str:
    """An outcome in words."""
    if outcome.note:
        return outcome.note
    sent = outcome.sent
    counts = {"numbers": sent.points, "evaluations": sent.evaluations, "files": sent.files}
    words = [f"{name} {count}" for name, count in counts.items() if count]
    words += [f"status {sent.status}"] if sent.status else []
    return ", ".join(words) or "nothing to send"


def _status_of(statuses: Sequence[str]) -> str:
    """finished when all trials are; as long as one goes on, so does the sweep; else the worst that happened to one."""
    found = {*statuses}
    if found & {*_GOES_ON}:
        return "running"
    worst = [word for word in ("failed", "died", "interrupted", "cancelled") if word in found]
    return worst[0] if worst else "finished"


def _readable(runs: list[RunDirectory]) -> list[RunDirectory]:
    """Without those that are damaged: they do not hold up the others."""
    found = []
    for run in runs:
        with contextlib.suppress(UsageError):
            run.manifest()
            run.status()
            found.append(run)
    return found


def _sweep_folder(runs_dir: Path, name: str) -> Path | None:
    places = (runs_dir / SWEEPS / name, Path(name))
    return next((path for path in places if path.name and (path / "sweep.json").is_file()), None)


def _failed(outcome: Outcome, error: CodctlError) -> Outcome:
    outcome.note = error.message
    outcome.problem = Problem(error.message, error.where or outcome.run, error.hint)
    return outcome


def _failure(problems: Sequence[Problem]) -> BackendError:
    first, others = problems[0], len(problems) - 1
    message = first.message + (f" (and {others} more)" if others else "")
    distinct = tuple(dict.fromkeys(problems))
    return BackendError(message, where=first.where, hint=first.hint, problems=distinct if len(distinct) > 1 else ())
