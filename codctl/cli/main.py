"""The `codctl` command: its nouns, and what happens to errors."""

from __future__ import annotations

import re
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, NoReturn

import typer

from codctl import __version__
from codctl.cli import (
    _output,
    context,
    control,
    credit,
    deploy,
    docs,
    doctor,
    env,
    evals,
    export,
    import_,
    model,
    plan,
    push,
    ralph,
    recipe,
    report,
    runs,
    status,
    sweep,
    sync,
    train,
    view,
)
from codctl.cli import eval as eval_
from codctl.cli._foreground import CTRL_C, SIGNALLED
from codctl.cli._help import CONTEXT, Command, Group
from codctl.cli._options import refuse_other_bytes
from codctl.errors import CodctlError, UsageError, out_of_memory
from codctl.runs import code as code_
from codctl.startup import begin_process

_PYDANTIC = {
    r"Value error, ": "",
    r"Input should be a valid integer.*": "expected a whole number",
    r"Input should be a valid number.*": "expected a number",
    r"Input should be greater than or equal to": "must be at least",
    r"Input should be less than or equal to": "must be at most",
    r"Input should be": "must be",
}

_WORKING = ("train", "eval", "resume", "sweep")  # commands that may take days, and continue when typed again
_CONTINUING = (*_WORKING, "ralph")  # ralph needs no snapshot of the code

app = typer.Typer(
    name="codctl",
    cls=Group,
    context_settings=CONTEXT,
    help="Train language models to learn on the job (Connect the Dots).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Train": {"plan": plan.plan, "train": train.train, "sweep": sweep.sweep},
    "Follow and control": {
        "status": status.status,
        "logs": runs.logs,
        "cancel": control.cancel,
        "resume": control.resume,
    },
    "Evaluate and look": {
        "eval": eval_.evaluate,
        "report": report.report,
        "view": view.view,
        "credit": credit.credit,
        "sync": sync.sync,
        "push": push.push,
    },
    "Put to work": {"deploy": deploy.deploy, "ralph": ralph.ralph},
    "Help": {"doctor": doctor.doctor, "docs": docs.docs},
}
_GROUPS = {
    "runs": runs.app,
    "evals": evals.app,
    "recipe": recipe.app,
    "env": env.app,
    "context": context.app,
    "model": model.app,
    "import": import_.app,
    "export": export.app,
}
for _panel, _functions in _COMMANDS.items():
    for _name, _function in _functions.items():
        app.command(_name, cls=Command, rich_help_panel=_panel)(_function)
for _name, _group in _GROUPS.items():
    app.add_typer(_group, name=_name, rich_help_panel="Groups of commands")


def _print_version(value: bool) -> None:
    if value:
        _output.data(f"codctl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


class _InterruptedError(CodctlError):
    kind = "interrupted"


def main() -> NoReturn:
    """Entry point of the console script."""
    begin_process()
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error ends here as one message."""
    as_json, command = "--json" in argv, _command_of(argv)
    if command in _WORKING:
        code_.digest()  # before more of it is imported
    try:
        _check_surroundings()
        for word in argv:
            refuse_other_bytes(word)
        code = int(app(args=list(argv), prog_name="codctl", standalone_mode=False) or 0)
    except typer.Abort:
        code = CTRL_C
    except SystemExit as stop:  # a signal ended the run in good order
        code = stop.code if isinstance(stop.code, int) else 1
    except CodctlError as error:
        _output.failure(command, error, as_json=as_json)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last place where anything can be caught
        if hasattr(error, "format_message"):  # Typer's own: a wrong option or argument
            return _usage(error, command, as_json=as_json)
        if explained := out_of_memory(error):
            _output.failure(command, explained, as_json=as_json)
            return explained.exit_code
        _output.talk(_own_traceback(error))
        if as_json:
            _output.failure(command, CodctlError(f"{type(error).__name__}: {error}"), as_json=True)
        return CodctlError.exit_code
    if code in SIGNALLED:
        again = shlex.join(["codctl", *(word for word in argv if word != "--fresh")])
        hint = f"the same command continues: {again}" if command in _CONTINUING else ""
        _output.failure(command, _InterruptedError(SIGNALLED[code], hint=hint), as_json=as_json)
    return code


def _check_surroundings() -> None:
    """Refuse what no command can work in.

    Raises:
        UsageError: With what is wrong.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the working directory is gone ({error.strerror})", hint="cd to a directory that exists"
        ) from None
    if sys.flags.optimize > 1:
        raise UsageError(
            "Python runs without docstrings (-OO or PYTHONOPTIMIZE=2), which transformers and codctl --help need",
            hint="unset PYTHONOPTIMIZE",
        )


def _usage(error: Exception, command: str, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        _output.talk(context.get_help())
        return UsageError.exit_code
    message = _in_words(str(getattr(error, "format_message")()).rstrip("."))  # noqa: B009 - Typer's base is private
    path = context.command_path if context is not None else "codctl"
    _output.failure(command, UsageError(message, hint=f"{path} --help"), as_json=as_json)
    return UsageError.exit_code


def _in_words(message: str) -> str:
    """Typer hands on what pydantic says of a value."""
    for theirs, ours in _PYDANTIC.items():
        message = re.sub(theirs, ours, message)
    return message


def _own_traceback(error: Exception) -> str:
    """The traceback from the command's own frame on; the way there through Typer is always the same."""
    inner = error.__traceback__
    while inner is not None and (inner.tb_frame.f_code.co_filename == __file__ or _is_typer(inner)):
        inner = inner.tb_next
    return "".join(traceback.format_exception(type(error), error, inner or error.__traceback__)).rstrip()


def _is_typer(frame: TracebackType) -> bool:
    return str(frame.tb_frame.f_globals.get("__name__")).startswith("typer.")


def _command_of(argv: Sequence[str]) -> str:
    """The command's words, for JSON: `eval`, `runs show`."""
    words = [word for word in argv if not word.startswith("-")]
    groups = {group.name for group in app.registered_groups}
    return " ".join(words[:2] if words and words[0] in groups else words[:1])


if __name__ == "__main__":
    main()
