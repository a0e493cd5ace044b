"""The manifest of a run: what was started and how. Written once, when the run is made. Stdlib only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import codctl
from codctl.errors import UsageError
from codctl.runs import machine

SCHEMA = 2


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def new(
    *, name: str, recipe: str, command: Sequence[str], digest: str, root: str = "..", sweep: str | None = None
) -> dict[str, Any]:
    """The manifest of a run that nobody has worked on yet.

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


def read(path: Path) -> dict[str, Any]:
    """Load a manifest.

    Raises:
        UsageError: It is missing, not JSON, or of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError("not a run directory: manifest.json is missing", where=str(path.parent)) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the manifest cannot be read: {error}", where=str(path)) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise UsageError(
            f"the manifest has schema {found}; this codctl reads schema {SCHEMA}",
            where=str(path),
            hint="use the version that made the run, or move it aside with --fresh",
        )
    return content
