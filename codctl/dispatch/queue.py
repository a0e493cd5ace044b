"""What SLURM says of jobs: squeue first, sacct for those that it no longer knows, and neither must be there.

Files say how a run stands; the queue says whether somebody will still work on it. Stdlib only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DEADLINE_S = 10.0
_SQUEUE = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%r|%N", "--jobs"]
_SACCT = ["sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State,NodeList", "--jobs"]
_ARRAY = re.compile(r"(?P<main>\d+)_\[(?P<ranges>[\d,-]+)(?:%\d+)?\]")

_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_AT_WORK = {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}


@dataclass(frozen=True)
class JobState:
    """One job as the scheduler sees it.

    Attributes:
        job: Its id, `12` or `12_3`.
        state: SLURM's word (PENDING, RUNNING, COMPLETED, …), `gone` when the controller answered and does not know it,
            or `unknown` when nobody answered.
        reason: Why it waits.
        node: Where it runs or ran.
    """

    job: str
    state: str
    reason: str = ""
    node: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.state in _WAITING

    @property
    def is_at_work(self) -> bool:
        return self.state in _AT_WORK


def states(jobs: Sequence[str]) -> dict[str, JobState]:
    """How each of these jobs stands; every id asked for is in the answer."""
    if not jobs:
        return {}
    wanted = ",".join(sorted({job.partition("_")[0] for job in jobs}, key=int))  # of an array its main id is enough
    listed = _ask([*_SQUEUE, wanted])
    found = {state.job: state for state in parse_squeue(listed or "")}
    if listed is None or any(job not in found for job in jobs):
        accounted = _ask([*_SACCT, wanted])
        found = {**{state.job: state for state in parse_sacct(accounted or "")}, **found}
    missing = "unknown" if listed is None else "gone"
    return {job: found.get(job) or JobState(job, missing) for job in jobs}


def parse_squeue(text: str) -> Iterator[JobState]:
    """Read `job|state|reason|nodes` lines."""
    for line in text.splitlines():
        job, state, reason, node = line.strip().split("|")
        # A reason is only worth telling while it waits.
        yield JobState(job, state, reason if state in _WAITING and reason != "None" else "", node)


def parse_sacct(text: str) -> Iterator[JobState]:
    """Read `job|state|nodes` lines; elements of an array that has not been split up come as ranges, which go first."""
    single, ranges = [], []
    for line in text.splitlines():
        job, words, node = line.strip().split("|")
        state = words.split()[0] if words else "unknown"  # "CANCELLED by 0"
        node = "" if node == "None assigned" else node
        found = _ARRAY.fullmatch(job)
        if found:
            ranges += [JobState(f"{found['main']}_{i}", state, "", node) for i in _numbers(found["ranges"])]
        else:
            single.append(JobState(job, state, "", node))
    return iter([*ranges, *single])


def reconcile(status: str, jobs: Sequence[JobState]) -> str:
    """How a run stands that its files and its jobs know about.

    Args:
        status: What the files say (RunDirectory.status).
        jobs: Its jobs, in the order of submission; of a chain the most alive one counts.

    Returns:
        One of the words of RunDirectory.status.
    """
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


def _numbers(ranges: str) -> Iterator[int]:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _ask(command: Sequence[str]) -> str | None:
    """The output of a client; None when it is not here, takes too long, or its server does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - SLURM's own clients, ids of digits
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if "Invalid job id" in done.stderr else None  # squeue's way to say that it knows none of them
