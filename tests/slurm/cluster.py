"""A real SLURM on this one machine: munge, slurmctld, two slurmd and, for sacct, slurmdbd over MariaDB.

    python tests/slurm/cluster.py up [--no-accounting]     then: . /tmp/codctl-slurm/env.sh
    python tests/slurm/cluster.py down

Needs root and a host name that resolves to 127.0.0.1; missing packages are installed (Debian). Nothing listens beyond
loopback, everything lies in one folder, no systemd, no cgroups.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

FOLDER = Path("/tmp/codctl-slurm")
NODES = ("n1", "n2")
_PORT = 16900
_PROGRAMS = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}
_FOR_ACCOUNTING = {
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
}

_SLURM = """\
ClusterName=codctl
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={d}/munge/s,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={d}/state
SlurmdSpoolDir={d}/spool/%n
SlurmctldPidFile={d}/slurmctld.pid
SlurmdPidFile={d}/slurmd-%n.pid
SlurmctldLogFile={d}/log/slurmctld.log
SlurmdLogFile={d}/log/slurmd-%n.log
PlugStackConfig={d}/plugstack.conf
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
ReturnToService=2
KillWait=5
SlurmdTimeout=10
MinJobAge=300
{accounting}
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs={cpus} RealMemory=8000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=brief Nodes=ALL MaxTime=1 State=UP
PartitionName=apart Nodes=n2 State=UP
"""
_ACCOUNTED = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={d}/munge/s
JobAcctGatherType=jobacct_gather/linux"""
_NOT_ACCOUNTED = """\
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none"""
_DBD = """\
AuthType=auth/munge
AuthInfo=socket={d}/munge/s
CommunicationParameters=NoInAddrAny
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
LogFile={d}/log/slurmdbd.log
PidFile={d}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""
_SQL = """\
[mariadbd]
user=root
datadir={d}/db
socket={d}/db.sock
pid-file={d}/mariadbd.pid
bind-address=127.0.0.1
port={sql}
skip-name-resolve
performance_schema=OFF
innodb_buffer_pool_size=32M
innodb_log_file_size=16M
innodb_lock_wait_timeout=900
innodb_flush_log_at_trx_commit=0
init-file={d}/db.sql
"""


class Cluster:
    """The cluster in `folder`. Its clients need `SLURM_CONF` and nothing else."""

    def __init__(self, folder: Path = FOLDER, *, cpus: int = 2) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._password = secrets.token_hex(12)
        self._database: subprocess.Popen[bytes] | None = None
        self._values = {
            "d": folder, "host": socket.gethostname(), "ctld": _PORT, "dbd": _PORT + 1, "sql": _PORT + 2,
            "first": _PORT + 11, "last": _PORT + 10 + len(NODES), "nodes": len(NODES), "cpus": cpus,
            "password": self._password,
        }  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment without what another job or site put in, and with this cluster."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        return {**kept, "SLURM_CONF": str(self.conf)}

    def run(self, *command: str, timeout_s: float = 30.0) -> str:
        """Output of a command that must succeed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def up(self, *, accounting: bool = True) -> None:
        """Start a fresh cluster and wait until its nodes are idle; one that runs is taken down first."""
        if os.geteuid() != 0:
            raise SystemExit("needs root: SLURM's daemons start the jobs of any user")
        if socket.gethostbyname(socket.gethostname()) != "127.0.0.1":
            raise SystemExit(f"put '127.0.0.1 {socket.gethostname()}' first into /etc/hosts")
        _install({**_PROGRAMS, **(_FOR_ACCOUNTING if accounting else {})})
        self.down()
        self._write_files(accounting=accounting)
        self._start_munge()
        if accounting:
            self._start_accounting()
        self.run("slurmctld", "-f", str(self.conf))
        _wait(30, "slurmctld", lambda: "is UP" in self.run("scontrol", "ping"))
        for node in NODES:
            self.start_node(node)

    def start_node(self, node: str, *, blind_to: Path | None = None) -> None:
        """Start a node's daemon; one that is `blind_to` a folder sees an empty one in its place."""
        (self.folder / "spool" / node).mkdir(parents=True, exist_ok=True)
        daemon = ["slurmd", "-f", str(self.conf), "-N", node]
        if blind_to is not None:
            mount = 'mount -t tmpfs none "$0" && exec "$@"'
            daemon = ["unshare", "--mount", "sh", "-c", mount, str(blind_to), *daemon]
        self.run(*daemon)
        _wait(30, f"node {node}", lambda: self.run("sinfo", "-hN", "-n", node, "-o", "%t").split()[0] in _USABLE)

    def stop_node(self, node: str) -> None:
        _stop(self.folder / f"slurmd-{node}.pid", "slurmd")

    def kill_node(self, node: str) -> None:
        """As if its power went: slurmd, the step daemons and every process of its jobs, with SIGKILL."""
        tasks = [pid for pid in self._job_processes() if _environ(pid).get("SLURMD_NODENAME") == node]
        parents = {_parent(pid) for pid in tasks}
        daemons = [pid for pid in parents if "slurmstepd" in _program(pid)]
        for pid in [int((self.folder / f"slurmd-{node}.pid").read_text()), *daemons, *tasks]:
            _kill(pid, signal.SIGKILL)

    def down(self) -> None:
        """End its jobs and daemons and remove the folder. Only processes that its own files name are ended."""
        if not self.folder.exists():
            return
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.run("scancel", "--state=PENDING", "-u", "root", timeout_s=10)
        for pid in [*self._job_processes(), *self._step_daemons()]:
            _kill(pid, signal.SIGKILL)
        for name in [*(f"slurmd-{node}" for node in NODES), "slurmctld", "slurmdbd", "mariadbd", "munged"]:
            _stop(self.folder / f"{name}.pid", name.partition("-")[0])
        if self._database is not None:
            self._database.wait(10)
        shutil.rmtree(self.folder)

    def _write_files(self, *, accounting: bool) -> None:
        for name in ("munge", "state", "spool", "log"):
            (self.folder / name).mkdir(parents=True, mode=0o755)
        values = {**self._values, "accounting": ""}
        values["accounting"] = (_ACCOUNTED if accounting else _NOT_ACCOUNTED).format(**values)
        self.conf.write_text(_SLURM.format(**values))
        (self.folder / "plugstack.conf").touch()
        (self.folder / "env.sh").write_text(f"export SLURM_CONF={self.conf}\n")
        _secret(self.folder / "munge" / "key", secrets.token_bytes(128))
        _secret(self.folder / "slurmdbd.conf", _DBD.format(**values).encode())
        (self.folder / "my.cnf").write_text(_SQL.format(**values))
        user = "'slurm'@'127.0.0.1'"
        grant = f"GRANT ALL ON slurm_acct_db.* TO {user};\n"
        _secret(
            self.folder / "db.sql",
            f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{self._password}';\n{grant}".encode(),
        )

    def _start_munge(self) -> None:
        place, here = self.folder / "munge", str(self.folder / "munge" / "s")
        files = [f"--{name}-file={place / name}" for name in ("key", "log", "seed")]
        self.run("munged", f"--socket={here}", f"--pid-file={self.folder}/munged.pid", *files)
        _wait(10, "munge", lambda: bool(self.run("munge", "-n", "-S", here)))

    def _start_accounting(self) -> None:
        data = ["--no-defaults", f"--datadir={self.folder}/db", "--user=root", "--skip-test-db", "--skip-name-resolve"]
        self.run("mariadb-install-db", *data, "--auth-root-authentication-method=normal", timeout_s=120)
        with (self.folder / "log" / "mariadbd.log").open("wb") as log:
            self._database = subprocess.Popen(
                ["mariadbd", f"--defaults-file={self.folder}/my.cnf"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        _wait(30, "mariadbd", lambda: _answers(self._values["sql"]))
        self.run("slurmdbd")
        _wait(60, "slurmdbd", lambda: self.run("sacctmgr", "-n", "list", "cluster") is not None)
        self.run("sacctmgr", "-i", "add", "cluster", "codctl")

    def _job_processes(self) -> list[int]:
        """Every process that a job of this cluster started, by the environment that SLURM gave it."""
        mine = str(self.conf)
        found = ((pid, _environ(pid)) for pid in _processes())
        return [pid for pid, env in found if env.get("SLURM_CONF") == mine and "SLURM_JOB_ID" in env]

    def _step_daemons(self) -> list[int]:
        """What waits for a job's processes; it has no environment, and outlives a node that was killed."""
        return [pid for pid in _processes() if "slurmstepd" in _program(pid) and self.folder in _place(pid).parents]


_USABLE = {"idle", "alloc", "mix"}


def _install(programs: dict[str, str]) -> None:
    missing = sorted({package for program, package in programs.items() if shutil.which(program) is None})
    if not missing:
        return
    guard = Path("/usr/sbin/policy-rc.d")  # keeps the packages from starting daemons of their own
    is_mine = not guard.exists()
    if is_mine:
        guard.write_text("#!/bin/sh\nexit 101\n")
        guard.chmod(0o755)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing]
    try:
        for command in (["apt-get", "update", "-qq"], install):
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    finally:
        if is_mine:
            guard.unlink()


def _secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _wait(seconds: float, what: str, is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(RuntimeError, IndexError):
            if is_true():
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come up within {seconds:.0f} s; look into {FOLDER}/log")
        time.sleep(0.1)


def _answers(port: object) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", int(str(port))), timeout=1).close()
        return True
    return False


def _stop(pid_file: Path, program: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        for number, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            deadline = time.monotonic() + seconds
            if program in _program(pid):
                _kill(pid, number)
            while program in _program(pid) and time.monotonic() < deadline:
                time.sleep(0.05)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _processes() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid())


def _program(pid: int) -> str:
    """The program file of a process; empty when it has ended (a zombie has none)."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/exe").readlink())
    return ""


def _place(pid: int) -> Path:
    """The working directory of a process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink()
    return Path("/")


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _environ(pid: int) -> dict[str, str]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        return dict(item.split("=", 1) for item in text.split("\0") if "=" in item)
    return {}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A real SLURM on this machine.")
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--cpus", type=int, default=2, help="cores that each of the two nodes claims")
    parser.add_argument("--no-accounting", action="store_true")
    options = parser.parse_args(argv)
    cluster = Cluster(options.folder, cpus=options.cpus)
    if options.verb == "down":
        cluster.down()
        return
    cluster.up(accounting=not options.no_accounting)
    print(f"up; in the shell that uses it: . {options.folder}/env.sh")


if __name__ == "__main__":
    main()
