"""Reads sessions from a file in whichever form it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from codctl.config.names import unknown
from codctl.errors import UsageError
from codctl.files import reader
from codctl.sessions.readers import atif, claude_code, hermes, openclaw, own, proxy, qwenpaw
from codctl.sessions.session import Session

Record = Mapping[str, Any]


class Reader(Protocol):
    """Reads one form: a module of `codctl.sessions.readers`.

    Attributes:
        NAME: What users type.
        TITLE: What the form is, in a few words.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802

    @property
    def TITLE(self) -> str: ...  # noqa: N802

    def fits(self, record: Record) -> bool:
        """Whether a record looks like this form. Of a file, the first one that any form knows decides."""

    def sessions(self, records: Sequence[Record], name: str) -> Iterator[Session]:
        """The sessions in the records of one file; `name` is for those that have no id of their own.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: The records are not what they should be.
        """


READERS: tuple[Reader, ...] = (claude_code, hermes, openclaw, qwenpaw, proxy, atif, own)


def read_sessions(path: Path, form: str | None = None) -> list[Session]:
    """The sessions in a file.

    Args:
        path: JSON, or JSON Lines. A last line that is torn is left out, and noted.
        form: Name of a reader; by default it is seen in the file.

    Raises:
        UsageError: It cannot be read, or holds no session.
    """
    records, is_torn = _records(path)
    chosen = _named(form) if form else _seen(records, path)
    try:
        found = list(chosen.sessions(records, path.parent.name if path.stem in _PLAIN else path.stem))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"it is no {chosen.TITLE}: {what}", where=str(path)) from error
    found = [one for one in found if one.messages]
    if not found:
        raise UsageError(f"there is no session in it, as {chosen.TITLE}", where=str(path))
    if is_torn:
        found[-1] = replace(found[-1], notes=(*found[-1].notes, "the file's last line is torn"))
    return found


_PLAIN = {"exchanges", "events", "stdout", "trajectory"}  # names that say nothing: the folder's is taken


def _named(form: str) -> Reader:
    for one in READERS:
        if form == one.NAME:
            return one
    raise unknown("form of sessions", form, [one.NAME for one in READERS], "codctl import sessions --help")


def _seen(records: Sequence[Record], path: Path) -> Reader:
    for record in records:
        for one in READERS:
            if one.fits(record):
                return one
    known = ", ".join(one.NAME for one in READERS)
    raise UsageError("it looks like no form of sessions that is known", where=str(path), hint=f"--from {known}")


def _records(path: Path) -> tuple[list[Record], bool]:
    """The JSON objects of a file, and whether its last line was torn."""
    try:
        data = reader.read_bytes(path, most_bytes=reader.LARGE)
        try:
            whole = reader.parse(data)
        except reader.UnfitError:
            return _lines(data)
    except (OSError, reader.UnfitError) as error:
        reader.refuse(path, error)
    found = whole if isinstance(whole, list) else [whole]
    return [one for one in found if isinstance(one, dict)], False


def _lines(data: bytes) -> tuple[list[Record], bool]:
    found: list[Record] = []
    lines = data.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = reader.parse(line)
        except reader.UnfitError as error:
            if number == len(lines) and found:
                return found, True
            if line.lstrip()[:1] in (b"{", b"["):
                raise reader.UnfitError(f"line {number}: {error}") from None
            continue  # programs say other things among their JSON
        if isinstance(value, dict):
            found.append(value)
    return found, False
