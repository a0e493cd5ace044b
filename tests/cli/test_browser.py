"""`--open` shows a page to a person, and never gets in the way of the work."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

import pytest

from codctl.cli import _output
from codctl.cli._browser import open_page


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page, at a terminal with a display."""
    monkeypatch.setattr(_output, "use_live", lambda stream: True)
    monkeypatch.setenv("DISPLAY", ":0")
    path = tmp_path / "a b.html"
    path.write_text("<p>")
    return path


def test_the_page_is_opened(page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    open_page(page)
    assert opened == [page.as_uri()]
    assert capsys.readouterr().err == ""


def _fails(url: str) -> bool:
    raise webbrowser.Error("could not locate runnable browser")


def test_a_browser_that_fails_only_talks(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", _fails)
    open_page(page)
    assert capsys.readouterr().err == f"not opened: could not locate runnable browser; the page is {page}\n"


@pytest.mark.parametrize("lost", ["terminal", "display", "page"])
def test_without_a_person_nothing_is_opened(
    page: Path, lost: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", _fails)
    monkeypatch.setattr(sys, "platform", "linux")
    if lost == "terminal":
        monkeypatch.setattr(_output, "use_live", lambda stream: False)
    if lost == "page":
        page.unlink()
    if lost == "display":
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
            monkeypatch.delenv(name, raising=False)
    open_page(page)
    said = capsys.readouterr().err
    assert said.startswith("not opened: ")
    assert str(page) in said
