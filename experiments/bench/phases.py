"""CPU seconds of each phase of a training by recipes/tiny.yaml, and its peak memory: `python phases.py [KEY=VALUE …]`.

The command runs in this process; whatever it reports as a new phase begins one here.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import resource
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from time import process_time
from typing import Any

from machine import ROOT

KINDS = {
    r"starting|building|loading|checking": "start",
    r"warm start": "warm start",
    r"sampling": "sampling",
    r"learning|scoring": "learning",
    r"validation": "validation",
    r"CoD-Train|a look": "rest of CoD-Train",
    r"writing": "report",
    r".+/.+|references|arms?\b": "evaluation",
}


def main() -> None:
    from codctl.cli.main import run
    from codctl.runs import progress

    spent: dict[str, float] = defaultdict(float)
    current, since = "start", 0.0
    update = progress.Logged.update

    def watched(self: Any, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        nonlocal current, since
        now = process_time()
        spent[current] += now - since
        current, since = _kind(phase) or current, now
        update(self, phase, done, total, metrics)

    progress.Logged.update = watched  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        command = ["train", str(ROOT / "recipes/tiny.yaml"), "--runs-dir", folder, "--json", "runtime.threads=1"]
        command += ["tracking.mlflow=false", *sys.argv[1:]]
        with contextlib.redirect_stdout(io.StringIO()):
            code = run(command)
    spent[current] += process_time() - since
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "seconds": process_time() + children.ru_utime + children.ru_stime,
        "phases": dict(spent),
        "counts": {"peak_mib": peak / 2**20},
    }
    print(json.dumps(found))
    sys.exit(code)


def _kind(phase: str) -> str:
    return next((kind for pattern, kind in KINDS.items() if re.search(pattern, phase)), "")


if __name__ == "__main__":
    main()
