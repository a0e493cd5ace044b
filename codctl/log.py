"""codctl's log. Stdlib only."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from codctl.safe_text import visible


class _Log(logging.Logger):
    """A log whose handlers may fail (a plug-in's, a notebook's) without ending what it tells of."""

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802  the base class's name
        found = 0
        logger: logging.Logger | None = self
        while logger is not None:
            for handler in logger.handlers:
                found += 1
                if record.levelno >= handler.level:
                    with contextlib.suppress(Exception):
                        handler.handle(record)
            logger = logger.parent if logger.propagate else None
        if not found and logging.lastResort and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)


class Lines(logging.Formatter):
    """Lines of a log file: texts of others are shown and not obeyed, and cannot pass for a line of their own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record)).replace("\n", "\n  ")


log = logging.getLogger("codctl")
log.__class__ = _Log


@contextlib.contextmanager
def watching_only(what: str) -> Iterator[None]:
    """Run a block that only shows or copies what is computed: what it raises is logged, and the work goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  whatever it is, the work matters more
        log.warning("%s failed (%s: %s); the work goes on", what, type(error).__name__, error)
