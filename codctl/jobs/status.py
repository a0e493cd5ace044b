"""How a run stands: from its files, and from its launcher when it was submitted to one.

Of a run that has ended only the record of its last attempt is read: a list of a thousand must not take long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import CodctlError
from codctl.jobs.jobs import Jobs
from codctl.runs import attempt, heartbeat
from codctl.runs.directory import RunDirectory, is_linked_trial
from codctl.runs.own_jobs import Job, jobs_of

if TYPE_CHECKING:
    from codctl.files.records import Dispatch
    from codctl.jobs.launcher import JobState

ALIVE = ("running", "queued", "paused")
WRONG = ("failed", "died", "unreadable")


@dataclass
class RunStatus:
    """How one run stands.

    Attributes:
        name: As it is typed: of a trial `<sweep>/<trial>`.
        path: Its folder.
        status: From its files; `ask_launchers` may know better.
        record: Of its last attempt, empty when there was none.
        jobs: The scheduler's, of a run that may still need them.
        states: What the scheduler said of them.
        where: The launcher, of a run that is not over.
        waits_for: Why its job waits, in the scheduler's word.
        missing_suites: Suites of a finished trial that have no result yet.
        note: What is wrong with it.
        hint: What to type about that.
    """

    name: str
    path: Path
    status: str
    record: dict[str, Any] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    states: tuple[JobState, ...] = ()
    where: str = ""
    waits_for: str = ""
    missing_suites: tuple[str, ...] = ()
    note: str = ""
    hint: str = ""

    @property
    def changed(self) -> str:
        """When something last happened to it; for the order of a list only."""
        return str(self.record.get("ended") or self.record.get("started") or "")


def read_status(path: Path, name: str, suites: Sequence[str] = ()) -> RunStatus:
    """Look at one run; a damaged one says what is wrong."""
    run = RunDirectory(path)
    if is_linked_trial(path):
        return RunStatus(name, path, "unreadable", note="it is a link, and links in a sweep are not followed")
    if not run.manifest_path.is_file():
        return RunStatus(name, path, "planned")
    try:
        status, number = run.status(), attempt.count(path)
        seen = RunStatus(name, path, status, dict(attempt.read(path, number)) if number else {})
        if status != "finished":
            run.manifest()  # a run that cannot be used says so here
        if status not in ("finished", "failed"):
            sent = run.dispatch()
            seen.where = sent["where"] if sent else "local" if seen.record else ""
            if sent and not _has_answered(seen, sent):
                seen.jobs = jobs_of(path, sent)
            if seen.status == "queued" and not seen.jobs:
                seen.status, seen.note = "died", "dispatch.json names no job of this run"
        elif status == "finished":
            seen.missing_suites = tuple(suite for suite in suites if not (run.suites / suite / "result.json").is_file())
        return seen
    except (CodctlError, OSError, KeyError, TypeError, ValueError) as error:
        reason = error.message if isinstance(error, CodctlError) else repr(error)
        hint = error.hint if isinstance(error, CodctlError) else ""
        return RunStatus(name, path, "unreadable", note=reason, hint=hint)


def _has_answered(seen: RunStatus, sent: Dispatch) -> bool:
    """Whether a worker of the last submission found the request to cancel, and stopped: its job ends by itself."""
    began = seen.record.get("number", 0) > sent.get("after_attempt", 0)
    return seen.status == seen.record.get("outcome") == "cancelled" and began


def ask_launchers(runs: Sequence[RunStatus], jobs: Jobs) -> None:
    """Correct what files alone cannot know: one question to each launcher for all runs that it has."""
    asked = [one for one in runs if one.jobs]
    states = jobs.states([job for one in asked for job in one.jobs]) if asked else {}
    for one in asked:
        one.states = tuple(states[job] for job in one.jobs)
        one.status = reconcile(one.status, one.states)
        one.waits_for = next((state.reason for state in one.states if state.is_waiting), "")
        if one.status == "cancelled" and not any(state.state == "unknown" or state.is_alive for state in one.states):
            one.jobs = one.states = ()


def reconcile(status: str, jobs: Sequence[JobState]) -> str:
    """How a run stands that its files and its jobs know about.

    Args:
        status: What the files say (RunDirectory.status).
        jobs: Its jobs, in the order of submission; of a chain the most alive one counts.

    Returns:
        One of the words of RunDirectory.status.
    """
    if status == "cancelled" and any(job.holds for job in jobs):  # by a request that has no answer yet
        return "running" if any(job.is_at_work for job in jobs) else "queued"
    if status in ("finished", "failed", "cancelled", "planned") or not jobs:
        return status
    if status == "running":  # its lock is held, and that is the better witness
        return status
    if any(job.is_at_work for job in jobs):
        return "running"
    if any(job.is_waiting for job in jobs):
        # Between two attempts: `paused` says that something is already done, `queued` that it starts from nothing.
        return "paused" if status == "paused" else "queued"
    last = jobs[-1].state
    if last == "unknown":
        return status
    if last.startswith("CANCELLED"):
        return "cancelled"
    if status == "queued":  # its job ended, and no attempt ever began
        return "died" if last in ("gone", "COMPLETED") else "failed"
    return "interrupted" if status == "paused" else status


def statuses(runs: Sequence[RunDirectory], jobs: Jobs) -> list[str]:
    """The status of each run, also by its launcher."""
    seen = [read_status(run.path, run.title) for run in runs]
    ask_launchers(seen, jobs)
    return [one.status for one in seen]


def status_of(run: RunDirectory, jobs: Jobs) -> str:
    """The status of one run, also by its launcher."""
    return statuses([run], jobs)[0]


def activity(run: RunStatus) -> dict[str, Any]:
    """`doing` (phase, done, total, of a running attempt), `left_s` (of that phase), `elapsed_s` (of all attempts),
    `sign_of_life_s` (how long ago), and `trouble` (what is wrong beside the work).

    `left_s` is null until the run has counted for long enough to know.
    """
    beat = heartbeat.read(run.path) if is_alive(run) else None
    doing = beat.get("doing") if beat and beat.get("attempt") == run.record.get("number") else None
    known: Mapping[str, Any] = doing or {}
    left, age = known.get("left_s"), seconds_since(beat.get("at")) if beat else None
    return {
        "doing": {key: known.get(key) for key in ("phase", "done", "total")}
        | {key: known[key] for key in ("part", "work") if known.get(key)}
        if known
        else None,
        "left_s": round(max(0.0, left - (age or 0.0)), 1) if isinstance(left, int | float) else None,
        "elapsed_s": _elapsed_s(run),
        "sign_of_life_s": age,
        "trouble": beat.get("trouble", "") if beat else "",
    }


def is_alive(run: RunStatus) -> bool:
    """Whether its newest attempt works; otherwise a sign of life is of an earlier one."""
    return run.status == "running" == run.record.get("outcome")


def seconds_since(text: Any) -> float | None:
    """Seconds since a moment in ISO format; None when it is none."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    except (ValueError, TypeError):
        return None


def _elapsed_s(run: RunStatus) -> float | None:
    number = run.record.get("number")
    if not number:
        return None
    records = [*(attempt.read(run.path, n) for n in range(1, number)), run.record]
    spent = [float(record["seconds"]) for record in records if record.get("seconds") is not None]
    if is_alive(run) and (now := seconds_since(run.record.get("started"))) is not None:
        spent.append(now)
    return round(sum(spent), 1) if spent else None
