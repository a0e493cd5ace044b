"""A context on disk: a folder of revisions, of which one is in force. Nothing is ever overwritten.

NAME/
  revisions/000000.json …   one file each: the hints, what they came from, and who wrote them
  HEAD                      number of the one in force; going back moves it and deletes nothing
  exports.json              where the hints stand in the memory of agent programs (`codctl.contexts.exports`)
  lock                      held while something is written
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from codctl.cod.context import Revision
from codctl.config.names import unknown
from codctl.contexts.block import NAME
from codctl.errors import RefusedError, UsageError
from codctl.files import atomic, reader
from codctl.files.lock import holding

if TYPE_CHECKING:
    from codctl.files.records import ContextRevision

Source = Literal["start", "update", "edit", "agent"]
_PATIENCE_S = 10.0
_MOST_CHARS = 100_000  # of hints: far more than any model is shown
_DIGITS = 6


@dataclass(frozen=True)
class Origin:
    """Who wrote a revision, and when.

    Attributes:
        source: `start` of the empty first one, `update` of a model after a task, `edit` of a person, `agent` where it
            was taken from the memory of an agent program.
        model: The model that wrote it.
        task: What was done before, in a few words; of `agent`, the exporter's name.
        reward: What that was worth, where somebody has said so.
        edits: What an update by edits has written.
        at: When, as ISO 8601.
    """

    source: Source
    model: str = ""
    task: str = ""
    reward: float | None = None
    edits: str | None = None
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


@dataclass(frozen=True)
class Stored:
    """A revision with its origin."""

    revision: Revision
    origin: Origin

    @property
    def number(self) -> int:
        return self.revision.number

    @property
    def text(self) -> str:
        return self.revision.text


@dataclass(frozen=True)
class Context:
    """A context by its folder, whose name is its name."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def exists(self) -> bool:
        return self._file(0).is_file()

    def create(self) -> None:
        """Make it, with an empty first revision, unless it is there.

        Raises:
            UsageError: The name is none that a block could carry.
        """
        _check_name(self.name)
        with self.locked():
            if not self.exists:
                self._write(Stored(Revision(), Origin("start")))

    def numbers(self) -> list[int]:
        """Of all revisions, in order."""
        return sorted(int(path.stem) for path in self._revisions.glob("*.json") if path.stem.isdecimal())

    def head(self) -> Stored:
        """The revision in force."""
        return self.get(self._head())

    def get(self, number: int) -> Stored:
        """A revision.

        Raises:
            UsageError: There is none of this number, or its file is not as it was written.
        """
        path = self._file(number)
        found = reader.read_as(path, _checked, within=self.folder)
        if found is None or found.number != number:
            last = self.numbers()[-1]
            raise UsageError(
                f"context {self.name} has no revision {number}; its last is {last}",
                where=str(path),
                hint=f"codctl context log {self.name}",
            )
        return found

    def all(self) -> list[Stored]:
        """All revisions, in order."""
        return [self.get(number) for number in self.numbers()]

    def append(
        self,
        parent: Revision,
        text: str,
        origin: Origin,
        *,
        problem: str = "",
        tokens: int = 0,
        in_force: bool = False,
    ) -> Stored:
        """Write a new revision, and put it in force if its parent is.

        Args:
            parent: What it was made from.
            text: The hints; of an update that failed, the parent's.
            origin: Who wrote it.
            problem: Why an update could not be read.
            tokens: Length of the text for the model that reads it; 0 where it is not known.
            in_force: Put it in force whatever is.
        """
        text = as_text(text)
        if len(text) > _MOST_CHARS:
            raise UsageError(f"the hints have {len(text):,} characters, at most {_MOST_CHARS:,} are kept")
        with self.locked():
            number = self.numbers()[-1] + 1
            after = None if origin.source != "update" else self._updates()
            new = Revision(number, parent.number, text, tokens, after, not problem, problem)
            stored = Stored(new, origin)
            self._write(stored)
            if in_force or self._head() == parent.number:
                self._put_in_force(number)
        return stored

    def roll_back(self, number: int) -> Stored:
        """Put an earlier revision, or a later one, in force. The next has it as its parent."""
        found = self.get(number)
        with self.locked():
            self._put_in_force(number)
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the context while something in it is written.

        Raises:
            RefusedError: Another process holds it, and for long.
        """
        atomic.make_folder(self._revisions)
        with holding(self.folder / "lock", _PATIENCE_S) as is_alone:
            if not is_alone:
                raise RefusedError(
                    f"another process writes to context {self.name}",
                    where=str(self.folder),
                    hint="wait for it, and run the same command again",
                )
            atomic.remove_leftovers(self.folder)
            yield

    @property
    def _revisions(self) -> Path:
        return self.folder / "revisions"

    def _file(self, number: int) -> Path:
        return self._revisions / f"{number:0{_DIGITS}}.json"

    def _head(self) -> int:
        """Number of the revision in force; the first one before anything else was."""
        path = self.folder / "HEAD"
        try:
            text = reader.read_bytes(path, most_bytes=100).decode()
            return int(text)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            reader.refuse(path, error, f"codctl context rollback {self.name} N puts a revision in force")

    def _put_in_force(self, number: int) -> None:
        atomic.write_text(self.folder / "HEAD", f"{number}\n")

    def _updates(self) -> int:
        """How many updates there were before, failed ones too."""
        return sum(self.get(number).origin.source == "update" for number in self.numbers())

    def _write(self, stored: Stored) -> None:
        text = stored.text
        value = {**asdict(stored.revision), **asdict(stored.origin), "sha256": _sha256(text), "chars": len(text)}
        atomic.write_json(self._file(stored.number), value)


def as_text(text: str) -> str:
    """Hints as they are stored: lines end with a newline, nothing is blank around them, all of it is UTF-8."""
    plain = text.encode("utf-8", "replace").decode()
    return plain.replace("\r\n", "\n").replace("\r", "\n").strip()


def find_context(folder: Path, name: str) -> Context:
    """A context below a folder of contexts.

    Raises:
        UsageError: There is none of this name; names the nearest.
    """
    _check_name(name)
    found = Context(folder / name)
    if found.exists:
        return found
    known = [context.name for context in list_contexts(folder)]
    if not known:
        raise UsageError(
            f"there is no context {name!r}, and no other in {folder}",
            hint=f"codctl context edit {name} begins one",
        )
    raise unknown("context", name, known, "codctl context show")


def list_contexts(folder: Path) -> list[Context]:
    """All contexts of a folder, by name."""
    found = [Context(path) for path in sorted(folder.glob("*")) if NAME.fullmatch(path.name)]
    return [context for context in found if context.exists]


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or set(name) <= {"."}:
        raise UsageError(f"{name!r} cannot be the name of a context", hint="letters, digits, '.', '_' and '-'")


def _checked(value: object) -> Stored:
    from codctl.files.records import ContextRevision

    found: ContextRevision = reader.check(value, ContextRevision)
    if found["sha256"] != _sha256(found["text"]):
        raise reader.UnfitError("its text is not the one that was written (sha256)")
    return _stored(found)


def _stored(found: ContextRevision) -> Stored:
    revision = Revision(
        found["number"],
        found["parent"],
        found["text"],
        found["tokens"],
        found["written_after"],
        found["parsed"],
        found["problem"],
    )
    source, model, task = found["source"], found["model"], found["task"]
    return Stored(revision, Origin(source, model, task, found["reward"], found["edits"], found["at"]))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
