"""The one reader for the files of a run, a sweep and an evaluation.

Such a folder may come from anybody, so its files are data: of bounded size and depth, regular files that no link
replaces, and of the types in `runs.files`. Whatever does not fit is one `UsageError` that names the file, the key and
what was expected. Stdlib only, but for pydantic once a file is read.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NoReturn, TypeVar

from codctl.errors import UsageError

T = TypeVar("T")

SMALL, LARGE = 4 << 20, 256 << 20  # bytes: records of one run; results, plans of thousands of trials
MOST_DEPTH = 40
MOST_INT = 2**63
_LINE_BYTES = 64 << 20
_SHOWN = 60
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not make us wait


class UnfitError(ValueError):
    """Content that cannot be used, in words."""


def read(
    path: Path,
    kind: type[T],
    *,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    within: Path | None = None,
    most_bytes: int = SMALL,
    hint: str = "",
) -> T | None:
    """A JSON file of a run, checked; None when there is none.

    Args:
        path: The file.
        kind: One of the types in `runs.files`. Keys that it does not name are left out.
        defaults: Of keys that the file need not have.
        within: The run's folder: between it and the file there may be no link. The file's own folder by default.
        most_bytes: What it may have.
        hint: What to type when it is damaged.

    Raises:
        UsageError: It cannot be read, or is not what it should be; caused by an OSError in the first case.
    """
    return read_as(
        path,
        lambda found: check({**defaults, **found} if isinstance(found, dict) else found, kind),
        within=within,
        most_bytes=most_bytes,
        hint=hint,
    )


def read_as(
    path: Path, make: Callable[[Any], T], *, within: Path | None = None, most_bytes: int = LARGE, hint: str = ""
) -> T | None:
    """What `make` makes of the content of a JSON file; None when there is none.

    Args:
        path: The file.
        make: Raises `UnfitError` where it cannot.
        within: Between this folder and the file there may be no link; the file's own folder by default.
        most_bytes: What it may have.
        hint: What to type when it is damaged.

    Raises:
        UsageError: It cannot be read or used; caused by an OSError in the first case.
    """
    try:
        return make(parse(read_bytes(path, within=within, most_bytes=most_bytes)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        refuse(path, error, hint)


def refuse(path: Path, error: Exception, hint: str = "") -> NoReturn:
    """Raise the error for a file that cannot be used."""
    if isinstance(error, OSError):
        raise UsageError(f"{path.name} cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    raise UsageError(f"{path.name} cannot be used: {error}", where=str(path), hint=hint) from error


def read_bytes(path: Path, *, within: Path | None = None, most_bytes: int = SMALL) -> bytes:
    """The content of a regular file.

    Raises:
        UnfitError: It is a link or lies behind one, is no regular file, or is too large.
        OSError: It is not there, or cannot be read.
    """
    with open_file(path, within) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            raise UnfitError(f"it has {size} bytes, at most {most_bytes} are expected")
        return file.read(size)  # a larger number would be allocated


def lines(path: Path, *, within: Path | None = None) -> Iterator[bytes]:
    """The lines of a log or journal; none when it is not there or is no regular file. Overlong lines are left out."""
    try:
        file = open_file(path, within)
    except (OSError, UnfitError):
        return
    with file:
        while line := file.readline(_LINE_BYTES):
            if len(line) < _LINE_BYTES:
                yield line


def open_file(path: Path, within: Path | None = None) -> BinaryIO:
    """Open a regular file to read it.

    Raises:
        UnfitError: It is a link or lies behind one, or is no regular file.
        OSError: It is not there, or cannot be read.
    """
    refuse_links(path, within or path.parent)
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnfitError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


def refuse_links(path: Path, within: Path) -> None:
    """Refuse a file that a link replaces, or that lies in a linked folder below `within`.

    Raises:
        UnfitError: Naming the link.
    """
    names = path.relative_to(within).parts
    if ".." in names:
        raise UnfitError(f"it lies outside {within.name}")
    place = within
    for name in names:
        place = place / name
        if place.is_symlink():
            what = "it" if place == path else f"its folder {place.relative_to(within)}"
            raise UnfitError(f"{what} is a link, and links in a run are not followed")


def first_link(folder: Path, *, besides: str = "") -> Path | None:
    """A link, FIFO, socket or device anywhere below a folder; None when it holds only files and folders.

    Args:
        folder: To be looked through.
        besides: A pattern of links that are not read.
    """
    todo = [folder]
    while todo:
        try:
            entries = os.scandir(todo.pop())
        except FileNotFoundError:
            continue  # a run at work renames and removes
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))
                elif not entry.is_file(follow_symlinks=False) and not _is_passed_over(entry, besides):
                    return Path(entry.path)
    return None


def _is_passed_over(entry: os.DirEntry[str], besides: str) -> bool:
    return bool(besides) and entry.is_symlink() and Path(entry.path).match(besides)


def parse(data: bytes | str) -> Any:
    """JSON within bounds of depth and numbers.

    Raises:
        UnfitError: It is not JSON, or exceeds the bounds.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise UnfitError(f"it is nested deeper than {MOST_DEPTH} levels") from None
    except UnicodeDecodeError:
        raise UnfitError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise UnfitError(f"it is not JSON ({error.msg}, line {error.lineno})") from None
    except UnfitError:
        raise
    except ValueError:  # Python's own bound on the digits of a number
        raise UnfitError("it holds a number with too many digits") from None
    _check_bounds(value)
    return value


