"""Writes the page on which one looks at stored trajectories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codctl.errors import UsageError
from codctl.files import atomic
from codctl.report.trajectories_page import Shown, render
from codctl.report.trajectory_sources import Found, Source
from codctl.results.selection import Selection


@dataclass(frozen=True)
class Written:
    """A page.

    Attributes:
        path: The page.
        shown: Trajectories on it.
        total: Trajectories that are selected.
        note: Why it does not show all of them.
    """

    path: Path
    shown: int
    total: int
    note: str


def write_page(found: Found, sources: Sequence[Source], wanted: Selection, path: Path) -> Written:
    """Write a self-contained page with the selected trajectories.

    Args:
        found: What it is about.
        sources: Whose trajectories.
        wanted: Which of them.
        path: Of the page.

    Raises:
        UsageError: Nothing is selected.
        StageError: The page cannot be written.
    """
    selected = list(_selected(sources, wanted))
    if not selected:
        raise UsageError("no trajectory is selected", where=str(found.folder), hint=f"codctl view {found.name}")
    page = render(found.title, selected)
    with atomic.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, page.html)
    return Written(path, page.shown, len(selected), page.note)


def _selected(sources: Sequence[Source], wanted: Selection) -> Iterator[Shown]:
    """A name that only some of the sources know selects nothing of the others; one that none knows is refused."""
    problem: UsageError | None = None
    is_known = False
    for source in sources:
        try:
            chosen = wanted.of(list(source.read()))
        except UsageError as error:
            problem = error
            continue
        is_known = True
        yield from (Shown(source.name, source.step, one.transcript) for one in chosen)
    if problem and not is_known:
        raise problem
