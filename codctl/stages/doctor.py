"""Whether this machine can run codctl, and what to type when it cannot."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from codctl.runs import machine

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

Status = Literal["ok", "warning", "failed"]

_PYTHONS = ((3, 11), (3, 14))  # from, below
_MEMORY_GB, _DISK_GB, _LEAST_DISK_GB = 3.0, 5.0, 1.0
_CONNECT_S = 3.0
# The packages whose versions must fit together; the rest follows from them.
_TOGETHER = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "hydra-core", "omegaconf", "mlflow", "pydantic",
    "typer", "rich", "numpy", "gymnasium", "submitit",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `failed` means that training cannot work; `command` is what to type next."""

    name: str
    status: Status
    message: str
    command: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(runs_dir: Path) -> list[Finding]:
    """Look at everything."""
    return [
        _python(),
        *_versions(),
        _torch(),
        _memory(),
        _disk(runs_dir),
        _writable(runs_dir),
        _recipes(),
        _mlflow(),
        _vllm(),
    ]


def _python() -> Finding:
    ok = _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]
    command = "" if ok else "python3.11 -m venv .venv"
    return Finding("python", "ok" if ok else "failed", f"{platform.python_version()} ({sys.executable})", command)


def _versions() -> Iterator[Finding]:
    """Installed versions against those that were tested together and those that are allowed at all."""
    tested, allowed = _constraints(), _requirements()
    differ = []
    for name in _TOGETHER:
        want = f"=={tested[name]}" if name in tested else str(allowed.get(name, ""))
        command = f'pip install "{name}{want}"'
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "failed", "not installed", command)
            continue
        if name in allowed and not allowed[name].contains(version, prereleases=True):
            yield Finding(name, "failed", f"{version} is installed, codctl needs {allowed[name]}", command)
        elif name in tested and version.partition("+")[0] != tested[name]:
            differ.append(f"{name} {version} (tested: {tested[name]})")
    if differ:
        hint = "pip install -c constraints.txt -e ."
        yield Finding("versions", "warning", f"not the tested set: {', '.join(differ)}", hint)
    else:
        yield Finding("versions", "ok", f"{len(_TOGETHER)} packages as tested together" if tested else "within bounds")


def _requirements() -> dict[str, SpecifierSet]:
    from packaging.requirements import Requirement

    try:
        stated = metadata.requires("codctl") or []
    except metadata.PackageNotFoundError:
        return {}  # run from a checkout that is not installed
    return {r.name: r.specifier for r in map(Requirement, stated) if not r.marker}


def _constraints() -> dict[str, str]:
    """The tested versions, which only a checkout has."""
    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not path.is_file():
        return {}
    pins = (line.strip().split("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line)
    return {name.lower(): version for name, version in pins}


def _torch() -> Finding:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken build can raise anything
        return Finding("torch", "failed", f"cannot be imported: {error}", "pip install torch==2.13.0")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("torch", "ok", f"{torch.__version__}, CUDA {torch.version.cuda}, {names}")
    return Finding("torch", "ok", f"{torch.__version__}, no GPU: the tiny recipes run on the CPU")


def _memory() -> Finding:
    found = machine.describe()
    status: Status = "ok" if not found["memory_gb"] or found["memory_gb"] >= _MEMORY_GB else "warning"
    return Finding("machine", status, f"{found['cores']} cores, {found['memory_gb']} GB of memory, {found['cpu']}")


def _disk(runs_dir: Path) -> Finding:
    place = _existing(runs_dir)
    free_gb = shutil.disk_usage(place).free / 1e9
    status: Status = "ok" if free_gb >= _DISK_GB else "warning" if free_gb >= _LEAST_DISK_GB else "failed"
    command = "" if status == "ok" else f"df -h {place}"
    return Finding("disk", status, f"{free_gb:.1f} GB free at {place}", command)


def _writable(runs_dir: Path) -> Finding:
    place = _existing(runs_dir)
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Finding("runs folder", "ok", f"{runs_dir} can be written")
    return Finding("runs folder", "failed", f"{place} cannot be written", "export CODCTL_RUNS_DIR=FOLDER")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def _recipes() -> Finding:
    from codctl.config.recipes import recipes_folder, shipped_recipes

    found = shipped_recipes()
    if not found:
        return Finding("recipes", "failed", f"none in {recipes_folder()}", "pip install --force-reinstall codctl")
    return Finding("recipes", "ok", f"{len(found)} in {recipes_folder()}")


def _mlflow() -> Finding:
    """A mirror only: what is wrong with it is a warning."""
    off = "codctl train RECIPE tracking.mlflow=false"
    try:
        import mlflow
    except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
        return Finding("mlflow", "warning", f"cannot be imported: {error}", off)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    address = urlsplit(uri)
    if address.scheme not in ("http", "https") or not address.hostname:
        return Finding("mlflow", "ok", f"{mlflow.__version__}, {uri or 'a sqlite file in the runs folder'}")
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname, port), timeout=_CONNECT_S).close()
    except OSError as error:
        return Finding("mlflow", "warning", f"{address.hostname}:{port} cannot be reached: {error}", off)
    return Finding("mlflow", "ok", f"{mlflow.__version__}, {address.hostname}:{port} answers")


def _vllm() -> Finding:
    try:
        return Finding("vllm", "ok", metadata.version("vllm"))
    except metadata.PackageNotFoundError:
        return Finding("vllm", "ok", "not installed (an extra; the transformers engine needs none)")
