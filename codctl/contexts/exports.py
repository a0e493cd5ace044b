"""Where the hints of a context stand in the memory of agent programs, and what the program has made of them there.

An export is written down before it is made, so that one that was cut short can still be taken back.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.contexts.block import Block
from codctl.contexts.exporters.base import EXPORTERS, Exported, Exporter, MemoryPlaces
from codctl.contexts.store import Context, Origin, Stored, as_text
from codctl.errors import RefusedError, UsageError
from codctl.files import atomic, reader

if TYPE_CHECKING:
    from codctl.files.records import ContextExport


@dataclass(frozen=True)
class Export:
    """One place where the hints of a context stand.

    Attributes:
        to: Name of the exporter.
        path: The file.
        revision: Number of what was written.
        sha256: Of the block that was written.
        existed: Whether the file was there before the first export.
        folders: Folders that were made for it, the outermost first.
    """

    to: str
    path: str
    revision: int
    sha256: str
    existed: bool
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A context and one place for its hints.

    Attributes:
        context: The context.
        to: Name of the exporter.
        places: Where the program keeps its memory.
    """

    context: Context
    to: str
    places: MemoryPlaces

    @property
    def exporter(self) -> Exporter:
        return EXPORTERS.get(self.to)

    def preview(self) -> Exported:
        """What `export` would do, without doing it. Where there are no hints yet, nothing is put into a file."""
        block = _block(self.context)
        planned = self.exporter.plan(block, self.places)
        if planned.path and not block.text and not self._stands:
            return replace(planned, after=planned.before or b"", folders=(), warning="")
        return planned

    @property
    def _stands(self) -> bool:
        return self.exporter.read(self.places, self.context.name) is not None

    def export(self, *, force: bool = False) -> Exported:
        """Write the revision in force into the program's memory.

        Args:
            force: Also where the hints there were changed since they were written.

        Raises:
            RefusedError: They were.
        """
        exporter, block = self.exporter, _block(self.context)
        with self.context.locked():
            if not force:
                self._refuse_edited()
            planned = self.preview()
            if planned.path is None or not (block.text or self._stands):
                return planned
            self._write_down(planned, block, standing=self._stands)
            return exporter.export(block, self.places)

    def take_in(self, *, own: bool = False) -> Stored | None:
        """Make a revision of what stands in the program's memory; None where that is what is in force.

        A context that is not there yet begins with it.

        Args:
            own: Add what else is in the file, which the program itself has written.

        Raises:
            UsageError: Nothing stands there.
        """
        file = self.exporter.file(self.places)
        if file is None:
            raise UsageError(f"{self.exporter.title} keeps nothing that could be read")
        block = self.exporter.read(self.places, self.context.name)
        beside = self.exporter.own_text(self.places) if own or block is None else ""
        if block is None and not beside:
            raise UsageError(
                f"{self.exporter.title} holds nothing",
                where=str(file),
                hint="name the program's folders with --dir, --home or --config-dir",
            )
        self.context.create()
        base, text = self._standing(block)
        lines = text.split("\n")
        text = as_text("\n".join([*lines, *(line for line in beside.split("\n") if line not in lines)]))
        if text == base.text:
            return None
        return self.context.append(base.revision, text, Origin("agent", task=self.to), in_force=True)

    def _standing(self, block: Block | None) -> tuple[Stored, str]:
        """What the program's text was made from, and that text; the revision in force where it has not changed it."""
        head = self.context.head()
        if block is None or self._is_kept(block):
            return head, head.text if block else ""
        return self.context.get(block.revision) if block.revision in self.context.numbers() else head, block.text

    def unexport(self, *, force: bool = False) -> bool:
        """Take the hints out of the program's memory; whether they were there.

        Args:
            force: Also where they were changed since they were written.

        Raises:
            RefusedError: They were.
        """
        with self.context.locked():
            if not force:
                self._refuse_edited()
            path = str(self.exporter.file(self.places) or "")
            known = [export for export in read_exports(self.context) if (export.to, export.path) == (self.to, path)]
            existed = known[0].existed if known else True
            parents = Path(path).parents
            folders = [folder for text in (known[0].folders if known else ()) if (folder := Path(text)) in parents]
            found = self.exporter.unexport(self.places, self.context.name, existed=existed, folders=folders)
            self._keep(lambda export: (export.to, export.path) != (self.to, path))
        return found

    def _refuse_edited(self) -> None:
        block = self.exporter.read(self.places, self.context.name)
        if block is None or self._is_kept(block):
            return
        words = ["codctl", "context", "import", self.context.name, "--from", self.to, *self._options()]
        raise RefusedError(
            f"the hints in {self.exporter.title} were changed since they were written there",
            where=str(self.exporter.file(self.places) or ""),
            hint=f"{shlex.join(words)} takes them in, --force loses them",
        )

    def _options(self) -> Iterator[str]:
        """What says on a command line where the program keeps its memory."""
        usual = MemoryPlaces(Path.home(), Path.cwd())
        named = {"--dir": self.places.work, "--home": self.places.home, "--config-dir": self.places.config}
        for option, folder in named.items():
            if folder is not None and folder not in (usual.work, usual.home):
                yield from (option, str(folder))
        if self.context.folder.parent.absolute() != usual.work / "contexts":
            yield from ("--contexts-dir", str(self.context.folder.parent))

    def _is_kept(self, block: Block) -> bool:
        """Whether the text of a block is that of a revision, so that nothing is lost with it."""
        return any(stored.text == block.text for stored in self.context.all())

    def _write_down(self, planned: Exported, block: Block, *, standing: bool) -> None:
        path = str(planned.path)
        sha256 = hashlib.sha256(str(block).encode("utf-8", "replace")).hexdigest()
        folders = tuple(map(str, planned.folders))
        new = Export(self.to, path, block.revision, sha256, planned.before is not None, folders)
        before = [export for export in read_exports(self.context) if (export.to, export.path) == (self.to, path)]
        if before:  # an export that was cut short may have made folders, and one that was not has made the file
            new = replace(new, folders=tuple(dict.fromkeys((*before[0].folders, *folders))))
            new = replace(new, existed=before[0].existed) if standing else new
        self._keep(lambda export: (export.to, export.path) != (self.to, path), new)

    def _keep(self, is_kept: Callable[[Export], bool], *new: Export) -> None:
        kept = [export for export in read_exports(self.context) if is_kept(export)]
        value = [vars(export) for export in (*kept, *new)]
        atomic.write_json(self.context.folder / "exports.json", {"exports": value})


def read_exports(context: Context) -> list[Export]:
    """Where the hints of a context stand, as far as codctl has put them there."""
    from codctl.files.records import ContextExports

    found = reader.read(context.folder / "exports.json", ContextExports)
    return [_export(export) for export in found["exports"]] if found else []


def _export(found: ContextExport) -> Export:
    return Export(
        found["to"],
        found["path"],
        found["revision"],
        found["sha256"],
        found["existed"],
        tuple(found["folders"]),
    )


def _block(context: Context) -> Block:
    head = context.head()
    return Block(context.name, head.number, head.text)
