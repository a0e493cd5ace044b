"""codctl import: configurations, data sets and logs of other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _output
from codctl.cli._help import Command, Group
from codctl.cli._options import Json

if TYPE_CHECKING:
    from codctl.trinity.fates import Fate

app = typer.Typer(help="Read what other tools have written.", cls=Group, no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command(cls=Command)
def trinity(
    configuration: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML configuration of Trinity-RFT.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The new recipe or suite; by default stdout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a recipe of a Trinity-RFT configuration, or a suite of one that evaluates (mode: bench).

    Says of every key what became of it. Only ${key}, ${oc.env:…} and ${oc.decode:…} are resolved.
    """
    from codctl.trinity.configuration import read_configuration
    from codctl.trinity.recipe import translate
    from codctl.trinity.suite import translate_bench
    from codctl.trinity.text import as_yaml

    found = read_configuration(configuration)
    is_bench = found.values.get("mode") == "bench"
    made = translate_bench(found) if is_bench else translate(found)
    text = as_yaml(made, configuration.name)
    if out:
        _write(out, text)
    if as_json:
        kind = "suite" if is_bench else "recipe"
        value = {
            "kind": kind,
            "path": str(out) if out else None,
            kind: made.values,
            "fates": [vars(f) for f in made.fates],
        }
        _output.result("import trinity", value, "", as_json=True)
    elif out:
        told = f"codctl eval --suite {out} --run RUN" if is_bench else f"codctl plan {out}"
        _output.data(f"{_table(made.fates)}\n\n{out}\nnext: {told}")
    else:
        _output.talk(_table(made.fates))
        _output.data(text.rstrip())


def _table(fates: Sequence[Fate]) -> str:
    rows = [[fate.key, _shown(fate.value), fate.outcome, fate.text] for fate in fates]
    return _output.table(["key", "value", "became", "as what, or why not"], rows)


def _shown(value: object) -> str:
    return _output.shorten(" ".join(_output.compact(value).split()), 40)


def _write(path: Path, text: str) -> None:
    """Write a new file; it never overwrites one."""
    from codctl.errors import PreflightError, RefusedError, UsageError

    if path.suffix != ".yaml":
        raise UsageError(f'the file name has to end in .yaml; "{path.name}" does not', where=str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RefusedError("the file exists", where=str(path), hint="give another file name") from None
    except OSError as error:
        raise PreflightError(f"cannot write: {error.strerror}", where=str(path)) from error
