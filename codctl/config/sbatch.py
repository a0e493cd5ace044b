"""What sbatch takes: time limits as people write them, and options that a profile may add."""

from __future__ import annotations

import re

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
