"""codctl report: one self-contained page about a run, and its charts as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from codctl.cli import _output
from codctl.cli._browser import open_page
from codctl.cli._options import RUNS_DIR, Json, OpenPage, RunName, RunsDir


def report(
    run: RunName,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; report.html in the run by default.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Also write every chart there: SVG, PNG and CSV.")
    ] = None,
    opens: OpenPage = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Write a run's report as one HTML page.

    The page is self-contained: it can be sent as it is.
    """
    from codctl.report import write_figures, write_report
    from codctl.runs.directory import find_run

    found = find_run(runs_dir, run)
    path = write_report(found, out)
    drawn = write_figures(found, figures) if figures else []
    result: dict[str, Any] = {"run": str(found.path), "report": str(path)}
    if figures:
        result["figures"] = [{"name": one.name, "title": one.title, "files": list(one.files)} for one in drawn]
    lines = [str(path), *(str(file) for one in drawn for file in one.files)]
    _output.result("report", result, "\n".join(lines), as_json=as_json)
    if opens:
        open_page(path)
