"""codctl export: runs for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._help import Command, Group
from codctl.cli._options import RUNS_DIR, Json, RunsDir

if TYPE_CHECKING:
    from codctl.trinity.export import Exported

app = typer.Typer(help="Write runs for other tools.", cls=Group, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command(cls=Command)
def trinity(
    run: Annotated[str, typer.Argument(metavar="RUN", autocompletion=complete.runs, help="Name or folder of a run.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The new folder.")],
    step: Annotated[
        list[str] | None,
        typer.Option("--step", metavar="STEP", help="A saved model: final, start, or a number; several for a curve."),
    ] = None,
    project: Annotated[str, typer.Option("--project", metavar="NAME", help="Folder below checkpoints.")] = "codctl",
    group: Annotated[str, typer.Option("--group", metavar="NAME", help="Folder below that.")] = "codctl",
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Write a run as Trinity-RFT reads it: checkpoints, data, and configurations that train and evaluate.

    LoRA adapters are merged. Prompts differ between the two tools; worlds of the variant trinity do not.
    """
    from codctl.errors import UsageError
    from codctl.runs.directory import find_run
    from codctl.train.setup import prepare_process
    from codctl.trinity.export import export_run

    for option, name in (("--project", project), ("--group", group)):
        if not name or Path(name).name != name or name in (".", ".."):
            raise UsageError(f"expected the name of a folder, got {name!r}", where=option)
    prepare_process(2)
    found = export_run(find_run(runs_dir, run), out, step or (), project, group, _output.talk)
    _output.result("export trinity", found.as_dict(), _text(found), as_json=as_json)


def _text(found: Exported) -> str:
    rows = [
        ("folder", str(found.folder)),
        ("steps", ", ".join(map(str, found.steps))),
        ("files", str(len(found.files))),
        *(("note", note) for note in found.notes),
    ]
    if "bench.yaml" in found.files:
        rows.append(("next", f"in {found.folder}: TRINITY_MODEL_PATH=BASE trinity run --config bench.yaml"))
    return _output.facts(rows)


@app.command(cls=Command)
def atif(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="RUN|EVAL|FOLDER",
            help="A run, an evaluation, or a folder of codctl import sessions.",
            autocompletion=complete.runs,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The new folder.")],
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="before, after, training, validation, …")
    ] = None,
    step: Annotated[int | None, typer.Option("--step", metavar="N", help="A step of the training.")] = None,
    arm: Annotated[str | None, typer.Option("--arm", metavar="ARM", help="Only this arm; all by default.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N trajectories.")
    ] = None,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Write trajectories as ATIF (Agent Trajectory Interchange Format): a JSON document for each episode.

    Sessions of agent programs that an evaluation has kept are written too, with their tools. Rewards, hints and
    outcomes stand under extra.
    """
    from codctl.errors import UsageError
    from codctl.report import trajectory_sources
    from codctl.sessions.importing import is_imported, read_imported
    from codctl.sessions.trajectories import export_atif, export_sessions

    folder = Path(subject)
    if is_imported(folder):
        if source or arm or step is not None:
            raise UsageError("imported sessions have no sources, steps or arms", where="--source, --step, --arm")
        found = export_sessions(read_imported(folder)[:limit], out)
    else:
        chosen = trajectory_sources.find(runs_dir, subject)
        found = export_atif(chosen, chosen.source(source, step), out, arm=arm, limit=limit)
    rows = [
        ("folder", str(found.folder)),
        ("documents", f"{found.documents:,}, {found.as_dict()['version']}"),
        *([("sessions", f"{found.sessions:,} of agent programs")] if found.sessions else []),
        *(("note", note) for note in found.notes),
    ]
    _output.result("export atif", found.as_dict(), _output.facts(rows), as_json=as_json)
