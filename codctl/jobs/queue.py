"""What SLURM says of jobs: squeue first, sacct for those that it no longer knows, and neither must be there.

Files say how a run stands; the queue says whether a job will still work on it. Stdlib only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from codctl.errors import BackendError
from codctl.jobs import clients
from codctl.jobs.launcher import JobState
from codctl.runs.own_jobs import is_id

_BETWEEN = "\x1f"  # names of jobs and paths may hold anything that can be typed
_SQUEUE_FIELDS = _BETWEEN.join(("%i", "%T", "%r", "%N", "%U", "%u", "%j", "%o"))
_SACCT_FIELDS = "JobID,State,NodeList,UID,User,JobName,SubmitLine"
_SQUEUE = ["squeue", "--noheader", "--array", "--states=all", f"--format={_SQUEUE_FIELDS}"]
_SACCT = ["sacct", "--noheader", "--parsable2", f"--delimiter={_BETWEEN}", "--allocations", f"--format={_SACCT_FIELDS}"]
_DIGITS = 10
_ARRAY = re.compile(r"(?P<main>\d+)_\[(?P<ranges>[\d,-]+)(?:%\d+)?\]")


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
    """The name of the cluster that the clients here ask; empty when it is not known."""
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
            found = JobState(job, state, reason, node, _number(owner), user, name, script)
            yield found if found.is_waiting and reason != "None" else replace(found, reason="")


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
    try:
        done = clients.run(command)
    except BackendError:
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if "Invalid job id" in done.stderr else None  # squeue's way to say that it knows none of them
