"""How fast a core of this machine multiplies matrices: measured once, in half a second of a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

_ASSUMED = 60e9  # FLOP/s of one thread in float32, where it cannot be measured
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
        return _ASSUMED


def cores() -> int:
    """That this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
