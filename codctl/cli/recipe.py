"""codctl recipe: find, read, check, explain and copy recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._help import Command, Group
from codctl.cli._options import Json, Overrides, RecipeName

app = typer.Typer(
    help="Find, read, check, explain and copy recipes.", cls=Group, no_args_is_help=True, rich_markup_mode=None
)


@app.command("list", cls=Command)
def list_(as_json: Json = False) -> None:
    """List the shipped recipes."""
    from codctl.config.compose import load_config
    from codctl.config.recipes import shipped_recipes

    found = [
        {"name": recipe.name, "path": str(recipe.path), "description": load_config(str(recipe.path)).description}
        for recipe in shipped_recipes()
    ]
    text = _output.table(["recipe", "description"], [[entry["name"], entry["description"]] for entry in found])
    _output.result("recipe list", {"recipes": found}, text, as_json=as_json)


@app.command(cls=Command)
def show(
    recipe: RecipeName,
    overrides: Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Every key, with defaults and overrides.")] = False,
    as_json: Json = False,
) -> None:
    """Print a recipe."""
    from codctl.config.compose import load_config
    from codctl.config.freeze import freeze
    from codctl.config.recipes import find_recipe

    if not (resolved or overrides or as_json):
        _output.data(find_recipe(recipe).path.read_text(encoding="utf-8").rstrip())
        return
    values = freeze(load_config(recipe, overrides or []))
    from omegaconf import OmegaConf

    _output.result("recipe show", {"config": values}, OmegaConf.to_yaml(values).rstrip(), as_json=as_json)


@app.command(cls=Command)
def validate(recipe: RecipeName, overrides: Overrides = None, as_json: Json = False) -> None:
    """Check a recipe and its overrides.

    Every problem is reported at once.
    """
    from codctl.config.compose import load_config
    from codctl.config.freeze import digest

    config = load_config(recipe, overrides or [])
    value = {"valid": True, "name": config.name, "digest": digest(config)}
    _output.result("recipe validate", value, f"{recipe} is valid (digest {value['digest']})", as_json=as_json)


@app.command(cls=Command)
def explain(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", autocompletion=complete.keys_and_sections, help="A key or a section; all keys otherwise."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain keys: meaning, values, default.

    Also what a key changes: the trained model (identity), its evaluation, where and how fast it runs (resource), or
    nothing (cosmetic). `eval` explains the keys of codctl eval.
    """
    from codctl.config.explain import explain as look_up
    from codctl.config.explain import field_docs

    docs = look_up(key) if key else field_docs()
    fields = [
        {
            "key": doc.key,
            "description": doc.description,
            "expected": doc.expected,
            "default": doc.default,
            "class": doc.field_class,
        }
        for doc in docs
    ]
    lines = []
    for doc in docs:
        facts = f"{doc.expected}; default {_output.compact(doc.default)}; {doc.field_class}"
        lines += [doc.key, f"    {doc.description}", f"    {facts}"]
    _output.result("recipe explain", {"fields": fields}, "\n".join(lines), as_json=as_json)


@app.command(cls=Command)
def copy(
    recipe: RecipeName,
    destination: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="By default its name, in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a recipe to a file of your own.

    It never overwrites a file.
    """
    from codctl.config.recipes import copy_recipe

    written = copy_recipe(recipe, destination)
    text = f"{written}\nnext: codctl train {written}"
    _output.result("recipe copy", {"path": str(written)}, text, as_json=as_json)
