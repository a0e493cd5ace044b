"""Whether this machine can run codctl, and what to type when it cannot."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.doctor import services
from codctl.doctor.findings import Finding, Status
from codctl.runs import machine

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_PYTHONS = ((3, 11), (3, 14))  # from, below
_MEMORY_GB, _DISK_GB, _LEAST_DISK_GB = 3.0, 5.0, 1.0


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
        services.mlflow(),
        services.hub_token(),
        *_engines(),
    ]


def _python() -> Finding:
    ok = _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]
    command = "" if ok else "python3.11 -m venv .venv"
    return Finding("python", "ok" if ok else "failed", f"{platform.python_version()} ({sys.executable})", command)


def _versions() -> Iterator[Finding]:
    """Installed versions of what codctl declares, against its bounds and against those that were tested together."""
    allowed, tested = _requirements(), _constraints()
    if not allowed:
        yield Finding("versions", "warning", "codctl itself is not installed", "pip install -c constraints.txt -e .")
        return
    differ = []
    for name, bounds in allowed.items():
        command = f'pip install "{name}{f"=={tested[name]}" if name in tested else bounds}"'
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, "failed", "not installed", command)
            continue
        if not bounds.contains(version, prereleases=True):
            yield Finding(name, "failed", f"{version} is installed, codctl needs {bounds}", command)
        elif name in tested and version.partition("+")[0] != tested[name]:
            differ.append(f"{name} {version} (tested: {tested[name]})")
    if differ:
        hint = "pip install -c constraints.txt -e ."
        yield Finding("versions", "warning", f"not the tested set: {', '.join(differ)}", hint)
    else:
        yield Finding("versions", "ok", f"{len(allowed)} packages as tested together" if tested else "within bounds")


def _requirements() -> dict[str, SpecifierSet]:
    """What codctl declares, without its extras; nothing in a checkout that is not installed."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        stated = metadata.requires("codctl") or []
    except metadata.PackageNotFoundError:
        return {}
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, stated) if not r.marker}


def _constraints() -> dict[str, str]:
    """The tested versions, which only a checkout has."""
    from packaging.utils import canonicalize_name

    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not path.is_file():
        return {}
    pins = (line.strip().split("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line)
    return {canonicalize_name(name): version for name, version in pins}


def _torch() -> Finding:
    """The build, its GPUs, and whether the two fit together."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken build can raise anything
        return Finding("torch", "failed", f"cannot be imported: {error}", "pip install torch==2.13.0")
    if torch.cuda.is_available():
        return _cuda(torch)
    names = machine.describe()["gpus"]
    if not names:
        return Finding("torch", "ok", f"{torch.__version__}, no GPU: the tiny recipes run on the CPU")
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
    message = f"{torch.__version__} is {build} and cannot use {', '.join(names)}"
    # A build for CUDA that finds no device needs a newer driver, or may see none of them.
    command = "nvidia-smi; echo $CUDA_VISIBLE_DEVICES" if torch.version.cuda else "pip install torch==2.13.0"
    return Finding("torch", "warning", message, command)


def _cuda(torch: Any) -> Finding:
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    message = f"{torch.__version__}, CUDA {torch.version.cuda}, {names}"
    try:
        torch.zeros(1, device="cuda").add_(1).item()  # a build without kernels for this GPU fails only here
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        return Finding("torch", "failed", f"{message}: {reason}", "codctl train RECIPE model.device=cpu")
    return Finding("torch", "ok", message)


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
    try:
        with tempfile.TemporaryFile(dir=place):
            return Finding("runs folder", "ok", f"{runs_dir} can be written")
    except OSError as error:
        message = f"{place} cannot be written: {error.strerror}"
        return Finding("runs folder", "failed", message, "export CODCTL_RUNS_DIR=FOLDER")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def _recipes() -> Finding:
    from codctl.config.recipes import recipes_folder, shipped_recipes

    found = shipped_recipes()
    if not found:
        return Finding("recipes", "failed", f"none in {recipes_folder()}", "pip install --force-reinstall codctl")
    return Finding("recipes", "ok", f"{len(found)} in {recipes_folder()}")


def _engines() -> Iterator[Finding]:
    """What can be installed beside codctl to sample with, and plug-ins that cannot be used."""
    from codctl.config.registries import ENGINES

    for name, engine in ENGINES.usable().items():
        if version := engine.version():
            yield Finding(name, "ok", version)
    for broken in ENGINES.broken():
        yield Finding(broken.name, "warning", f"this engine cannot be used: {broken.reason}", f"# {broken.source}")
