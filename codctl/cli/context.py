"""codctl context: hints as a chain of revisions, and their places in the memory of agent programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._at_work import Temperature, check_folder, prepare
from codctl.cli._help import Command, Group
from codctl.cli._options import (
    CONTEXTS_DIR,
    RUNS_DIR,
    ApiKeyEnv,
    ContextsDir,
    Endpoint,
    Json,
    ModelFolder,
    ModelName,
    RunsDir,
)
from codctl.errors import UsageError

if TYPE_CHECKING:
    from codctl.contexts.exports import Place

app = typer.Typer(
    help="Keep hints as revisions, and put them into the memory of agent programs.",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.contexts, help="A context's name.")]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="WHERE",
        autocompletion=complete.exporters,
        help="claude-code, claude-code-memory, hermes, openclaw, qwenpaw, agents-md, or prompt.",
    ),
]
From = Annotated[
    str, typer.Option("--from", metavar="WHERE", autocompletion=complete.exporters, help="As --to of the export.")
]
Work = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the program works: the project's folder.")]
Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The home that the program sees; yours by default.")
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(
        "--config-dir",
        metavar="DIR",
        help="The program's own folder; by default what CLAUDE_CONFIG_DIR, HERMES_HOME or QWENPAW_WORKING_DIR says, "
        "or the usual one in the home.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Also lose changes that were made to the hints there.")]


@app.command(cls=Command)
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", autocompletion=complete.contexts, help="Of a context; without it, all are listed."
        ),
    ] = None,
    revision: Annotated[
        int | None, typer.Option("--rev", metavar="N", min=0, help="A revision; by default the one in force.")
    ] = None,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    as_json: Json = False,
) -> None:
    """Show the hints of a context, or list all contexts."""
    from codctl.cli import _context_text as text
    from codctl.contexts.exports import read_exports
    from codctl.contexts.store import find_context, list_contexts

    if name is None:
        found = [text.summary(context) for context in list_contexts(contexts_dir)]
        shown = text.listed(found) if found else f"no contexts in {contexts_dir}; `codctl context edit NAME` begins one"
        _output.result("context show", {"contexts": found}, shown, as_json=as_json)
        return
    context = find_context(contexts_dir, name)
    stored = context.head() if revision is None else context.get(revision)
    value = text.value_of(stored, context.head().number) | {"exports": [vars(one) for one in read_exports(context)]}
    if not as_json:
        _output.talk(text.provenance(context, stored))
    _output.result("context show", {"name": name, **value}, stored.text or "", as_json=as_json)


@app.command(cls=Command)
def log(name: Name, contexts_dir: ContextsDir = CONTEXTS_DIR, as_json: Json = False) -> None:
    """List the revisions of a context: what they came from, who wrote them, and what they changed."""
    from codctl.cli import _context_text as text
    from codctl.contexts.store import find_context

    context = find_context(contexts_dir, name)
    head, revisions = context.head().number, context.all()
    value = [text.value_of(stored, head) | text.changes(stored, revisions) for stored in revisions]
    _output.result("context log", {"name": name, "revisions": value}, text.logged(value), as_json=as_json)


@app.command(cls=Command)
def diff(
    name: Name,
    before: Annotated[
        int | None, typer.Argument(metavar="A", min=0, help="A revision; by default the parent of the one in force.")
    ] = None,
    after: Annotated[
        int | None, typer.Argument(metavar="B", min=0, help="Another; by default the one in force.")
    ] = None,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    as_json: Json = False,
) -> None:
    """Show what changed between two revisions, line by line."""
    from codctl.cli import _context_text as text
    from codctl.contexts.store import find_context

    context = find_context(contexts_dir, name)
    new = context.head() if after is None else context.get(after)
    old = context.get((new.revision.parent or 0) if before is None else before)
    lines = text.difference(f"{name} {old.number}", old.text, f"{name} {new.number}", new.text)
    value = {"name": name, "before": old.number, "after": new.number, "diff": lines}
    shown = "\n".join(lines) or f"revisions {old.number} and {new.number} have the same text"
    _output.result("context diff", value, shown, as_json=as_json)


@app.command(cls=Command)
def rollback(
    name: Name,
    revision: Annotated[int, typer.Argument(metavar="N", min=0, help="The revision to put in force.")],
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    as_json: Json = False,
) -> None:
    """Put another revision in force. Nothing is deleted: the next revision has this one as its parent."""
    from codctl.contexts.exports import read_exports
    from codctl.contexts.store import find_context

    context = find_context(contexts_dir, name)
    before = context.head().number
    stored = context.roll_back(revision)
    stale = [export.to for export in read_exports(context) if export.revision != stored.number]
    text = f"revision {stored.number} of {name} is in force (was {before})"
    hints = "".join(f"\nto export it: codctl context export {name} --to {to}" for to in dict.fromkeys(stale))
    value = {"name": name, "revision": stored.number, "before": before}
    _output.result("context rollback", value, text + hints, as_json=as_json)


@app.command(cls=Command)
def edit(
    name: Name,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take the text from a file; - is stdin.")
    ] = None,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    as_json: Json = False,
) -> None:
    """Write a new revision by hand, in your editor; begins a context that is not there yet."""
    from codctl.cli import _context_text as text_of
    from codctl.cli._editor import edited
    from codctl.contexts.store import Context, Origin, as_text

    context = Context(contexts_dir / name)
    if context.exists:
        head = context.head()
        text = as_text(_read(source) if source else edited(head.text, f"{name}.md"))
    else:
        text = as_text(_read(source) if source else edited("", f"{name}.md"))
        context.create()
        head = context.head()
    changed = text != head.text
    stored = context.append(head.revision, text, Origin("edit")) if changed else head
    shown = text_of.written(name, stored) if changed else f"nothing changed: revision {head.number} is in force"
    _output.result("context edit", {"name": name, **text_of.value_of(stored, stored.number)}, shown, as_json=as_json)


@app.command(cls=Command)
def update(
    name: Name,
    trajectory: Annotated[
        Path | None,
        typer.Option(
            "--trajectory", metavar="FILE", help="What was done: a session of an agent program, in any form it leaves."
        ),
    ] = None,
    from_session: Annotated[
        bool, typer.Option("--from-session", help="Take the newest session that codctl deploy has recorded.")
    ] = False,
    conversation: Annotated[
        int | None,
        typer.Option(
            "--conversation", metavar="N", min=1, help="Which of several in it; by default the last with tools."
        ),
    ] = None,
    reward: Annotated[
        float | None, typer.Option("--reward", metavar="R", help="What it was worth, from 0 to 1.")
    ] = None,
    feedback: Annotated[str, typer.Option("--feedback", metavar="TEXT", help="What you say about it.")] = "",
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            autocompletion=complete.runs,
            help="The model that writes; without it, and without --model and --endpoint, the one that is deployed.",
        ),
    ] = None,
    step: Annotated[
        str | None,
        typer.Option("--step", metavar="N", autocompletion=complete.steps, help="With --run: N, final or newest."),
    ] = None,
    model: ModelFolder = None,
    endpoint: Endpoint = None,
    model_name: ModelName = None,
    api_key_env: ApiKeyEnv = None,
    rendering: Annotated[
        Literal["full", "terse", "compact"] | None,
        typer.Option("--rendering", help="Form of the prompt; by default that of the model's training."),
    ] = None,
    rule: Annotated[
        Literal["rewrite", "delta"] | None,
        typer.Option("--update", help="Write the hints anew, or edit them; by default as in the model's training."),
    ] = None,
    update_tokens: Annotated[
        int | None, typer.Option("--update-tokens", metavar="N", min=1, help="Most tokens of the reply.")
    ] = None,
    temperature: Temperature = None,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Let a model write the next revision, from what an agent has done.

    It reads the hints in force and the session, as it did in training. A reply that cannot be read leaves the hints as
    they are, and is kept as a revision that says why.
    """
    from codctl.cli import _context_text as text
    from codctl.cli._eval_subject import Asked as Named
    from codctl.cli._eval_subject import subject_of
    from codctl.contexts.store import find_context
    from codctl.deploy import updating
    from codctl.deploy.deployment import last_session, running

    context = find_context(contexts_dir, name)
    if (trajectory is not None) == from_session:
        raise UsageError("say what was done", hint=f"codctl context update {name} --from-session, or --trajectory FILE")
    session = updating.chosen(trajectory or last_session(context), conversation)
    asked = updating.Asked(reward, feedback, rendering, rule, update_tokens, temperature)
    named = Named(run, step, model, None, endpoint, model_name, api_key_env, None, None)
    if named.subject():
        subject = subject_of(named, None, runs_dir)
    elif found := running(context):
        subject, asked = updating.of_deployment(found, asked)
    else:
        raise UsageError("say which model writes it", hint="--run RUN, --model FOLDER, or --endpoint URL")
    prepare(subject)
    before = context.head()
    stored = updating.update(context, session, subject, asked)
    if stored.revision.problem:
        _output.talk(f"the update could not be read, and the hints stay as they are: {stored.revision.problem}")
    lines = text.difference(f"{name} {before.number}", before.text, f"{name} {stored.number}", stored.text)
    shown = "\n".join([text.written(name, stored), *lines])
    _output.result(
        "context update", {"name": name, **text.value_of(stored, context.head().number)}, shown, as_json=as_json
    )


