"""Names of runs and sweeps: what they look like, and which are reserved."""

from __future__ import annotations

import re

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of a run or a sweep: it becomes a folder

_RESERVED = re.compile(
    r"(?P<aside>.+\.old-\d+)|(?P<own>sweeps|evaluations|mlflow-artifacts|mlflow\.db.*|wandb|lock)"
    r"|(?P<file>.+\.(?:lock|json|jsonl))",
    re.IGNORECASE,
)
_WHY = {
    "aside": "a name that ends like this marks what --fresh moved aside",
    "own": "the runs folder holds something of its own under this name",
    "file": "a name that ends like this is that of a file in a runs folder",
}


def refuse_reserved(name: str) -> str:
    """Validate the name of a new run or study.

    Raises:
        ValueError: It is reserved.
    """
    if why := why_reserved(name):
        raise ValueError(f"{name!r} is reserved: {why}")
    return name


def why_reserved(name: str) -> str:
    """Why a new run or sweep cannot have this name; empty when it can."""
    found = _RESERVED.fullmatch(name)
    return _WHY[found.lastgroup or "file"] if found else ""
