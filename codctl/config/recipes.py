"""Where recipes are: shipped ones by name, others by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codctl.config.names import did_you_mean
from codctl.errors import PreflightError, RefusedError, UsageError


@dataclass(frozen=True)
class Recipe:
    """A recipe file and the name it is asked for."""

    name: str
    path: Path


def recipes_folder() -> Path:
    """The shipped recipes: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    beside = package.parent / "recipes"
    return beside if (package.parent / "pyproject.toml").is_file() and beside.is_dir() else package / "_recipes"


def shipped_recipes() -> tuple[Recipe, ...]:
    """All shipped recipes, sorted by name; a recipe in a subfolder is named `folder/name`."""
    folder = recipes_folder()
    return tuple(
        Recipe(path.relative_to(folder).with_suffix("").as_posix(), path) for path in sorted(folder.rglob("*.yaml"))
    )


def find_recipe(recipe: str) -> Recipe:
    """Find a recipe by path, or by the name of a shipped one.

    Raises:
        UsageError: When there is none; names the nearest.
    """
    path = Path(recipe)
    if path.is_file():
        if path.suffix != ".yaml":
            raise UsageError(f'a recipe\'s file name ends in .yaml; "{path.name}" does not', where=recipe)
        return Recipe(path.stem, path.resolve())
    shipped = {found.name: found for found in shipped_recipes()}
    if recipe in shipped:
        return shipped[recipe]
    if path.is_dir():
        raise UsageError(f'"{recipe}" is a folder; a recipe is a .yaml file', hint="codctl recipe list")
    beside = [str(path.parent / other.name) for other in path.parent.glob("*.yaml")] if path.suffix else []
    suggestion = did_you_mean(recipe, beside) or did_you_mean(path.stem, shipped)
    raise UsageError(
        f'there is no recipe "{recipe}", neither a file nor a shipped one{suggestion}',
        hint="codctl recipe list",
    )


def copy_recipe(recipe: str, destination: Path | None) -> Path:
    """Copy a recipe to `destination` (a file or a folder; by default its own name, here).

    Raises:
        RefusedError: When the file exists.
        PreflightError: When it cannot be written.
    """
    source = find_recipe(recipe).path
    target = destination or Path(source.name)
    if target.is_dir():
        target = target / source.name
    if target.suffix != ".yaml":
        raise UsageError(f'a recipe\'s file name ends in .yaml; "{target.name}" does not', where=str(target))
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise RefusedError("the file exists", where=str(target), hint="give another file name") from None
    except OSError as error:
        raise PreflightError(f"cannot write: {error.strerror}", where=str(target)) from error
    return target
