"""What is looked at before a job is submitted: SLURM takes many jobs that it will never start."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from codctl.config.schema import ClusterConfig
from codctl.errors import CodctlError, RefusedError
from codctl.files import atomic
from codctl.jobs import clients

_SEEN = "codctl-sees-it"
_PROBE_S = 5  # how long a node may take to be free

# sbatch's words, and what to type next.
_HINTS = (
    ("partition", "`sinfo -s` lists the partitions; set cluster.partition=NAME"),
    ("account", "`sacctmgr show assoc user=$USER` lists your accounts; set cluster.account=NAME"),
    ("qos", "`sacctmgr show qos` lists them; set cluster.qos=NAME"),
    ("time limit", 'a shorter cluster.time="H:MM:SS"; `sinfo -o "%P %l"` shows the limits'),
    ("--time", 'set cluster.time="H:MM:SS"'),
    ("gres", "`sinfo -o \"%N %G\"` shows which nodes have GPUs; set cluster.gpus_per_node"),
    ("node configuration", "no node is that large: `sinfo -N -o \"%N %c %m %G\"` shows cores, memory and GPUs"),
    ("feature", "`sinfo -o \"%N %f\"` lists the features; set cluster.constraint"),
    ("memory", "`sinfo -o \"%N %m\"` shows the memory of each node in MB; set cluster.mem"),
    ("array", "the cluster allows fewer jobs in one array: submit the sweep in parts"),
    ("option", "cluster.extras holds long options of sbatch: `sbatch --help`"),
)  # fmt: skip


def check(text: str, cluster: ClusterConfig, *, folder: Path) -> None:
    """Refuse a job that SLURM would not take, or would take and never start, or whose nodes do not see our files.

    Args:
        text: The job script.
        cluster: What it was made from.
        folder: Where the job's log will go; it is created.

    Raises:
        BackendError: No SLURM here, or no answer.
        RefusedError: With SLURM's own words and what to type.
    """
    ask(text, cluster)
    check_shared(folder, cluster)


def ask(text: str, cluster: ClusterConfig) -> None:
    """The part of `check` that writes nothing: would SLURM take the job, and start it?

    Raises:
        BackendError: No SLURM here, or no answer.
        RefusedError: With SLURM's own words and what to type.
    """
    done = clients.run(["sbatch", "--test-only"], text=text)
    if done.returncode:
        raise refusal(done.stderr or done.stdout)
    check_partition(cluster)


def check_time(cluster: ClusterConfig) -> None:
    """Refuse a time limit that is over before the run may begin to work.

    Raises:
        RefusedError: The run would be asked to save as soon as it starts.
    """
    limit_s = cluster.minutes * 60
    if limit_s <= cluster.signal_delay_s:
        raise RefusedError(
            f"a time limit of {limit_s} s is too short: a run saves {cluster.signal_delay_s} s before the end",
            where="cluster.time",
            hint=f'cluster.time="1:00:00", or a smaller cluster.signal_delay_s than {cluster.signal_delay_s}',
        )


def check_partition(cluster: ClusterConfig) -> None:
    """Refuse what only the partition forbids: sbatch takes such a job, and it never starts.

    Raises:
        BackendError: No SLURM here, or no answer.
        RefusedError: Unknown, down, or with a shorter limit.
    """
    mine = [part for part in _partitions() if is_chosen(part[0], cluster.partition)]
    if not mine and cluster.partition and "," not in cluster.partition:
        raise RefusedError(f"there is no partition {cluster.partition}", where="cluster.partition", hint="sinfo -s")
    for name, up, limit in mine:
        minutes = limit_minutes(limit)
        if minutes is not None and cluster.minutes > minutes:
            raise RefusedError(
                f"partition {name.rstrip('*')} allows {minutes} min, cluster.time is {cluster.minutes} min",
                where="cluster.time",
                hint=f"cluster.time={minutes}, or another cluster.partition (`sinfo -s`)",
            )
        if up != "up":
            message = f"partition {name.rstrip('*')} is {up}"
            raise RefusedError(message, where="cluster.partition", hint="sinfo -s, and choose another")


def is_chosen(shown: str, wanted: str | None) -> bool:
    """Whether a job goes to this partition; sinfo marks the default one with an asterisk."""
    return shown.endswith("*") if wanted is None else shown.rstrip("*") == wanted


def check_shared(folder: Path, cluster: ClusterConfig) -> None:
    """Let a compute node look for a file; a busy cluster is not waited for.

    Raises:
        RefusedError: The node does not see it.
    """
    folder = atomic.make_folder(folder.absolute())
    answer = look_from_node(folder, cluster)
    if answer is False:
        raise RefusedError(
            "compute nodes do not see this folder: jobs could not read the run or write a log",
            where=str(folder),
            hint="choose a disk that all nodes share with --runs-dir DIR; `codctl doctor --slurm` checks everything",
        )


def look_from_node(folder: Path, cluster: ClusterConfig) -> bool | None:
    """Whether a compute node sees a file in a folder; None when no node was free to look."""
    marker = folder / f".{_SEEN}-{secrets.token_hex(4)}"
    marker.touch()
    see = f'if [ -e "$1" ]; then echo {_SEEN}; else echo absent; fi'
    try:
        done = on_node(["sh", "-c", see, "sh", str(marker)], cluster, name="codctl-probe", free_s=_PROBE_S)
    except CodctlError:
        return None
    finally:
        marker.unlink(missing_ok=True)
    return {_SEEN: True, "absent": False}.get(done.stdout.strip())


def on_node(
    command: Sequence[str], cluster: ClusterConfig, *, name: str, free_s: int, deadline_s: float = clients.DEADLINE_S
) -> subprocess.CompletedProcess[str]:
    """Run a command once on a compute node, and wait for it.

    Args:
        command: What to run.
        cluster: Chooses the node.
        name: Of the job.
        free_s: How long a node may take to be free.
        deadline_s: How long all of it may take.

    Raises:
        BackendError: There is no srun here, or it takes too long.
    """
    srun = ["srun", "--quiet", "--chdir=/", f"--immediate={free_s}", "--time=2", "--ntasks=1", f"--job-name={name}"]
    return clients.run([*srun, *_options(cluster), *command], deadline_s=deadline_s)


def _options(cluster: ClusterConfig) -> Iterator[str]:
    """What chooses the same nodes, for a job that needs next to nothing."""
    for name in ("partition", "account", "qos", "constraint"):
        if value := getattr(cluster, name):
            yield f"--{name}={value}"
    if "reservation" in cluster.extras:
        yield f"--reservation={cluster.extras['reservation']}"


def refusal(words: str) -> CodctlError:
    """The error for what sbatch said."""
    words = clients.in_short(words.partition("Traceback")[0])
    if clients.is_silence(words):
        return clients.silent(words)
    hint = next((hint for phrase, hint in _HINTS if phrase in words.lower()), "sinfo; `codctl doctor --slurm`")
    return RefusedError(f"SLURM refuses the job: {words}", where="cluster", hint=hint)


def _partitions() -> Iterator[tuple[str, str, str]]:
    for line in clients.must(["sinfo", "--noheader", "--format=%P|%a|%l"]).splitlines():
        name, up, limit = line.strip().split("|")
        yield name, up, limit


def limit_minutes(text: str) -> int | None:
    """A limit as sinfo shows it (`infinite`, `1-00:00:00`, `30:00`, `1:00`) in minutes; None for no limit."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes + (seconds > 0)
