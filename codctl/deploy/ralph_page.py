"""The page of a Ralph loop: each iteration with what came of it, and the hints that it led to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codctl import __version__
from codctl.contexts.store import Stored
from codctl.deploy.ralph import Iteration, Ralph, Wanted, in_words
from codctl.files import atomic
from codctl.report.template import fill, top


@dataclass(frozen=True)
class _Shown:
    iteration: Iteration
    words: str
    hints: Stored
    written: Stored | None


def write_page(ralph: Ralph, wanted: Wanted, iterations: Sequence[Iteration]) -> Path:
    """Write report.html into the loop's folder."""
    stored = {one.number: one for one in ralph.context.all()}
    written = {one.origin.task: one for one in stored.values()}
    shown = [
        _Shown(one, in_words(one), stored[one.revision], written.get(f"iteration {one.number}")) for one in iterations
    ]
    done = bool(iterations) and iterations[-1].is_verified
    count = f"{len(iterations)} iteration{'s' * (len(iterations) != 1)}"
    content = {
        "title": f"Ralph loop of {wanted.program.title}: codctl",
        "headline": f"Done after {count}" if done else f"Not done after {count}",
        "agent": f"{wanted.program.title} {wanted.version}",
        "model": wanted.model,
        "prompt": wanted.prompt,
        "check": shlex.join(wanted.verify),
        "shown": shown,
        "top": top(version=__version__, command=f"codctl ralph … --out {shlex.quote(str(ralph.folder))}"),
    }
    path = ralph.folder / "report.html"
    atomic.write_text(path, fill("ralph.html", content))
    return path
