"""This machine as two nodes of a job: each with a network, a name and a memory folder of its own. Needs root.

What a node runs is what SLURM would run there: the supervisor, with the variables of a job.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from codctl.processes import Child
from codctl.runs.directory import RunDirectory

NAMES = ("first", "second")
_ADDRESSES = ("10.199.0.1", "10.199.0.2")
_ROOT = Path(__file__).parents[2]
_STAND_IN = Path(__file__).with_name("stand_in")
_ALONE = 'hostname "$0" && mount -t tmpfs none /dev/shm && exec "$@"'
_SUPERVISE = """
import logging, sys
from codctl.jobs.supervisor import StageJob
logging.basicConfig(level=logging.INFO)
StageJob(sys.argv[1], sys.argv[2], attempts_before=int(sys.argv[3]))()
"""


class TwoNodes:
    """The nodes, which are there while the `with` block lasts."""

    def __init__(self) -> None:
        self._spaces = [f"codctl-{os.getpid()}-{name}" for name in NAMES]

    def __enter__(self) -> TwoNodes:
        ends = [f"cod{os.getpid() % 10**6}{side}" for side in "ab"]
        for space in self._spaces:
            _run("ip", "netns", "add", space)
            hosts = Path("/etc/netns") / space / "hosts"
            hosts.parent.mkdir(parents=True)
            lines = ["127.0.0.1 localhost", *(f"{a} {name}" for a, name in zip(_ADDRESSES, NAMES, strict=True))]
            hosts.write_text("\n".join(lines) + "\n")
        _run("ip", "link", "add", ends[0], "netns", self._spaces[0], "type", "veth", "peer", ends[1])
        _run("ip", "link", "set", ends[1], "netns", self._spaces[1])
        for space, end, address in zip(self._spaces, ends, _ADDRESSES, strict=True):
            _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", end)
            for device in (end, "lo"):
                _run("ip", "-n", space, "link", "set", device, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for space in self._spaces:
            hosts = Path("/etc/netns") / space / "hosts"
            hosts.unlink(missing_ok=True)
            hosts.parent.rmdir()
            _run("ip", "netns", "delete", space)

    def job(self, run: Path, number: int, extra: Sequence[str] = ()) -> list[Child]:
        """Start a run's job on both nodes, as the SLURM job of this number. A stand-in plays vLLM, unless there is one.

        Args:
            run: Folder of the run.
            number: Of the job.
            extra: Folders that come first on PYTHONPATH; by default that of the stand-in.
        """
        path = os.pathsep.join(extra or [str(_STAND_IN)])
        submitted = run / "slurm"
        submitted.mkdir(exist_ok=True)
        found = []
        for node, space in enumerate(self._spaces):
            env = {
                **{name: value for name, value in os.environ.items() if not name.startswith("SLURM")},
                "PYTHONPATH": os.pathsep.join([path, str(_ROOT)]),
                "OMP_NUM_THREADS": "1",
                "SUBMITIT_EXECUTOR": "slurm",
                "SUBMITIT_FOLDER": str(submitted),
                "SLURM_JOB_ID": str(number),
                "SLURM_JOB_NUM_NODES": "2",
                "SLURM_JOB_NODELIST": ",".join(NAMES),
                "SLURM_NTASKS": "2",
                "SLURM_NODEID": str(node),
                "SLURM_PROCID": str(node),
            }
            before = str(len(RunDirectory(run).attempts()))
            supervise = [sys.executable, "-c", _SUPERVISE, str(run.absolute()), str(_ROOT), before]
            alone = ["unshare", "--uts", "--mount", "sh", "-c", _ALONE, NAMES[node], *supervise]
            log = run / "slurm" / f"{number}-{NAMES[node]}.out"
            found.append(Child.start(["ip", "netns", "exec", space, *alone], env=env, log=log, grace_s=0))
        return found

    def kill(self, node: int) -> None:
        """Kill every process of a node, as if its power went."""
        for pid in self._pids(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, node: int, word: str) -> list[int]:
        """The processes of a node that have a word in their command line."""
        return [pid for pid in self._pids(node) if word in _command_line(pid)]

    def _pids(self, node: int) -> list[int]:
        return [int(pid) for pid in _run("ip", "netns", "pids", self._spaces[node]).split()]


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout
