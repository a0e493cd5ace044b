"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codctl.cli import _complete as complete

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", envvar="CODCTL_RUNS_DIR", help="Folder of the runs.")
]
RUNS_DIR = Path("runs")
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        autocompletion=complete.recipe_overrides,
        help="Values to change: `codctl recipe explain` lists the keys.",
    ),
]
RecipeName = Annotated[
    str,
    typer.Argument(metavar="RECIPE", autocompletion=complete.recipes, help="A shipped recipe by name, or a YAML file."),
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", autocompletion=complete.runs, help="A run's name, or its folder.")
]
