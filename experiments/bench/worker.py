"""Times workloads of one checkout when it is told to: `BENCH_CHECKOUT=… python worker.py FOLDER`.

Each line of stdin names a workload; each line of stdout is what it took, as JSON. `compare.py` has two of these.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from time import process_time
from typing import Any

from machine import ROOT


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what codctl or a library prints is no answer
    folder, ready = Path(sys.argv[1]), dict[str, Any]()
    for line in sys.stdin:
        name = line.strip()
        try:
            found = _recipe(name.split()[1:]) if name.startswith("tiny ") else _timed(name, folder, ready)
        except Exception:  # noqa: BLE001  an older commit may lack what a workload needs
            found = {"failed": traceback.format_exc()[-1500:]}
        print(json.dumps(found), file=answers, flush=True)


def _timed(name: str, folder: Path, ready: dict[str, Any]) -> dict[str, Any]:
    import workloads

    import codctl
    from codctl.train.setup import prepare_process

    assert Path(codctl.__file__).is_relative_to(ROOT), f"codctl is {codctl.__file__}, not of {ROOT}"
    if not ready:
        prepare_process(threads=1)
    if name == "prepare":
        workloads.prepare(folder)
        return {}
    if name not in ready:
        ready[name] = workloads.WORKLOADS[name][1](folder)
    began = process_time()
    done = ready[name]()
    return {"seconds": process_time() - began, "digest": done.digest, "counts": done.counts}


def _recipe(changes: list[str]) -> dict[str, Any]:
    import subprocess

    command = [sys.executable, str(Path(__file__).with_name("phases.py")), *changes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
