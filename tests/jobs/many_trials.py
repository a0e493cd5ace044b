"""A sweep on disk, as large as one likes: a few runs made by the real thing, copied under other names."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from codctl.config.schema import Config
from codctl.files import lock
from codctl.runs import stop
from codctl.runs.directory import RunDirectory
from codctl.tracking.jsonl import MetricsLog

STATES = ("finished", "running", "failed", "queued", "cancelled", "planned")


def make_run(runs_dir: Path, name: str, sweep: Path | None = None, **fields: object) -> RunDirectory:
    """A run that nobody has started."""
    config = Config.model_validate({"name": name, **fields})
    return RunDirectory.create_or_continue(runs_dir, config, recipe="tiny", command=["codctl", "train"], sweep=sweep)


def measure(run: RunDirectory, steps: int) -> None:
    """Metrics as a training writes them, with a validation at every fifth step."""
    log = MetricsLog(run.metrics_path)
    for step in range(1, steps + 1):
        log.append(step, "train", {f"success/position_{i}": step / 1000 for i in range(4)} | {"loss": 1.0})
        if step % 5 == 0:
            log.append(step, "validation", {f"success/position_{i}": (step + i) / 100 for i in range(4)})


def bring_to(run: RunDirectory, state: str) -> None:
    """Let a run get as far as one of STATES; `running` leaves the record of an attempt that has not ended."""
    if state == "queued":
        run.write_dispatch({"where": "slurm", "jobs": ["7_1"], "code": "c0dec0dec0dec0de"})
    if state in ("planned", "queued"):
        return
    with contextlib.suppress(stop.Stopped, ValueError), run.start_attempt():
        measure(run, 12)
        record = run.path / "attempts" / "001" / "attempt.json"
        before = record.read_text()
        if state == "failed":
            raise ValueError("a task without a name")
        if state == "cancelled":
            run.request_stop("cancel")
            run.check_stop()
    if state == "running":
        record.write_text(before)


def make_sweep(runs_dir: Path, name: str, counts: dict[str, int]) -> Path:
    """A sweep with so many trials in each state. Those that run have nobody who works on them (see `holding`)."""
    folder = runs_dir / "sweeps" / name
    trials = []
    for state, count in counts.items():
        first = make_run(runs_dir, f"{state}-0", sweep=folder)
        bring_to(first, state)
        for number in range(count):
            trials.append(
                {
                    "name": f"{state}-{number}",
                    "digest": f"{number:016x}",
                    "labels": {"seed": number},
                    "overrides": [],
                    "suites": [],
                }
            )
            if number:
                copy = RunDirectory(shutil.copytree(first.path, first.path.with_name(f"{state}-{number}")))
                if sent := first.dispatch():
                    copy.write_dispatch({key: value for key, value in sent.items() if key != "place"})
    document = {"schema": 1, "name": name, "kind": "sweep", "created": "2026-01-01T00:00:00+00:00", "trials": trials}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(document))
    return folder


@contextlib.contextmanager
def holding(*folders: Path) -> Iterator[None]:
    """Hold the locks of runs, as whoever works on them does."""
    with contextlib.ExitStack() as stack:
        for folder in folders:
            stack.enter_context(lock.RunLock(folder / "lock"))
        yield
