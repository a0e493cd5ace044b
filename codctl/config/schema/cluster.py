"""Where and how long a job runs: the section of a recipe, and what sbatch takes (time limits, further options)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from codctl.config.schema.fields import Section, resource

GpuName = Literal[
    "a10", "a100-40gb", "a100-80gb", "b200", "h100-80gb", "h200", "l4", "l40s", "rtx3090", "rtx4090"
]  # fmt: skip
_WORD = r"^[A-Za-z0-9_.,@+-]+$"
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)")
_MOST_PLAIN_MINUTES = 24 * 60
_WAYS = '"H:MM:SS", "D-HH:MM:SS" or minutes'
# Options that have a key of their own, and those that codctl must decide itself.
_KEYS = {
    "partition", "account", "qos", "nodes", "gpus-per-node", "cpus-per-task", "mem", "time", "constraint", "requeue",
}  # fmt: skip
_OURS = {
    "array", "dependency", "error", "job-name", "no-requeue", "ntasks", "ntasks-per-node", "open-mode", "output",
    "signal", "wckey", "wrap",
}  # fmt: skip


class ClusterConfig(Section):
    """Where and how long a SLURM job runs. `cluster=NAME` takes a profile (`codctl docs slurm`)."""

    partition: str | None = resource(None, "Partition; null is the cluster's default.", pattern=_WORD)
    account: str | None = resource(None, "Account that pays; null is yours.", pattern=_WORD)
    qos: str | None = resource(None, "Quality of service; null is the partition's.", pattern=_WORD)
    nodes: int = resource(1, "Nodes of one job.", ge=1, le=10_000)
    processes_per_node: int = resource(
        1, "Learner processes of one run on each node, with or without SLURM.", ge=1, le=64
    )
    gpus_per_node: int = resource(0, "GPUs of one job on each node.", ge=0, le=64)
    gpu: GpuName | None = resource(None, "Kind of GPU to plan for; null is the one of this machine, else h100-80gb.")
    cpus_per_task: int = resource(2, "Cores of one job on each node; no fewer than `runtime.threads`.", ge=1, le=4096)
    mem: str | None = resource(
        None, "Memory on each node, such as 16G; null is the cluster's.", pattern=r"^\d{1,9}[KMGT]?$"
    )
    time: str | int = resource("1:00:00", 'Time limit of one job: "H:MM:SS", "D-HH:MM:SS" or minutes.')
    constraint: str | None = resource(None, "Features that a node must have, as sbatch writes them.", pattern=r"^\S+$")
    requeue: bool = resource(True, "Requeue the job after pre-emption and at the time limit.")
    chain: int = resource(
        1, "Jobs in a chain, each continuing the one before, for clusters without requeueing.", ge=1, le=1000
    )
    signal_delay_s: int = resource(300, "Seconds before the time limit at which a run starts to save.", ge=1, le=65_535)
    max_attempts: int = resource(100, "Attempts of one submission before it counts as failed.", ge=1, le=1_000_000)
    stalled_attempts: int = resource(
        3, "Attempts in a row without progress before it counts as failed.", ge=1, le=1_000_000
    )
    max_parallel: int | None = resource(
        None, "Most trials of a sweep that run at once; null is no limit.", ge=1, le=1_000_000
    )
    setup: Annotated[tuple[str, ...], Field(strict=False)] = resource(
        (), "Shell lines of the job script, such as `module load cuda`."
    )
    extras: dict[str, str | int | bool] = resource(
        {}, "Further sbatch options by their long names, such as reservation."
    )

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, time: str | int) -> str | int:
        minutes(time)
        return time

    @field_validator("extras", mode="before")
    @classmethod
    def _are_options(cls, extras: Any) -> Any:
        for name, value in extras.items() if isinstance(extras, dict) else ():
            check_option(name, value)
        return extras

    @property
    def minutes(self) -> int:
        """The time limit in whole minutes, rounded up, as SLURM counts."""
        return minutes(self.time)


def minutes(time: str | int) -> int:
    """A time limit in whole minutes, rounded up.

    Raises:
        ValueError: It is none. YAML reads 1:00:00 without quotes as 3600, so large numbers are refused.
    """
    if isinstance(time, int):
        if not 0 < time <= _MOST_PLAIN_MINUTES:
            raise ValueError(f"expected {_WAYS} up to {_MOST_PLAIN_MINUTES}, got {time}; put H:MM:SS into quotes")
        return time
    if re.fullmatch(r"\d+", time):
        return minutes(int(time))
    found = _TIME.fullmatch(time)
    if not found:
        raise ValueError(f"expected {_WAYS}, got {time!r}")
    days, hours, mins, seconds = (int(part or 0) for part in found.groups())
    whole = (days * 24 + hours) * 60 + mins + (seconds > 0)
    if whole == 0:
        raise ValueError(f"expected a time above zero, got {time!r}")
    return whole


def check_option(name: object, value: object) -> None:
    """Refuse an extra option that a job script cannot hold or that codctl sets itself.

    Raises:
        ValueError: Says why, and which key to use instead.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(f"{name!r} is not a long option of sbatch; write reservation, not --reservation or -R")
    if name in _KEYS:
        raise ValueError(f"{name} has a key of its own: cluster.{name.replace('-', '_')}")
    if name in _OURS:
        raise ValueError(f"{name} is set by codctl itself")
    if not isinstance(value, str | int) or (isinstance(value, str) and not value.isprintable()):
        raise ValueError(f"{name}: expected one line of text, a whole number, true or false")
