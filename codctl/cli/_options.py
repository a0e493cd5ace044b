"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", envvar="CODCTL_RUNS_DIR", help="Folder in which runs live.")
]
RUNS_DIR = Path("runs")
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values to change.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's file, or the name of a shipped one.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")]
