"""Names that are allowed, reserved or closed lists; and the nearest valid name to a misspelt one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from codctl.errors import UsageError

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of a run or a sweep: it becomes a folder

_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
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


def plain(text: str) -> str:
    """A text as part of a file's name: what is no letter, digit, dot, underscore or dash becomes a dash."""
    return _OTHER.sub("-", text)


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


def nearest(name: str, valid: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The valid name closest to `name`, or None when nothing is close."""
    import difflib

    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=cutoff)
    return found[0] if found else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean "x"?` for the end of a message, or nothing."""
    found = nearest(name, valid)
    return f'; did you mean "{found}"?' if found else ""


def unknown(what: str, given: str, known: Sequence[str], command: str) -> UsageError:
    """The error for a name that does not exist; `command` shows what there is."""
    near = nearest(given, known, cutoff=0.5)
    guess = f"; did you mean {near!r}?" if near else ""
    return UsageError(f"unknown {what} {given!r}{guess} (known: {', '.join(known)})", hint=command)
