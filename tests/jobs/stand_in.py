"""A stand-in for a worker that does as told: run directory first, then verbs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

run = Path(sys.argv[1])


def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        if time.monotonic() > deadline:
            sys.exit("nothing happened")
        time.sleep(0.01)


def save(_number: int, _frame: FrameType | None) -> None:
    (run / "saved").touch()
    sys.exit(143)


for verb in sys.argv[2:]:
    name, _, value = verb.partition("=")
    match name:
        case "say":
            print(value.replace("RUN", run.name), flush=True)
        case "environment":
            (run / "environment").write_text(json.dumps(dict(os.environ)))
        case "polite":
            signal.signal(signal.SIGTERM, save)
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "child":
            child = subprocess.Popen(["sleep", "60"])
            (run / "child").write_text(str(child.pid))
        case "up":
            (run / "pid.part").write_text(str(os.getpid()))
            (run / "pid.part").rename(run / "pid")
        case "sleep":
            until(lambda: False)
        case "until":
            until(Path(value).exists)
        case "together":  # so many have come this far
            until(lambda number=int(value): len(list(run.parent.glob("*/pid"))) >= number)
        case "record":  # how the attempt ended, as a worker does
            (run / "attempts" / "001").mkdir(parents=True)
            record = {"number": 1, "outcome": "failed", "message": value}
            (run / "attempts" / "001" / "attempt.json").write_text(json.dumps(record))
        case "kill":
            os.kill(os.getpid(), int(value))
        case "exit":
            sys.exit(int(value))
        case _:
            sys.exit(f"no such verb: {verb}")
