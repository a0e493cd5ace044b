"""Before runs are sent somewhere: their MLflow runs are made, so that workers only attach.

It happens in a process of its own, because that can be given up on at any moment: what was not made in time is made by
each run when it starts. `python -m codctl.tracking.prepare` is that process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.log import log
from codctl.runs.directory import RunDirectory
from codctl.tracking import identity, server
from codctl.tracking.experiment import Experiment
from codctl.tracking.mirror import start
from codctl.tracking.push import Push, tracking_of
from codctl.tracking.sender import sending

if TYPE_CHECKING:
    from codctl.config.schema import TrackingConfig


_DEADLINE_S = 30.0
_MARGIN_S = 2.0  # to end in good order before the deadline
_AT_ONCE = 8  # requests to a server; a sqlite file takes one at a time


def prepare(
    runs: Sequence[RunDirectory],
    tracking: TrackingConfig,
    *,
    parent: Path | None = None,
    deadline_s: float = _DEADLINE_S,
) -> int:
    """Make the MLflow runs of `runs`, under that of their sweep, and log their settings once.

    Nothing depends on it: a tracker that is down costs one warning and no more than the deadline.

    Args:
        runs: Not started yet. Those that have an MLflow run are passed over.
        tracking: Where numbers go.
        parent: The sweep's folder, when they are its trials.
        deadline_s: For everything together, in seconds.

    Returns:
        How many of the runs have an MLflow run now.
    """
    missing = [run for run in runs if not _is_made(run)] if tracking.mlflow else []
    if missing:
        problem = _in_process(missing, parent, deadline_s)
        made = sum(_is_made(run) for run in missing)
        if problem:
            log.warning("MLflow %s. Nothing is lost: each run registers itself when it starts", problem)
        elif made < len(missing):
            log.info("MLflow has %d of %d runs so far; the others register when they start", made, len(missing))
    return sum(_is_made(run) for run in runs)


def _in_process(runs: Sequence[RunDirectory], parent: Path | None, deadline_s: float) -> str:
    """What went wrong; empty when nothing did."""
    process = start("codctl.tracking.prepare", [str(deadline_s - _MARGIN_S)])
    order = {"runs": [str(run.path.absolute()) for run in runs], "parent": str(parent.absolute()) if parent else None}
    try:
        answer, _ = process.communicate(json.dumps(order).encode(), timeout=deadline_s)
    except subprocess.TimeoutExpired:
        return f"did not answer within {deadline_s:g} s"
    finally:
        process.kill()
        process.communicate()
    return answer.decode(errors="replace").strip().rpartition("\n")[2]


def _is_made(run: RunDirectory) -> bool:
    found = identity.read(run.path, run.root)
    return found is not None and found.run_id is not None


def main(argv: Sequence[str]) -> int:
    """Make what stdin lists; the last line on stdout says what is wrong, if anything is."""
    ends_s = time.monotonic() + float(argv[0])
    order = json.load(sys.stdin)
    runs = [RunDirectory(Path(path)) for path in order["runs"]]
    try:
        _make(runs, Path(order["parent"]) if order["parent"] else None, ends_s)
    except TimeoutError:
        return 0  # the others make theirs when they start
    except Exception as error:  # noqa: BLE001  whatever it is, the runs matter more
        sys.stdout.write(f"\nis not available ({server.first_line(error)})\n")
        return 1
    return 0


def _make(runs: Sequence[RunDirectory], parent: Path | None, ends_s: float) -> None:
    first = runs[0]
    tracking, root = tracking_of(first), first.root
    stored, _ = identity.settle(parent or first.path, tracking, root)
    client = server.connect(stored.uri, root, timeout_s=server.MIRROR_TIMEOUT_S)
    experiment = Experiment(client, root)
    experiment.id_of(stored.experiment)
    if parent:
        experiment.sweep(parent, tracking)

    def check() -> None:
        if time.monotonic() > ends_s:
            raise TimeoutError

    at_once = 1 if client.tracking_uri.startswith("sqlite:") else _AT_ONCE
    with ThreadPoolExecutor(at_once) as pool:
        for step in (_attach, _params):
            for _ in _as_they_come(pool, step, runs, client, check):
                pass


def _as_they_come(pool: ThreadPoolExecutor, step: Any, runs: Sequence[RunDirectory], *args: Any) -> Iterator[None]:
    futures = [pool.submit(step, run, *args) for run in runs]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


def _attach(run: RunDirectory, client: Any, check: Any) -> None:
    with sending(run.path) as is_alone:
        if is_alone:
            push = Push(run, lambda: client, check)
            push.attach("queued")
            push.close()


def _params(run: RunDirectory, client: Any, check: Any) -> None:
    with sending(run.path) as is_alone:
        if is_alone:
            push = Push(run, lambda: client, check)
            push.attach()
            push.params()
            push.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
