"""codctl sync: bring the trackers up to what the runs folder holds."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._options import RUNS_DIR, Json, RunsDir


def sync(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|SWEEP",
            autocompletion=complete.runs_and_sweeps,
            help="Runs and sweeps; all when none is named.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also ask the trackers about runs of which all was sent.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="Time limit for everything together.", min=1)
    ] = 600.0,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Send to the trackers of each run what they have missed: MLflow, Weights & Biases, TensorBoard, plug-ins.

    Numbers, settings, status, evaluations and files; nothing is sent twice.
    """
    from codctl.jobs.jobs import Jobs
    from codctl.jobs.status import statuses
    from codctl.tracking.sync import Sync, described, select

    ask = partial(statuses, jobs=Jobs())
    work = Sync(deadline_s=timeout, thorough=everything, say=_output.talk, statuses=ask)
    outcomes = list(work.work(select(runs_dir, runs or [])))
    rows = [[outcome.run, outcome.tracker or "-", outcome.status, described(outcome)] for outcome in outcomes]
    found: dict[str, Any] = {"runs": [outcome.as_json() for outcome in outcomes]}
    text = _output.table(["run", "tracker", "status", "sent"], rows) if rows else f"no runs in {runs_dir}"
    _output.result("sync", found, text, as_json=as_json)
