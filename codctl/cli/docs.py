"""codctl docs: the pages of the documentation, in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._options import Json


def docs(
    page: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", autocompletion=complete.pages, help="A page of the list, such as `scaling`."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the documentation; without a name, list its pages."""
    pages = page_files()
    if page is None:
        rows = [[name, _title(path)] for name, path in pages.items()]
        found = {name: str(path) for name, path in pages.items()}
        _output.result("docs", {"pages": found}, _output.table(["page", "title"], rows), as_json=as_json)
        return
    path = _find(page, pages)
    text = path.read_text(encoding="utf-8")
    _output.result(
        "docs", {"page": page, "path": str(path), "text": text}, "" if as_json else _rendered(text), as_json=as_json
    )


def page_files() -> dict[str, Path]:
    """Pages by name: beside the package in a checkout, inside it when installed."""
    from codctl.config.recipes import recipes_folder

    recipes = recipes_folder()
    folder = recipes.parent / ("_docs" if recipes.name.startswith("_") else "docs")
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.md"))}
    found.pop("index", None)  # the site's table of contents
    return found


def _find(page: str, pages: dict[str, Path]) -> Path:
    from codctl.config.names import did_you_mean
    from codctl.errors import UsageError

    name = page.removeprefix("docs/").removesuffix(".md")
    found = pages.get(name) or pages.get(f"worlds/{name}")
    if found is None:
        raise UsageError(f'there is no page "{page}"{did_you_mean(name, pages)}', hint="codctl docs")
    return found


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def _rendered(text: str) -> str:
    """Formatted for a terminal; the Markdown itself elsewhere."""
    if not _output.use_colour(sys.stdout):
        return text.rstrip()
    from rich.markdown import Markdown

    from codctl.cli import _rich

    return _rich.as_text(Markdown(text), width=_output.terminal_columns() or 100).rstrip()
