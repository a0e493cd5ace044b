"""What puts hints into a file that an agent program reads into its prompt, and takes them out again.

The hints stand there as a block (`codctl.contexts.block`) among text that is not codctl's. Of that text no byte ever
changes: exporting twice leaves what exporting once does, and taking the block out leaves what was there before. Files
are written whole or not at all, links are refused, and a file that the program would cut or lock is not written.
"""

from __future__ import annotations

import contextlib
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codctl.contexts.block import Block, Placed, holds_marker, place_blocks
from codctl.errors import PreflightError, RefusedError, UsageError
from codctl.files import atomic
from codctl.registry import Registry, an_instance_of

_BEFORE, _AFTER = "\n\n", "\n"


class BudgetError(RefusedError):
    """The file would be longer than what the program reads."""


@dataclass(frozen=True)
class Budget:
    """How long a whole file may be.

    Attributes:
        chars: Characters; None where they are not limited.
        lines: Lines.
        why: What happens to a longer one, as a clause: `the rest is cut`.
    """

    chars: int | None = None
    lines: int | None = None
    why: str = ""

    def excess(self, text: str) -> str:
        """What of a text is over the budget, in words; empty where it fits."""
        lines = text.count("\n") + (not text.endswith("\n") and bool(text))
        over = [
            f"{count:,} {unit} where {most:,} are read"
            for count, most, unit in ((len(text), self.chars, "characters"), (lines, self.lines, "lines"))
            if most is not None and count > most
        ]
        return " and ".join(over) + f" ({self.why})" * bool(over and self.why)


@dataclass(frozen=True)
class MemoryPlaces:
    """Where a program keeps its memory.

    Attributes:
        home: The user's home, as the program sees it.
        work: Where it works: the project's folder.
        config: The program's own folder (`CLAUDE_CONFIG_DIR`, `HERMES_HOME`), where it is not its usual one.
    """

    home: Path
    work: Path
    config: Path | None = None


@dataclass(frozen=True)
class Exported:
    """What an export has written, or would write.

    Attributes:
        path: The file; None where the text is only to be shown.
        before: What was in it; None where it was not there.
        after: What is in it now.
        folders: Folders that were made for it, the outermost first.
        warning: What the program will do with a file of this length; empty where it reads it whole.
    """

    path: Path | None
    before: bytes | None
    after: bytes
    folders: tuple[Path, ...] = ()
    warning: str = ""


class Exporter(ABC):
    """One file of one program. An instance holds no state.

    Attributes:
        name: What users type: `hermes`.
        title: What the file is, in words: `Hermes's MEMORY.md`.
        hard: How long the file may be: a longer one is not written.
        soft: How long it should be: a longer one is written with a warning.
        config_variable: Environment variable that names the program's own folder (`MemoryPlaces.config`), if any does.
    """

    name: str
    title: str
    hard: Budget | None = None
    soft: Budget | None = None
    config_variable: str = ""

    @abstractmethod
    def file(self, places: MemoryPlaces) -> Path | None:
        """The file; None where the text is only shown."""

    def limit(self, places: MemoryPlaces) -> Budget | None:
        """How long the file may be where it lies; by default `hard`."""
        return self.hard

    def plan(self, block: Block, places: MemoryPlaces) -> Exported:
        """What an export would write.

        Raises:
            UsageError: The hints contain what could not be found again.
            BudgetError: The file would be too long.
            RefusedError: A link is in the way, or what is there cannot be told apart from the program's own text.
        """
        self.check(block)
        path = self.file(places)
        old = None if path is None else read_bytes(path, places)
        text = self._with(block, _decoded(old), path)
        hard = self.limit(places)
        if hard and (excess := hard.excess(text)):
            raise BudgetError(
                f"{self.title} would have {excess}",
                where=str(path or ""),
                hint="shorten the hints (codctl context edit), or what else is in the file",
            )
        excess = self.soft.excess(text) if self.soft else ""
        warning = f"{self.title} has {excess}" if excess else ""
        return Exported(path, old, _encoded(text), tuple(_missing(path)) if path else (), warning)

    def export(self, block: Block, places: MemoryPlaces) -> Exported:
        """Put a block into the file, in the place of an older one of the same context.

        Raises:
            UsageError: The hints contain what could not be found again.
            BudgetError: The file would be too long.
            RefusedError: A link is in the way, or what is there cannot be told apart from the program's own text.
            StageError: It cannot be written.
        """
        planned = self.plan(block, places)
        if planned.path is not None and planned.after != planned.before:
            atomic.make_folder(planned.path.parent)
            write_bytes(planned.path, planned.after)
        return planned

    def check(self, block: Block) -> None:
        """Refuse hints that could not be found again.

        Raises:
            UsageError: With what is wrong.
        """
        if holds_marker(block.text):
            raise UsageError('the hints contain "[codctl hints", which marks where hints begin and end')

    def read(self, places: MemoryPlaces, name: str | None = None) -> Block | None:
        """The block in the file, as it stands there now; the last one, or that of a context.

        Raises:
            RefusedError: A link is in the way, or a block is damaged.
        """
        found = [block for block in self.blocks(places) if name in (None, block.name)]
        return found[-1] if found else None

    def blocks(self, places: MemoryPlaces) -> list[Block]:
        """All blocks in the file, in order.

        Raises:
            RefusedError: A link is in the way, or a block is damaged.
        """
        path = self.file(places)
        text = _decoded(read_bytes(path, places)) if path else ""
        return [_with_newlines(placed.block) for placed in _whole(text, path)]

    def own_text(self, places: MemoryPlaces) -> str:
        """What else is in the file: what the program, or its user, keeps there.

        Raises:
            RefusedError: A link is in the way, or a block is damaged.
        """
        path = self.file(places)
        text = _decoded(read_bytes(path, places)) if path else ""
        for placed in reversed(_whole(text, path)):
            text = self.without(placed, text)
        return _plain(text).strip()

    def unexport(
        self, places: MemoryPlaces, name: str | None = None, *, existed: bool = True, folders: Sequence[Path] = ()
    ) -> bool:
        """Take the block out again, with nothing else.

        Args:
            places: Where the file is.
            name: Of the context; None takes out all blocks.
            existed: Whether the file was there before the export; otherwise it goes when nothing is left in it.
            folders: Those that the export has made; they go when nothing is left in them.

        Returns:
            Whether there was one.
        """
        path = self.file(places)
        old = read_bytes(path, places) if path else None
        if path is None:
            return False
        text = _decoded(old)
        mine = [placed for placed in _whole(text, path) if name in (None, placed.block.name)]
        for placed in reversed(mine):
            text = self.without(placed, text)
        if mine:
            if text or existed:
                write_bytes(path, _encoded(text))
            else:
                with atomic.storage_errors(path):
                    path.unlink()
        _remove_empty(folders)
        return bool(mine)

    def _with(self, block: Block, text: str, path: Path | None) -> str:
        mine = [placed for placed in _whole(text, path) if placed.block.name == block.name]
        for placed in reversed(mine[1:]):
            text = self.without(placed, text)
        if mine:
            return text[: mine[0].start] + _sayable(block) + text[mine[0].end :]
        return self.added(_sayable(block), text)

    def added(self, block: str, text: str) -> str:
        """The text of the file with a block that is new in it: after all else, with an empty line between."""
        return text + _BEFORE * bool(text) + block + _AFTER

    def without(self, placed: Placed, text: str) -> str:
        """The text without a block and what `added` has put around it."""
        return text[: placed.start].removesuffix(_BEFORE) + text[placed.end :].removeprefix(_AFTER)