@app.command(cls=Command)
def export(
    name: Name,
    to: To,
    work: Work = Path(),
    home: Home = None,
    config_dir: ConfigDir = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    import_first: Annotated[
        bool, typer.Option("--import-first", help="Take in changes that were made to the hints there.")
    ] = False,
    force: Force = False,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    as_json: Json = False,
) -> None:
    """Put the hints in force into a file that an agent program reads.

    They stand there as a block that says they may be wrong. Nothing else in the file changes.
    """
    from codctl.cli import _context_text as text

    place = _place(contexts_dir, name, to, work, home, config_dir)
    if import_first and not dry_run and place.exporter.file(place.places):
        _take_in_changes(place)
    done = place.preview() if dry_run else place.export(force=force)
    if done.warning:
        _output.talk(f"warning: {done.warning}")
    value = text.exported(place, done, dry_run=dry_run)
    _output.result("context export", value, text.export_text(place, done, dry_run=dry_run), as_json=as_json)


@app.command("import", cls=Command)
def import_(
    name: Name,
    source: From,
    work: Work = Path(),
    home: Home = None,
    config_dir: ConfigDir = None,
    own: Annotated[
        bool, typer.Option("--own", help="Add what the program itself has written beside the hints.")
    ] = False,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    as_json: Json = False,
) -> None:
    """Make a revision of what an agent program has made of the hints; begins a context that is not there yet.

    Where no hints of this context stand in the file, all of its text is taken.
    """
    from codctl.cli import _context_text as text
    from codctl.contexts.exports import Place
    from codctl.contexts.store import Context

    context = Context(contexts_dir / name)
    stored = Place(context, source, _places(source, work, home, config_dir)).take_in(own=own)
    found = stored or context.head()
    shown = text.written(name, stored) if stored else f"nothing new: revision {found.number} is in force"
    value = {"name": name, "is_new": stored is not None, **text.value_of(found, context.head().number)}
    _output.result("context import", value, shown, as_json=as_json)


