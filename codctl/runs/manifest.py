"""The manifest of a run: what was started and how. Written once, when the run is made. Stdlib only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codctl
from codctl.errors import UsageError
from codctl.files import reader
from codctl.runs import machine

if TYPE_CHECKING:
    from codctl.files.records import Manifest

SCHEMA = 3


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def new(
    *, name: str, recipe: str, command: Sequence[str], digest: str, root: str = "..", sweep: str | None = None
) -> dict[str, Any]:
    """The manifest of a run that has not been started.

    Args:
        name: Of the run.
        recipe: As the user named it.
        command: The command line.
        digest: Of the config's identity fields.
        root: The runs folder, relative to the run.
        sweep: The folder of the sweep that it is a trial of, relative to the run.
    """
    return {
        "schema": SCHEMA,
        "name": name,
        "created": now(),
        "recipe": recipe,
        "command": list(command),
        "digest": digest,
        "codctl_version": codctl.__version__,
        "machine": machine.describe(),
        "root": root,
        "sweep": sweep,
        "forked_from": None,
    }


def read(path: Path) -> Manifest:
    """Load a manifest.

    Raises:
        UsageError: It is missing, damaged, or of another schema.
    """
    from codctl.files import records as files

    hint = "use the version of codctl that made the run, or move its folder out of the runs folder and train again"
    try:
        found = reader.read(path, files.Manifest, hint=hint)
    except UsageError as error:
        if ": schema: " in error.message:
            raise UsageError("another version of codctl made this run", where=str(path), hint=hint) from error
        raise
    if found is None:
        raise UsageError("not a run directory: manifest.json is missing", where=str(path.parent))
    return found
