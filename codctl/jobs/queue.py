"""What SLURM says of jobs: squeue first, sacct for those that it no longer knows, and neither must be there.

Files say how a run stands; the queue says whether somebody will still work on it. Stdlib only.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codctl.runs.own_jobs import is_id

DEADLINE_S = 10.0
_BETWEEN = "\x1f"  # names of jobs and paths may hold anything that can be typed
_SQUEUE_FIELDS = _BETWEEN.join(("%i", "%T", "%r", "%N", "%U", "%u", "%j", "%o"))
_SACCT_FIELDS = "JobID,State,NodeList,UID,User,JobName,SubmitLine"
_SQUEUE = ["squeue", "--noheader", "--array", "--states=all", f"--format={_SQUEUE_FIELDS}"]
_SACCT = ["sacct", "--noheader", "--parsable2", f"--delimiter={_BETWEEN}", "--allocations", f"--format={_SACCT_FIELDS}"]
_DIGITS = 10
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
        owner: The id of its user; -1 when that is not known.
        user: The name of its user.
        name: Its own.
        script: The path of the script that was submitted.
    """

    job: str
    state: str
    reason: str = ""
    node: str = ""
    owner: int = -1
    user: str = ""
    name: str = ""
    script: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.state in _WAITING

    @property
    def is_at_work(self) -> bool:
        return self.state in _AT_WORK

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended for good. A job that is requeued is completing before it waits again."""
        return self.is_waiting or self.is_at_work

    @property
    def holds(self) -> bool:
        """Whether it waits for nodes or uses them; all its processes have ended when it is completing."""
        return self.is_alive and self.state != "COMPLETING"


def states(jobs: Sequence[str]) -> dict[str, JobState]:
    """How each of these jobs stands; every id asked for is in the answer."""
    mains = {job.partition("_")[0] for job in jobs if is_id(job)}  # of an array its main id is enough
    if not mains:
        return {job: JobState(job, "gone") for job in jobs}
    wanted = f"--jobs={','.join(sorted(mains, key=int))}"
    listed = _ask([*_SQUEUE, wanted])
    found = {state.job: state for state in parse_squeue(listed or "")}
    if listed is None or any(job not in found for job in jobs):
        accounted = _ask([*_SACCT, wanted])
        found = {**{state.job: state for state in parse_sacct(accounted or "")}, **found}
    missing = "unknown" if listed is None else "gone"
    return {job: found.get(job) or JobState(job, missing) for job in jobs}


def cluster() -> str:
    """The name of the cluster that the clients here ask; empty when nobody says."""
    for line in (_ask(["scontrol", "show", "config"]) or "").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "ClusterName":
            return value.strip()
    return ""


def parse_squeue(text: str) -> Iterator[JobState]:
    """Read the lines that squeue writes in the fields that it is asked for; others are passed over."""
    for line in text.split("\n"):
        job, state, reason, node, owner, user, name, script = _fields(line, 8)
        # A reason is only worth telling while it waits.
        if job:
            why = reason if state in _WAITING and reason != "None" else ""
            yield JobState(job, state, why, node, _number(owner), user, name, script)


def parse_sacct(text: str) -> Iterator[JobState]:
    """Read sacct's lines; elements of an array that has not been split up come as ranges, which go first."""
    single, ranges = list[JobState](), list[JobState]()
    for line in text.split("\n"):
        job, words, node, owner, user, name, submitted = _fields(line, 7)
        if not job:
            continue
        state = words.split()[0] if words else "unknown"  # "CANCELLED by 0"
        node = "" if node == "None assigned" else node
        script = submitted.removeprefix("sbatch ")  # submitit gives it no options
        found = _ARRAY.fullmatch(job)
        ids = [f"{found['main']}_{i}" for i in _numbers(found["ranges"])] if found else [job]
        (ranges if found else single).extend(
            JobState(one, state, "", node, _number(owner), user, name, script) for one in ids
        )
    return iter([*ranges, *single])


def reconcile(status: str, jobs: Sequence[JobState]) -> str:
    """How a run stands that its files and its jobs know about.

    Args:
        status: What the files say (RunDirectory.status).
        jobs: Its jobs, in the order of submission; of a chain the most alive one counts.

    Returns:
        One of the words of RunDirectory.status.
    """
    if status == "cancelled" and any(job.holds for job in jobs):  # by a request that nobody has answered yet
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


def _fields(line: str, number: int) -> list[str]:
    """A line's fields, the last of which may hold anything; empty ones for a line of another kind."""
    found = line.strip("\r\n ").split(_BETWEEN, number - 1)
    return found if len(found) == number else [""] * number


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else -1


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
