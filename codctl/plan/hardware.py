"""What a plan is made for: a kind of GPU (named by the recipe, of this machine, or assumed), and the cores here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache

from codctl.config.schema import ClusterConfig
from codctl.errors import PreflightError

MIB = 1 << 20
_QUERY_TIMEOUT_S = 5.0
_ASSUMED = "h100-80gb"
_PCIE = 32.0  # GB/s one way of 16 lanes of PCIe 4; the others have NVLink
_MARKS = {  # what nvidia-smi calls them
    "A10G": "a10", "A10": "a10", "A100": "a100-80gb", "B200": "b200", "H100": "h100-80gb", "H200": "h200",
    "L4": "l4", "L40S": "l40s", "3090": "rtx3090", "4090": "rtx4090",
}  # fmt: skip
_ASSUMED_FLOPS = 60e9  # of one thread in float32, where it cannot be measured
_LONGEST_S = 20.0
# CPU seconds, so that a busy machine gives the same number; one thread, since waiting threads spend CPU time too.
_CODE = """
import time, numpy
left = numpy.ones((768, 768), dtype=numpy.float32)
best = 0.0
for _ in range(6):
    began = time.process_time()
    left @ left
    best = max(best, 2 * 768**3 / (time.process_time() - began))
print(best)
"""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        name: As `cluster.gpu` names it.
        memory: Bytes that a process can see.
        flops: Peak bfloat16 matrix FLOP/s, dense.
        bandwidth: Peak bytes/s of its memory.
        link: Peak bytes/s to another GPU of the node, one way.
        kind: As `rates` know it: its own name, or the kind that its speed is taken from.
        source: Where the kind is known from.
    """

    name: str
    memory: int
    flops: float
    bandwidth: float
    link: float
    kind: str
    source: str


def _kind(name: str, mib: int, tflops: float, gb_per_s: float, link: float = _PCIE) -> Gpu:
    return Gpu(name, mib * MIB, tflops * 1e12, gb_per_s * 1e9, link * 1e9, name, "cluster.gpu")


# Memory as nvidia-smi reports it, in MiB. Speeds from NVIDIA's data sheets, without sparsity; the A100 and later in
# their SXM form with NVLink, GeForce with 32-bit accumulation.
KINDS = {
    gpu.name: gpu
    for gpu in (
        _kind("a10", 23028, 125, 600),
        _kind("a100-40gb", 40960, 312, 1555, 300),
        _kind("a100-80gb", 81920, 312, 2039, 300),
        _kind("b200", 183359, 2250, 8000, 900),
        _kind("h100-80gb", 81559, 989, 3350, 450),
        _kind("h200", 143771, 989, 4800, 450),
        _kind("l4", 23034, 121, 300),
        _kind("l40s", 46068, 362, 864),
        _kind("rtx3090", 24576, 71, 936),
        _kind("rtx4090", 24564, 165, 1008),
    )
}


def find_gpu(cluster: ClusterConfig) -> Gpu:
    """The kind to plan for."""
    if cluster.gpu:
        return KINDS[cluster.gpu]
    found = _visible()
    if not found:
        return replace(KINDS[_ASSUMED], source="assumed; set cluster.gpu=KIND")
    name, mib = min(found, key=lambda gpu: gpu[1])
    alike = KINDS[next((kind for word in name.split() for mark, kind in _MARKS.items() if word == mark), _ASSUMED)]
    return replace(alike, name=name, memory=mib * MIB, source=f"nvidia-smi; speed of {alike.name}")


def has_gpu() -> bool:
    """Whether this machine shows a GPU; asks nvidia-smi, not torch, which takes seconds to load."""
    return bool(_visible())


@cache
def _visible() -> tuple[tuple[str, int], ...]:
    """Name and memory in MiB of each GPU of this machine."""
    from codctl.runs.machine import nvidia_smi

    try:
        lines = nvidia_smi("name,memory.total")
    except PreflightError:  # codctl doctor says what is wrong with it
        return ()
    rows = (line.rpartition(",") for line in lines)
    return tuple((name.strip().replace("-", " "), int(mib)) for name, _, mib in rows if mib.strip().isdigit())


@cache
def flops_per_thread() -> float:
    """FLOP/s of one thread in float32, of a matrix product."""
    command = [sys.executable, "-c", _CODE]
    try:
        done = subprocess.run(  # noqa: S603  the code is in this file
            command, capture_output=True, text=True, timeout=_LONGEST_S, check=True, env={**os.environ, **_ONE_THREAD}
        )
        return float(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return _ASSUMED_FLOPS
