"""Opens a page in the browser of a person at the keyboard."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from codctl.cli import _output


def open_page(page: Path) -> None:
    """Open a page in the browser, or say why it stays closed. Never fails: the work behind the page is done."""
    if why := _why_not(page):
        _output.talk(f"not opened: {why}; the page is {page}")


def _why_not(page: Path) -> str:
    """Why the page could not be opened; empty when it was."""
    import webbrowser

    if not page.is_file():
        return "there is no page"
    if not _output.use_live(sys.stderr):
        return "not in an interactive terminal"
    if _lacks_screen():
        return "there is no display"
    try:
        is_open = webbrowser.open(page.resolve().as_uri())
    except (webbrowser.Error, OSError) as error:
        return str(error) or type(error).__name__
    return "" if is_open else "no browser was found"


def _lacks_screen() -> bool:
    """Without a display `webbrowser` would start a text browser in this very terminal."""
    if sys.platform in ("darwin", "win32"):
        return False
    return not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
