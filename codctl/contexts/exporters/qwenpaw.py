"""QwenPaw: a file of hints in its workspace, and the file's name among those that it reads into its prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from codctl.contexts.block import Block
from codctl.contexts.exporters.base import Budget, Exported, Exporter, MemoryPlaces, read_bytes, write_bytes
from codctl.errors import RefusedError

_HINTS = "COD_HINTS.md"
_KEY = "system_prompt_files"
_LIST = re.compile(rf'("{_KEY}"\s*:\s*\[)([^\[\]]*)(\])')


class QwenPaw(Exporter):
    """`COD_HINTS.md` in the default workspace, which nothing but codctl writes."""

    name = "qwenpaw"
    title = "QwenPaw's COD_HINTS.md"
    soft = Budget(8_000, None, "nothing cuts it, but every request carries it")
    config_variable = "QWENPAW_WORKING_DIR"

    def file(self, places: MemoryPlaces) -> Path:
        return _workspace(places) / _HINTS

    def plan(self, block: Block, places: MemoryPlaces) -> Exported:
        _listed(places)  # refuses a configuration that it could not be added to
        return super().plan(block, places)

    def export(self, block: Block, places: MemoryPlaces) -> Exported:
        """Put the block into its file, then its name into the configuration: in between nothing reads it."""
        done = super().export(block, places)
        path, old, new = _listed(places)
        if new != old:
            write_bytes(path, new)
        return done

    def unexport(
        self, places: MemoryPlaces, name: str | None = None, *, existed: bool = True, folders: Sequence[Path] = ()
    ) -> bool:
        blocks = self.blocks(places)
        if blocks and not any(block.name != name for block in blocks if name):
            path = _agent(places)  # first: whatever ends codctl in between, the same command finishes it
            old = read_bytes(path, places)
            if old is not None and (new := _unlisted(old)) != old:
                write_bytes(path, new)
        return super().unexport(places, name, existed=existed, folders=folders)


def _workspace(places: MemoryPlaces) -> Path:
    return (places.config or places.home / ".qwenpaw") / "workspaces" / "default"


def _agent(places: MemoryPlaces) -> Path:
    return _workspace(places) / "agent.json"


def _listed(places: MemoryPlaces) -> tuple[Path, bytes, bytes]:
    """The configuration as it is, and with the file's name in it.

    Raises:
        RefusedError: It has no list of files to add to.
    """
    path = _agent(places)
    old = read_bytes(path, places)
    try:
        content = json.loads(old or b"")
        names = content[_KEY]
        if _HINTS in names:
            return path, old or b"", old or b""
        new = _LIST.sub(_with_name, (old or b"").decode(), count=1)
        if json.loads(new) != {**content, _KEY: [*names, _HINTS]}:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise RefusedError(
            f"it has no list {_KEY} that {_HINTS} could be added to",
            where=str(path),
            hint="qwenpaw init, and name QwenPaw's own folder (QWENPAW_WORKING_DIR) with --config-dir",
        ) from None
    return path, old or b"", new.encode()


def _with_name(match: re.Match[str]) -> str:
    names = match[2].rstrip()
    return match[1] + names + ", " * bool(names.strip()) + json.dumps(_HINTS) + match[2][len(names) :] + match[3]


def _unlisted(data: bytes) -> bytes:
    """The configuration without the file's name, and with every other byte that it had."""
    name = re.escape(json.dumps(_HINTS))
    return _LIST.sub(
        lambda match: match[1] + re.sub(rf"(,\s*)?{name}(?(1)|,?)", "", match[2], count=1) + match[3],
        data.decode("utf-8", "surrogateescape"),
        count=1,
    ).encode("utf-8", "surrogateescape")
