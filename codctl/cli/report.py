"""codctl report: one self-contained page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codctl.cli import _output
from codctl.cli._browser import open_page
from codctl.cli._options import RUNS_DIR, Json, OpenPage, RunName, RunsDir


def report(
    run: RunName,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; report.html in the run by default.")
    ] = None,
    opens: OpenPage = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Write a run's report as one HTML page.

    The page is self-contained: it can be sent as it is.
    """
    from codctl.evaluate.report import write_report
    from codctl.runs.directory import find_run

    found = find_run(runs_dir, run)
    path = write_report(found, out)
    _output.result("report", {"run": str(found.path), "report": str(path)}, str(path), as_json=as_json)
    if opens:
        open_page(path)
