"""Whether SLURM can run codctl from here: its clients, its controller, and a one-second job that looks around."""

from __future__ import annotations

import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from codctl.config.schema import ClusterConfig
from codctl.doctor.findings import Finding, Status
from codctl.errors import BackendError, CodctlError
from codctl.files import atomic
from codctl.jobs import clients, slurm_checks
from codctl.quantities import counted

_NEEDED = ("sbatch", "squeue", "scancel", "scontrol", "srun")
_ON_NODE = ("scontrol", "srun")
_FREE_S = 60  # how long a node may take to be free
_JOB_S = 120.0

# Runs on a node: $1 Python, $2 a file that was written here, $3 one to write there, $4 what Python shall be asked.
_LOOK = """
echo "node=${SLURMD_NODENAME:-$(hostname)}"
for name in scontrol srun sacct; do command -v "$name" >/dev/null && echo "$name=yes"; done
[ -e "$2" ] && echo seen=yes
echo back >"$3" && echo written=yes
"$1" -c "$4"
"""
_ASK = (
    "import platform; print('python=' + platform.python_version()); "
    "import codctl; print('codctl=' + codctl.__version__)"
)
_ASK_GPU = _ASK + "; import torch; print('cuda=' + ('yes' if torch.cuda.is_available() else 'no'))"


def examine(runs_dir: Path, cluster: ClusterConfig) -> list[Finding]:
    """Look at SLURM from here and from a compute node.

    Args:
        runs_dir: Where runs live.
        cluster: Whose partition, account and GPUs the job asks for.
    """
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        message = f"not on this machine: {', '.join(missing)}"
        return [Finding("slurm", "failed", message, "log in to a machine of the cluster; Debian: slurm-client")]
    controller = _controller()
    if controller.status == "failed":
        return [controller]
    found = [controller, _accounting(), *_partition(cluster), *_settings(cluster)]
    if any(finding.status == "failed" for finding in found):
        return found
    return [*found, *_node(runs_dir, cluster)]


def _controller() -> Finding:
    try:
        answer = clients.run(["scontrol", "ping"])
    except CodctlError as error:
        return Finding("slurm", "failed", error.message, error.hint)
    words = " ".join((answer.stdout or answer.stderr).split())
    if answer.returncode or "UP" not in answer.stdout:
        return Finding(
            "slurm", "failed", f"the controller does not respond: {words}", "scontrol ping; echo $SLURM_CONF"
        )
    version = clients.run(["sinfo", "--version"]).stdout.strip()
    return Finding("slurm", "ok", f"{version}; {words}")


def _accounting() -> Finding:
    without = "not needed: `codctl status` uses files and squeue"
    if shutil.which("sacct") is None:
        return Finding("accounting", "ok", f"no sacct here; {without}")
    try:
        answer = clients.run(["sacct", "--noheader", "--allocations", "--jobs=1"])
    except CodctlError as error:
        return Finding("accounting", "warning", f"{error.message}; {without}")
    if answer.returncode:
        return Finding("accounting", "ok", f"off ({clients.in_short(answer.stderr)}); {without}")
    return Finding("accounting", "ok", "sacct answers")


def _partition(cluster: ClusterConfig) -> Iterator[Finding]:
    """The partition, as the checks before a submission see it."""
    name = cluster.partition or "the default partition"
    try:
        slurm_checks.check_partition(cluster)
        slurm_checks.check_time(cluster)
    except CodctlError as error:
        yield Finding("partition", "failed", error.message, error.hint)
        return
    states = clients.run(["sinfo", "--noheader", "--format=%P|%D|%T|%l"]).stdout.split()
    lines = [line.split("|") for line in states]
    mine = [f"{nodes} {state}" for part, nodes, state, _ in lines if slurm_checks.is_chosen(part, cluster.partition)]
    yield Finding("partition", "ok", f"{name}: nodes {', '.join(mine)}; {cluster.minutes} min requested")