@app.command(cls=Command)
def unexport(
    name: Name,
    to: To,
    work: Work = Path(),
    home: Home = None,
    config_dir: ConfigDir = None,
    force: Force = False,
    contexts_dir: ContextsDir = CONTEXTS_DIR,
    as_json: Json = False,
) -> None:
    """Take the hints out of the file again, and nothing else."""
    place = _place(contexts_dir, name, to, work, home, config_dir)
    path = place.exporter.file(place.places)
    found = place.unexport(force=force)
    text = f"took the hints of {name} out of {path}" if found else f"no hints of {name} stand in {path or 'a file'}"
    value = {"name": name, "to": to, "path": str(path) if path else None, "was_there": found}
    _output.result("context unexport", value, text, as_json=as_json)


def _place(contexts_dir: Path, name: str, where: str, work: Path, home: Path | None, config_dir: Path | None) -> Place:
    from codctl.contexts.exports import Place
    from codctl.contexts.store import find_context

    return Place(find_context(contexts_dir, name), where, _places(where, work, home, config_dir))


def _places(where: str, work: Path, home: Path | None, config_dir: Path | None) -> Any:
    from codctl.contexts.exporters.base import EXPORTERS, MemoryPlaces

    variable = EXPORTERS.get(where).config_variable
    named = os.environ.get(variable, "") if variable and home is None else ""
    config = config_dir or (Path(named) if named else None)
    for option, folder in (("--dir", work), ("--home", home), ("--config-dir", config_dir)):
        check_folder(option, folder)
    return MemoryPlaces((home or Path.home()).absolute(), work.absolute(), config.absolute() if config else None)


def _take_in_changes(place: Place) -> None:
    if place.exporter.read(place.places, place.context.name) is not None and (stored := place.take_in()):
        _output.talk(f"took in what was changed there: revision {stored.number}")


def _read(source: Path) -> str:
    import sys

    try:
        data = sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
        return data.decode()
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=str(source)) from None
    except UnicodeDecodeError:
        raise UsageError("not valid UTF-8", where=str(source)) from None