def check_json(data: bytes | str, kind: type[T]) -> T:
    """JSON as this type, which may be made of dataclasses; keys that it does not name are left out.

    Raises:
        UnfitError: It exceeds the bounds of `parse`, or is not of the type.
    """
    return check(parse(data), kind, strict=False)


def check(value: Any, kind: type[T], *, strict: bool = True) -> T:
    """The value as this type, without keys that the type does not name.

    Args:
        value: As `parse` gives it.
        kind: The type.
        strict: No makes dataclasses and tuples of JSON's objects and lists.

    Raises:
        UnfitError: It is not of the type; the first key that is wrong, what was expected, and what is there.
    """
    from pydantic import ValidationError

    try:
        found: T = adapter(kind).validate_python(value, strict=strict or None)  # type: ignore[arg-type]
        return found
    except ValidationError as error:
        raise UnfitError(_in_words(error.errors(include_url=False)[0])) from None


@cache
def adapter(kind: Any) -> Any:
    """What reads and writes values of a type, made once."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _in_words(problem: Any) -> str:
    parts = [str(part) for part in problem["loc"] if "[" not in str(part)]  # of a union pydantic names the member too
    is_number = parts[-1:] in (["int"], ["float"])
    key = ".".join(parts[:-1] if is_number else parts)
    if problem["type"] == "missing":
        return f"{key} is missing"
    expected = str(problem["msg"]).replace("Input should", "it should").replace("Value error, ", "")
    expected = "it should be a number or null" if is_number else expected
    found = repr(problem["input"])
    found = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}…"
    return f"{key or 'content'}: {expected}, but it is {found}"


def _check_bounds(value: Any) -> None:
    todo: list[tuple[Any, int]] = [(value, 1)]
    while todo:
        found, depth = todo.pop()
        if depth > MOST_DEPTH:
            raise UnfitError(f"it is nested deeper than {MOST_DEPTH} levels")
        if isinstance(found, dict):
            todo += [(item, depth + 1) for item in found.values() if not isinstance(item, str)]
        elif isinstance(found, list):
            todo += [(item, depth + 1) for item in found if not isinstance(item, str)]
        elif isinstance(found, int) and abs(found) >= MOST_INT:
            raise UnfitError("it holds a number with too many digits")
        elif isinstance(found, float) and not math.isfinite(found):
            raise UnfitError("it holds a number that is not finite")


def _no_constant(name: str) -> NoReturn:
    raise UnfitError(f"it holds {name}, which is not JSON")