def _settings(cluster: ClusterConfig) -> Iterator[Finding]:
    """Whether jobs may start again, and whether they get a signal before they are pre-empted."""
    found = dict(
        re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", clients.run(["scontrol", "show", "config"]).stdout, re.MULTILINE)
    )
    allowed = found.get("JobRequeue") == "1"
    if allowed or not cluster.requeue:
        how = "by requeue" if cluster.requeue else f"by a chain of {counted(cluster.chain, 'job')}"
        yield Finding("requeue", "ok", f"JobRequeue = {found.get('JobRequeue', '?')}; this profile continues {how}")
    else:
        message = "the cluster does not requeue jobs by default (JobRequeue = 0) and may refuse a job's own request"
        yield Finding("requeue", "warning", message, "codctl train … --slurm cluster.requeue=false cluster.chain=8")
    mode = found.get("PreemptMode", "OFF")
    if mode not in ("OFF", "(null)") and "send_user_signal" not in found.get("PreemptParameters", ""):
        message = f"PreemptMode = {mode} without send_user_signal: pre-empted jobs fall back to their last checkpoint"
        yield Finding("pre-emption", "warning", message, "a smaller train.checkpoint_every")


def _node(runs_dir: Path, cluster: ClusterConfig) -> Iterator[Finding]:
    """What a compute node has and sees."""
    folder = atomic.make_folder(runs_dir.absolute())
    here = folder / f".codctl-doctor-{secrets.token_hex(4)}"
    there = here.with_name(f"{here.name}-back")
    here.touch()
    try:
        answer = _run_there(here, there, cluster)
        if answer is None:
            message = f"none was free within {_FREE_S} s, so none was checked"
            yield Finding("compute node", "warning", message, "sinfo, then codctl doctor --slurm when some are idle")
            return
        if "node" not in answer:
            yield Finding("compute node", "failed", f"a job fails: {answer.get('error', '')}", "srun hostname")
            return
        yield from _judge(answer, folder, cluster, came_back=there.exists())
    finally:
        here.unlink(missing_ok=True)
        there.unlink(missing_ok=True)


def _run_there(here: Path, there: Path, cluster: ClusterConfig) -> dict[str, str] | None:
    """Look around on a node; None when none was free in time."""
    gpus = [f"--gpus-per-node={cluster.gpus_per_node}"] if cluster.gpus_per_node else []
    look = ["sh", "-c", _LOOK, "sh", sys.executable, str(here), str(there), _ASK_GPU if gpus else _ASK]
    try:
        done = slurm_checks.on_node([*gpus, *look], cluster, name="codctl-doctor", free_s=_FREE_S, deadline_s=_JOB_S)
    except BackendError:
        return None
    if "allocate resources" in done.stderr and "Immediate" in done.stderr:
        return None
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return {**found, "error": clients.in_short(done.stderr)}


def _judge(answer: dict[str, str], folder: Path, cluster: ClusterConfig, *, came_back: bool) -> Iterator[Finding]:
    where = f"node {answer['node']}"
    lacking = [name for name in _ON_NODE if name not in answer]
    if lacking:
        status: Status = "warning" if "srun" in answer else "failed"
        message = f"{', '.join(lacking)} missing there: a job cannot requeue itself"
        yield Finding(f"{where}: clients", status, message, "cluster.requeue=false cluster.chain=8, or ask the site")
    else:
        yield Finding(f"{where}: clients", "ok", ", ".join([*_ON_NODE, *(["sacct"] if "sacct" in answer else [])]))
    yield _python(answer, where)
    share = "choose a disk that all nodes share: export CODCTL_RUNS_DIR=FOLDER"
    if "seen" not in answer:
        yield Finding(f"{where}: runs folder", "failed", f"{folder} is not the same folder as here", share)
    elif "written" not in answer or not came_back:
        yield Finding(f"{where}: runs folder", "failed", f"files written to {folder} there do not appear here", share)
    else:
        yield Finding(f"{where}: runs folder", "ok", f"{folder} is shared both ways")
    if cluster.gpus_per_node:
        fits = answer.get("cuda") == "yes"
        message = "torch uses its GPU" if fits else "torch finds no GPU there"
        yield Finding(f"{where}: GPU", "ok" if fits else "failed", message, "" if fits else "srun --gpus=1 nvidia-smi")


def _python(answer: dict[str, str], where: str) -> Finding:
    if "python" not in answer:
        message = f"{sys.executable} does not start there: {answer['error']}"
        return Finding(f"{where}: python", "failed", message, "install into a folder that all nodes share")
    if "codctl" not in answer:
        command = "install codctl into a folder that all nodes share"
        return Finding(f"{where}: python", "failed", f"codctl cannot be imported there: {answer['error']}", command)
    return Finding(f"{where}: python", "ok", f"{answer['python']} with codctl {answer['codctl']}")
