"""Options that several commands share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from codctl.cli import _complete as complete
from codctl.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]


def _in_utf8(folder: Path) -> Path:
    with contextlib.suppress(OSError):  # the working directory is gone
        refuse_other_bytes(str(folder.absolute()), hint="choose another runs folder with --runs-dir DIR")
    return folder


def refuse_other_bytes(text: str, *, hint: str = "") -> None:
    """Refuse a path whose bytes are not UTF-8: tokenizers, pyarrow and sqlite cannot open files there."""
    found = os.fsencode(text)
    try:
        found.decode()
    except UnicodeDecodeError:
        raise UsageError(
            "not valid UTF-8; rename the file or folder", where=found.decode("utf-8", "backslashreplace"), hint=hint
        ) from None


RunsDir = Annotated[
    Path,
    typer.Option("--runs-dir", metavar="DIR", envvar="CODCTL_RUNS_DIR", callback=_in_utf8, help="Folder of the runs."),
]
RUNS_DIR = Path("runs")
ContextsDir = Annotated[
    Path,
    typer.Option(
        "--contexts-dir",
        metavar="DIR",
        envvar="CODCTL_CONTEXTS_DIR",
        callback=_in_utf8,
        help="Folder of the contexts.",
    ),
]
CONTEXTS_DIR = Path("contexts")
Slurm = Annotated[bool, typer.Option("--slurm", help="Submit to SLURM and return; the same as --on slurm.")]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="LAUNCHER",
        autocompletion=complete.launchers,
        help="Submit to a launcher and return: slurm, local (here, in the background), or one that a package adds.",
    ),
]
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
# Who plays, where a command lets anybody play.
ModelFolder = Annotated[
    Path | None, typer.Option("--model", metavar="PATH", help="A Hugging Face folder, or the id of a cached model.")
]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint", metavar="URL", help="An OpenAI-compatible server, with --model-name.")
]
ModelName = Annotated[str | None, typer.Option("--model-name", metavar="NAME", help="What the server calls the model.")]
ApiKeyEnv = Annotated[
    str | None, typer.Option("--api-key-env", metavar="VAR", help="Environment variable that holds the key.")
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", metavar="N", min=1, help="Requests to the server at once; 8 when left out."),
]
Deadline = Annotated[
    float | None,
    typer.Option("--deadline", metavar="SECONDS", help="Most time for one reply of the server; 300 when left out."),
]


def launcher_of(on: str | None, *, slurm: bool = False, detach: bool = False) -> str | None:
    """The launcher that was asked for; None for this terminal.

    Raises:
        UsageError: There is none of this name, or two were asked for.
    """
    if slurm and detach:
        raise UsageError("--slurm and --detach cannot be combined", hint="--slurm returns at once by itself")
    short = "slurm" if slurm else "local" if detach else None
    if on is None:
        return short
    from codctl.jobs.launcher import LAUNCHERS

    LAUNCHERS.check(on)
    if short not in (None, on):
        raise UsageError(
            f"--on {on} and {'--slurm' if slurm else '--detach'} cannot be combined", hint="leave one of them out"
        )
    return on
