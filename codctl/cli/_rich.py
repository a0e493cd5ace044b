"""What codctl uses of rich to print: no markup, no control characters in texts, and one way to the streams."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from codctl.cli import _output
from codctl.safe_text import visible, visible_line

if TYPE_CHECKING:
    from rich.style import Style


class Words(Text):
    """Text of others with styles of ours."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:
        super().__init__(visible(text), style, **options)

    def append(self, text: Text | str, style: str | Style | None = None) -> Words:
        super().append(visible(text) if isinstance(text, str) else text, style)
        return self


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


class _Own:
    """A stream to which rich writes its own control sequences."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return int(getattr(self._stream, "write_own", self._stream.write)(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Above:
    """Shows what libraries print while a display is live: rich's stream puts it above, but obeys colours and links."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.write_own = stream.write

    def write(self, text: str) -> int:
        return self._stream.write(visible(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def word(text: str, style: str = "", **options: Any) -> Words:
    """Text for one line of a display."""
    return Words(visible_line(text), style, **options)


def styled(text: str, **options: Any) -> Text:
    """Text in which `_output` has set styles."""
    return Text.from_ansi(_output.shown(text), **options)


def console(stream: TextIO, **options: Any) -> Console:
    return _Console(
        file=cast("IO[str]", _Own(stream)),
        markup=False,
        emoji=False,
        highlight=False,
        no_color=not _output.use_colour(stream),
        **options,
    )


def as_text(found: RenderableType, *, width: int | None = None) -> str:
    """What `_output` prints of something that rich lays out, with its styles; without a width no line is wrapped."""
    maker = _Console(file=io.StringIO(), force_terminal=True, markup=False, emoji=False, highlight=False, width=width)
    with maker.capture() as captured:
        maker.print(found, soft_wrap=width is None, end="")
    return _output.own_styles(captured.get())


class Display(Live):
    """Lines at the bottom of a terminal that are drawn again and again. What is printed meanwhile goes above them."""

    def __init__(self, stream: TextIO, draw: Callable[[Console], RenderableType], **options: Any) -> None:
        its_console = console(stream)
        super().__init__(get_renderable=lambda: draw(its_console), console=its_console, **options)

    def start(self, refresh: bool = False) -> None:
        """Begin to draw."""
        super().start(refresh)
        if self.console.is_terminal:  # then rich has replaced the streams; `stop` puts them back
            sys.stdout, sys.stderr = _above(sys.stdout), _above(sys.stderr)

    def say(self, text: str) -> None:
        """Print lines above."""
        self.console.print(styled(text), overflow="fold")


def _above(stream: TextIO) -> TextIO:
    return cast("TextIO", _Above(stream))
