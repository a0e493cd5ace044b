"""How paths are written and read on each system. No path leads out of the tree: `..` of the root is the root."""

from __future__ import annotations

from codctl.envs.terminal.errors import ShellError
from codctl.envs.terminal.filesystem import Parts

MAX_DEPTH = 40
MAX_NAME = 255
WINDOWS = "windows"


def read_path(text: str, system: str, cwd: Parts, home: Parts) -> Parts:
    """The place that a path means.

    Raises:
        ShellError: The path is empty, too deep, too long or on a drive that does not exist.
    """
    given = text
    if system == WINDOWS:
        text = text.replace("\\", "/")
        if text[1:2] == ":":
            if text[0] not in "cC":
                raise ShellError(f"{given[:40]}: there is no such drive")
            text = "/" + text[2:]
    if not text:
        raise ShellError("the path is empty")
    if text == "~" or text.startswith("~/"):
        parts, text = list(home), text[1:]
    else:
        parts = [] if text.startswith("/") else list(cwd)
    for part in text.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    if len(parts) > MAX_DEPTH or any(len(part) > MAX_NAME for part in parts):
        raise ShellError(f"{given[:40]}…: File name too long")
    return tuple(parts)


def write_path(path: Parts, system: str) -> str:
    return "C:\\" + "\\".join(path) if system == WINDOWS else "/" + "/".join(path)


def is_folder_path(text: str) -> bool:
    """Whether a path can only mean a folder, by its last character."""
    return text.endswith(("/", "\\"))
