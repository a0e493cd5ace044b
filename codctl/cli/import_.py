"""codctl import: configurations, data sets and logs of other tools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

    Says of every key what became of it. Of interpolations only other keys, oc.env and oc.decode are resolved.
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


@app.command("trinity-data", cls=Command)
def trinity_data(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A data set of Trinity-RFT, or one of its files.")],
    split: Annotated[str, typer.Option("--split", metavar="SPLIT", help="train or test.")] = "train",
    length: Annotated[int, typer.Option("--length", metavar="N", min=1, max=64, help="Pack length.")] = 4,
    packs: Annotated[
        int, typer.Option("--packs", metavar="N", min=0, max=1000, help="Packs whose facts are shown.")
    ] = 2,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="PRESET", help="By default, what it looks like.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read a data set of Trinity-RFT: whose rows, whether they are the published ones, and what its packs hide."""
    from codctl.envs.registry import check_world, get_family
    from codctl.trinity.data import first_difference, read_data
    from codctl.trinity.packs import default_preset, draw_pack, is_drawn

    data = read_data(folder, split)
    chosen = preset or (default_preset(data) if is_drawn(data.family) else "")
    drawn = []
    if is_drawn(data.family):
        check_world(data.family, chosen, "trinity")
        drawn = [draw_pack(data, index, length, chosen) for index in range(min(packs, len(data.rows) // length))]
    differs = first_difference(data, chosen)
    value = {
        "path": str(data.path),
        "family": data.family or None,
        "preset": chosen or None,
        "rows": len(data.rows),
        "packs": len(data.rows) // length,
        "published": None if differs == -1 else differs is None,
        "first_difference": None if differs == -1 else differs,
        "worlds": [get_family(pack.family).truth(pack.world, "compact") for pack in drawn],
    }
    told = "not known here" if differs == -1 else "all of them" if differs is None else f"up to row {differs}"
    rows = [
        ("file", str(data.path)),
        ("family", f"{data.family}, preset {chosen}" if chosen else data.family or "not known by its columns"),
        ("rows", f"{len(data.rows):,}: {len(data.rows) // length:,} packs of {length}"),
        ("as published", told),
        *((f"pack {index}", text) for index, text in enumerate(value["worlds"])),  # type: ignore[arg-type]
    ]
    _output.result("import trinity-data", value, _output.facts(rows), as_json=as_json)


@app.command("trinity-logs", cls=Command)
def trinity_logs(
    folder: Annotated[Path, typer.Argument(metavar="LOGS", help="Where Trinity-RFT has put its logs (log_dir).")],
    as_json: Json = False,
) -> None:
    """Read logs of Trinity-RFT: the mean reward by position, for each step and task set.

    Rewards are those that were learned from: of FrozenLake and Alchemy they are shaped, as train.reward says.
    """
    from codctl.trinity.logs import read_logs

    steps = [step.as_dict() for step in read_logs(folder)]
    length = max(len(step["reward"]) for step in steps)
    rows = [
        [
            step["of"],
            step["step"],
            step["packs"],
            *(_reward(step, place) for place in range(length)),
            step["malformed_updates"],
            step["hint_chars"],
        ]
        for step in steps
    ]
    headers = ["of", "step", "packs", *(f"task {place + 1}" for place in range(length)), "bad updates", "hint chars"]
    _output.result("import trinity-logs", {"steps": steps}, _output.table(headers, rows), as_json=as_json)


def _reward(step: dict[str, Any], place: int) -> str:
    if place >= len(step["reward"]):
        return ""
    error = step["standard_error"][place]
    return f"{step['reward'][place]:.3f}" + (f" ±{error:.3f}" if error is not None else "")


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
