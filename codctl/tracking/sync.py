"""`codctl sync`: bring MLflow up to what the runs folder holds, once and only once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codctl.errors import BackendError, CodctlError, Problem, UsageError
from codctl.log import log
from codctl.runs.directory import SWEEPS, RunDirectory, find_run, list_runs, list_sweeps, trials_of
from codctl.tracking import identity, server, sweeps
from codctl.tracking import uri as uris
from codctl.tracking.push import Push, Sent, tracking_of
from codctl.tracking.sender import sending

_SAID_SINGLY = 20  # of more, only those with news
_GONE_HINT = "start the server, or correct tracking.mlflow_uri; then repeat the command: nothing is lost"
_REFUSED_HINT = "see the server's log; then repeat the command: nothing is lost"


@dataclass
class Outcome:
    """What happened to one run.

    Attributes:
        run: As the command line names it.
        status: How the run stands.
        sent: What was sent.
        note: Why nothing was, or what went wrong.
    """

    run: str
    status: str
    sent: Sent = field(default_factory=Sent)
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"run": self.run, "status": self.status, "sent": asdict(self.sent), "note": self.note}


@dataclass(frozen=True)
class Selection:
    """Runs, and the sweeps whose own MLflow run is to be brought up to date, too."""

    runs: Sequence[RunDirectory]
    sweeps: Sequence[Path]


def select(runs_dir: Path, names: Sequence[str]) -> Selection:
    """The runs and sweeps that a user names; all of the runs folder when none is named.

    Raises:
        UsageError: There is no such run or sweep.
    """
    if not names:
        folders = list_sweeps(runs_dir)
        return Selection([*list_runs(runs_dir), *(run for folder in folders for run in trials_of(folder))], folders)
    runs: list[RunDirectory] = []
    found: list[Path] = []
    for name in names:
        folder = _sweep_folder(runs_dir, name)
        if folder:
            found.append(folder)
            runs += trials_of(folder)
        else:
            runs.append(find_run(runs_dir, name))
    return Selection(runs, found)


def conclude(sweep: Path, *, deadline_s: float = 60.0) -> None:
    """A sweep has ended or was summed up: send what MLflow lacks of it. A tracker that is down costs one warning."""
    work = Sync(deadline_s=deadline_s, thorough=False, say=log.debug)
    try:
        list(work.work(Selection(_readable(trials_of(sweep)), [sweep])))
    except BackendError as error:
        log.warning("%s. Nothing is lost: `codctl sync %s` sends the rest", error.message, sweep.name)


def _readable(runs: list[RunDirectory]) -> list[RunDirectory]:
    """Without those that are damaged: they keep nobody else's numbers back."""
    found = []
    for run in runs:
        with contextlib.suppress(UsageError):
            run.manifest()
            run.status()
            found.append(run)
    return found


def evaluated(run: RunDirectory, *, deadline_s: float = 30.0) -> None:
    """An evaluation of a run has ended: send it if MLflow knows the run. A tracker that is down costs one warning."""
    known = identity.read(run.path, run.root)
    if known is None or known.run_id is None:
        return
    try:
        list(Sync(deadline_s=deadline_s, thorough=False, say=log.debug).work(Selection([run], [])))
    except CodctlError as error:
        log.warning("%s. Nothing is lost: `codctl sync %s` sends the rest", error.message, run.title)


