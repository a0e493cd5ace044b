"""codctl recipe: find, read, check, explain and copy recipes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._help import Command, Group
from codctl.cli._options import Json, Overrides, RecipeName

if TYPE_CHECKING:
    from codctl.config.explain import FieldDoc

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

    Also the class of a key: what another value means for a run that exists. `eval` explains the keys of codctl eval.
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
    _output.result("recipe explain", {"fields": fields}, "" if as_json else _explained(docs), as_json=as_json)


def _explained(docs: Sequence[FieldDoc]) -> str:
    """Keys with what they mean, sections with a heading; at the end, what the classes of these keys mean."""
    from codctl.config.explain import section_descriptions
    from codctl.config.schema import CLASSES

    about = section_descriptions()
    by_section: dict[str, list[str]] = {}
    for doc in docs:
        names = doc.key.split(".")[:-1]
        for depth in range(len(names)):  # an outer section comes before those inside it
            by_section.setdefault(".".join(names[: depth + 1]), [])
        by_section.setdefault(".".join(names), []).append(f"{doc.key}\n{_output.prose(_meaning(doc))}")
    parts = []
    for section, keys in by_section.items():
        is_headed = section in about and len(docs) > 1
        head = [_output.bold(f"{section}: {about[section]}")] if is_headed else []
        parts += ["\n".join([*head, *keys])] if keys else []
    used = {doc.field_class for doc in docs}
    parts.append(_output.facts([(name, meaning) for name, meaning in CLASSES.items() if name in used]))
    return "\n\n".join(parts)


def _meaning(doc: FieldDoc) -> str:
    return f"    {doc.description}\n    {doc.expected}; default {_output.compact(doc.default)}; {doc.field_class}"


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
