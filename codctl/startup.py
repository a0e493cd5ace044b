"""What every process of codctl does first: streams that cannot end its work, and threads that wait without spinning.

What goes to stderr is talk. Its reader may leave, its disk may fill, its terminal may vanish, its encoding may lack a
character: none of that reaches the code that talks. stdout is data: a reader who leaves ends the command quietly, with
status 141 as the shell shows for other tools that lose their reader. What anything writes to either, also a library's
warning or a traceback, the terminal shows and does not obey (`codctl.safe_text`). Stdlib only.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import TextIO

from codctl.safe_text import visible

READER_LEFT = 141
_PLAIN = "codctl.plain"  # name of the error handler below
_SPELLINGS = {
    "×": "x",
    "–": "-",
    "—": "-",
    "−": "-",
    "→": "->",
    "←": "<-",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "±": "+-",
    "·": "*",
    "•": "*",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
} | dict(zip("▁▂▃▄▅▆▇█", "_.,-=+*#", strict=True))


class ReaderLeft(SystemExit):
    """The reader of stdout has closed it. A SystemExit, so that nothing on the way takes it for a failure."""

    def __init__(self) -> None:
        super().__init__(READER_LEFT)


class _Exit(io.TextIOWrapper):
    """A text stream on which control characters are shown. What codctl colours itself goes through `write_own`."""

    def write(self, text: str) -> int:
        return self.write_own(visible(text))

    def write_own(self, text: str) -> int:
        """Write text that is known to hold no control characters but codctl's own."""
        return super().write(text)


class Talk(_Exit):
    """stderr. Its writes never fail: what cannot be written is dropped."""

    def write_own(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream is closed
            super().write_own(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().flush()


class Data(_Exit):
    """stdout. It ends the command quietly when its reader has left.

    After any failure the rest goes nowhere, so that the interpreter does not fail again when it flushes at its end.
    """

    def write_own(self, text: str) -> int:
        with self._readers():
            super().write_own(text)
        return len(text)

    def flush(self) -> None:
        with self._readers():
            super().flush()

    @contextlib.contextmanager
    def _readers(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if isinstance(error, BrokenPipeError):
                raise ReaderLeft from None
            raise


def begin_process() -> None:
    """Call it before anything heavy is imported: OpenMP reads its environment once, when it is loaded."""
    wait_without_spinning()
    _open_standard_descriptors()
    codecs.register_error(_PLAIN, spell_plainly)
    if sys.stdin is None:  # its descriptor was closed
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = _over(sys.stdout, 1, Data)
    sys.stderr = _over(sys.stderr, 2, Talk)


def wait_without_spinning() -> None:
    """Let OpenMP threads sleep while they wait for each other, unless the user has chosen.

    Threads that spin hold a core that their partner may need: on a busy machine two of them are some twenty times
    slower than one (docs/runs.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "0")


def spell_plainly(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: `x` for × and `->` for → where the encoding lacks them; letters lose their accents."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_plain, text)), error.end


def _plain(character: str) -> str:
    base = unicodedata.normalize("NFKD", character)[0]
    return _SPELLINGS.get(character) or (base if base.isascii() else "?")


def _open_standard_descriptors() -> None:
    """Descriptors that are closed (`2>&-`) lead nowhere: otherwise the next file that is opened would get the talk."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _over(stream: TextIO | None, descriptor: int, kind: type[Talk | Data]) -> TextIO:
    if stream is None:  # its descriptor was closed
        return kind(open(descriptor, "wb", closefd=False), encoding="utf-8", errors=_PLAIN)
    buffer = getattr(stream, "buffer", None)
    if buffer is None:
        return stream
    lined, through = (bool(getattr(stream, name, False)) for name in ("line_buffering", "write_through"))
    return kind(buffer, encoding=stream.encoding, errors=_PLAIN, line_buffering=lined, write_through=through)