def _whole(text: str, path: Path | None) -> list[Placed]:
    """The blocks of a file, none of which is damaged: codctl could not tell where that ends."""
    found = place_blocks(text)
    rest, end = "", 0
    for placed in found:
        rest, end = rest + text[end : placed.start], placed.end
    if holds_marker(rest + text[end:]):
        raise RefusedError(
            "codctl's hints in this file are damaged: a line around them is missing, or was changed",
            where=str(path),
            hint='delete them by hand, with the lines that contain "codctl hints", and export again',
        )
    return found


def _sayable(block: Block) -> str:
    return str(block).encode("utf-8", "replace").decode()  # half a surrogate pair, of a model, becomes "?"


def _with_newlines(block: Block) -> Block:
    return Block(block.name, block.revision, _plain(block.text))


def as_read(data: bytes) -> str:
    """A file as text: an editor may have changed the ends of lines, and some bytes may be no text."""
    return data.decode("utf-8", "replace").replace("\r\n", "\n")


def _plain(text: str) -> str:
    return as_read(_encoded(text))


def _decoded(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "surrogateescape")  # any bytes: they are written back as they were


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read_bytes(path: Path, places: MemoryPlaces) -> bytes | None:
    """The file's bytes; None where it is not there."""
    _refuse_links(path, places)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise RefusedError("it is no regular file", where=str(path))
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PreflightError(f"cannot read: {error.strerror}", where=str(path)) from error


def _refuse_links(path: Path, places: MemoryPlaces) -> None:
    """A link below the folders that the user named could lead a write anywhere."""
    roots = {places.home, places.work, *filter(None, [places.config])}
    for part in (path, *path.parents):
        if part in roots:
            return
        if part.is_symlink():
            raise RefusedError(
                "it is a link, and codctl does not write through links",
                where=str(part),
                hint="name the folder that it leads to with --dir, or replace the link",
            )


def _missing(path: Path) -> Iterator[Path]:
    """The folders that a file lacks, the outermost first."""
    return reversed([folder for folder in path.parents if not folder.exists()])


def write_bytes(path: Path, data: bytes) -> None:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666
    atomic.remove_leftovers_of(path)
    atomic.write_bytes(path, data, mode=mode)


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):  # something else is in it now, or it is gone
            folder.rmdir()


EXPORTERS: Registry[Exporter] = Registry(
    "exporter",
    "codctl.exporters",
    {
        "claude-code": "codctl.contexts.exporters.claude_code:ClaudeCode",
        "claude-code-memory": "codctl.contexts.exporters.claude_code:ClaudeCodeMemory",
        "hermes": "codctl.contexts.exporters.hermes:Hermes",
        "agents-md": "codctl.contexts.exporters.agents_md:AgentsMd",
        "openclaw": "codctl.contexts.exporters.openclaw:OpenClaw",
        "qwenpaw": "codctl.contexts.exporters.qwenpaw:QwenPaw",
        "prompt": "codctl.contexts.exporters.prompt:Prompt",
    },
    make=an_instance_of(Exporter),
    hint="codctl context export --help",
)
