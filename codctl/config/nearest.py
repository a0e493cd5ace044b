"""The nearest valid name to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codctl.errors import UsageError


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
