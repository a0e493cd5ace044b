"""A text in the user's editor."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from codctl.errors import UsageError

_USUAL = ("nano", "vim", "vi")


def edited(text: str, name: str) -> str:
    """The text after a person has changed it.

    Args:
        text: To begin with.
        name: Of the file that the editor shows.

    Raises:
        UsageError: There is no editor or no terminal, or it ended with an error.
    """
    words = _editor()
    with TemporaryDirectory(prefix="codctl-") as folder:
        path = Path(folder) / name
        path.write_text(f"{text}\n" if text else "", encoding="utf-8")
        try:
            code = subprocess.run([*words, str(path)], check=False).returncode  # noqa: S603 - the user's own editor
        except OSError as error:
            raise UsageError(f"the editor {words[0]} does not start: {error.strerror}", hint=_HINT) from None
        if code:
            raise UsageError(f"the editor {words[0]} ended with exit code {code}: nothing was changed")
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"what the editor wrote cannot be read: {error}") from None


_HINT = "set EDITOR, or give the text with --from FILE"


def _editor() -> list[str]:
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if named:
        return shlex.split(named)
    found = next(filter(shutil.which, _USUAL), None)
    if found is None or not sys.stdin.isatty():
        raise UsageError("there is no editor to write in", hint=_HINT)
    return [found]