class Sync:
    """Sends what is missing, run by run.

    Args:
        deadline_s: For everything together, in seconds.
        thorough: Ask MLflow also about runs of which all was confirmed.
        say: For progress.
    """

    def __init__(self, *, deadline_s: float, thorough: bool, say: Callable[[str], None]) -> None:
        self._ends_s, self._deadline_s = time.monotonic() + deadline_s, deadline_s
        self._thorough, self._say = thorough, say
        self._clients: dict[tuple[str | None, Path], Any] = {}
        self._gone: dict[tuple[str | None, Path], str] = {}

    def work(self, selection: Selection) -> Iterator[Outcome]:
        """Each run's outcome, then each sweep's.

        Raises:
            BackendError: At the end, when a server was not there, said no, or was too slow. What it took is kept.
        """
        problems: list[Problem] = []
        total = len(selection.runs) + len(selection.sweeps)
        everything: list[RunDirectory | Path] = [*selection.runs, *selection.sweeps]
        for number, one in enumerate(everything, start=1):
            try:
                outcome = self._run(one) if isinstance(one, RunDirectory) else self._sweep(one)
            except _TooSlowError:
                problems.append(Problem(f"not done within {self._deadline_s:g} s", hint="the same command continues"))
                break
            except CodctlError as error:
                problems.append(Problem(error.message, error.where or one.name, error.hint))
                outcome = Outcome(one.name, "", note=error.message)
            if outcome.sent or total <= _SAID_SINGLY:
                self._say(f"{number} of {total}  {outcome.run}: {described(outcome)}")
            yield outcome
        if problems:
            raise _failure(problems)

    def _run(self, run: RunDirectory) -> Outcome:
        status = run.status()
        outcome = Outcome(run.title, status)
        tracking = tracking_of(run)
        known = identity.read(run.path, run.root)
        if not tracking.mlflow:
            outcome.note = "MLflow is switched off for this run (tracking.mlflow)"
        elif status == "running":
            outcome.note = "in use: the process that runs it sends its numbers"
        elif status in ("planned", "queued") and not (known and known.run_id):
            outcome.note = "not started yet"
        else:
            with sending(run.path) as is_alone:
                if is_alone:
                    outcome.sent = self._push(run, status)
                else:
                    outcome.note = "in use: another process is sending it"
        return outcome

    def _push(self, run: RunDirectory, status: str) -> Sent:
        stored, _ = identity.settle(run.path, tracking_of(run), run.root)
        push = Push(run, lambda: self._client(stored.uri, run.root), self._check)
        try:
            with self._explained(stored.uri, run.root):
                if self._thorough or not push.is_complete(status):
                    push.attach(thorough=self._thorough)
                    push.everything(status)
        finally:
            push.close()
        return push.sent

    def _sweep(self, folder: Path) -> Outcome:
        trials = _readable(trials_of(folder))
        status = sweeps.status(trials)
        outcome = Outcome(folder.name, status)
        if not trials or not tracking_of(trials[0]).mlflow:
            outcome.note = "none of its trials is mirrored to MLflow"
            return outcome
        root = trials[0].root
        known = identity.read(folder, root)
        if known is None or not known.run_id:
            outcome.note = "none of its trials has started"
            return outcome
        with self._explained(known.uri, root):
            connect = lambda: self._client(known.uri, root)  # noqa: E731
            outcome.sent = sweeps.push(folder, known, root, status, connect, thorough=self._thorough)
        return outcome

    def _client(self, stored: str | None, root: Path) -> Any:
        self._check()
        if reason := self._gone.get((stored, root)):
            raise BackendError(reason)
        uris.to_connect(stored, root)  # lends this server's password, and takes back that of another
        if (stored, root) not in self._clients:
            self._say(f"connecting to {server.shown(stored, root)}")
            client = server.connect(stored, root, timeout_s=server.SYNC_TIMEOUT_S)
            self._clients[stored, root] = _InTime(client, self._check)
        return self._clients[stored, root]

    @contextlib.contextmanager
    def _explained(self, stored: str | None, root: Path) -> Iterator[None]:
        """Turn MLflow's errors into ours; a server that is not there is asked once."""
        try:
            yield
        except (CodctlError, _TooSlowError):
            raise
        except Exception as error:
            where, first = server.shown(stored, root), server.first_line(error)
            if server.answered(error):
                raise BackendError(f"MLflow refuses: {first}", where=where, hint=_REFUSED_HINT) from error
            self._gone[stored, root] = f"MLflow cannot be reached at {where}"
            raise BackendError(f"MLflow cannot be reached: {first}", where=where, hint=_GONE_HINT) from error

    def _check(self) -> None:
        if time.monotonic() > self._ends_s:
            raise _TooSlowError


class _TooSlowError(Exception):
    """The deadline has passed."""


class _InTime:
    """A client that checks the deadline before each call: a slow server must not stretch it by every request."""

    def __init__(self, client: Any, check: Callable[[], None]) -> None:
        self._client, self._check_deadline = client, check

    def __getattr__(self, name: str) -> Any:
        self._check_deadline()
        return getattr(self._client, name)


def described(outcome: Outcome) -> str:
    """An outcome in words."""
    if outcome.note:
        return outcome.note
    sent = outcome.sent
    counts = {
        "settings": sent.params,
        "numbers": sent.points,
        "evaluations": sent.evaluations,
        "files": sent.artifacts,
        "duplicates removed": sent.removed,
    }
    words = [f"{name} {count}" for name, count in counts.items() if count]
    words += [f"status {sent.status}"] if sent.status else []
    return ", ".join(words) or "nothing to send"


def _sweep_folder(runs_dir: Path, name: str) -> Path | None:
    places = (runs_dir / SWEEPS / name, Path(name))
    return next((path for path in places if path.name and (path / "sweep.json").is_file()), None)


def _failure(problems: Sequence[Problem]) -> BackendError:
    first, others = problems[0], len(problems) - 1
    message = first.message + (f" (and {others} more)" if others else "")
    distinct = tuple(dict.fromkeys(problems))
    return BackendError(message, where=first.where, hint=first.hint, problems=distinct if len(distinct) > 1 else ())
