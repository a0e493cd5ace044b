"""What a run ran on: enough to judge its speed and to repeat it. Stdlib only, and nothing heavy is imported."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codctl.files.records import Machine

from codctl.errors import PreflightError

_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "numpy", "mlflow", "vllm")
_QUERY_TIMEOUT_S = 5.0
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# What steers a run from outside. Names that could hold a secret are not among them.
_VARIABLES = ("CUDA_", "NCCL_", "VLLM_", "OMP_", "MKL_", "SLURM_JOB", "SLURM_NODE", "SLURMD_NODENAME", "PYTHONHASHSEED")


@cache
def describe() -> Machine:
    """Host, processor, memory, GPUs, versions and the commit of this checkout (empty when there is none)."""
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": usable_cores(),
        "memory_gb": _memory_gb(),
        "gpus": _gpus(),
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(),
    }


def environment() -> dict[str, Any]:
    """What one attempt ran in: the machine, every installed package, and the variables that steer libraries."""
    from codctl.config.credentials import is_secret

    packages = {str(dist.name).lower(): dist.version for dist in metadata.distributions()}
    variables = {
        key: value for key, value in sorted(os.environ.items()) if key.startswith(_VARIABLES) and not is_secret(key)
    }
    return {**describe(), "packages": dict(sorted(packages.items())), "variables": variables}


def memory_bytes() -> int:
    """Main memory that this process may use: the machine's, or less by the limit of its control group. 0: unknown."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        found = 0
    return min(filter(None, (found, *_group_limits())), default=0)


def _group_limits() -> Iterator[int]:
    """Limits of this process's control groups and those above them, where Linux has any."""
    try:
        groups = [line.split(":", 2) for line in (_PROC / "self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if controllers == "":
            root, name = _CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = _CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path is that of the host, and its group is mounted as the root.
        inner = root / path.strip("/")
        for folder in {root, *[at for at in (inner, *inner.parents) if at.is_relative_to(root)]}:
            with contextlib.suppress(OSError, ValueError):  # no such group, or "max": no limit
                yield int((folder / name).read_text())


def usable_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def nvidia_smi(fields: str) -> list[str]:
    """One line for each GPU of this machine; none without a driver.

    Args:
        fields: Names of nvidia-smi's fields, between commas; memory is in MiB.

    Raises:
        PreflightError: There is a driver, and it fails.
    """
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(  # noqa: S603  fields are written in our files
            command, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return []
    except (OSError, subprocess.SubprocessError) as error:
        raise PreflightError(f"cannot count the GPUs: {error}", hint="codctl doctor") from error
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise PreflightError(f"cannot count the GPUs: nvidia-smi says: {words}", hint="codctl doctor")
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _memory_gb() -> float:
    return round(memory_bytes() / 1e9, 1)


def _gpus() -> list[str]:
    with contextlib.suppress(PreflightError):  # codctl doctor says what is wrong with it
        return nvidia_smi("name")
    return []


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    here = str(Path(__file__).parent)
    # An installed copy may lie inside another repository (a venv in it): only a tracked file counts.
    if not _output(["git", "-C", here, "ls-files", "--error-unmatch", Path(__file__).name]):
        return ""
    commit = _output(["git", "-C", here, "rev-parse", "HEAD"])
    dirty = _output(["git", "-C", here, "status", "--porcelain", "--untracked-files=no"])
    return f"{commit} with changes" if commit and dirty else commit


def _output(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        result = subprocess.run(  # noqa: S603  the commands are written in this file
            command, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
