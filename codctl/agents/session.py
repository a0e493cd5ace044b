"""A session of an agent program: its processes from start to deadline, what they say, and what they take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from codctl.agents.program import Finished, Launch
from codctl.cod.requests import end
from codctl.files import atomic
from codctl.processes import Child

Lead = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Leads a session through the program's output and input until it is over."""

_GRACE_S = 5.0  # between SIGTERM and SIGKILL
_CLOSING_S = 10.0  # that a led program has to end by itself
_LINGER_S = 60.0  # that any program has to end once its task is over
_DRAIN_S = 2.0  # for output that is still in the pipes
_LOOK_S = 0.02
_MEASURE_S = 0.5
_CHUNK = 1 << 16
_LONGEST_LINE = 16 << 20
HEAD_BYTES, TAIL_BYTES = 8 << 20, 1 << 20


@dataclass(frozen=True)
class Session:
    """A session that is over.

    Attributes:
        finished: How its process ended.
        wall_s: Seconds that it took.
        peak_mb: Most memory that it and its children held together, in MB.
    """

    finished: Finished
    wall_s: float
    peak_mb: float


async def run(
    launch: Launch,
    folder: Path,
    *,
    deadline_s: float,
    is_over: Callable[[], bool] = lambda: False,
    lead: Lead | None = None,
) -> Session:
    """Start a program and wait for its end; nothing that it has started outlives it.

    Args:
        launch: What is started.
        folder: Where its output is kept: `stdout` and `stderr`.
        deadline_s: Seconds until it is ended.
        is_over: Whether it has nothing left to do: then it has a minute to end.
        lead: Leads the session, where the program does not go through it by itself.

    Raises:
        StageError: It cannot be started, or its output cannot be kept.
    """
    began = time.monotonic()
    child, pipes = Child.piped(launch.argv, env=launch.env, cwd=launch.cwd, grace_s=_GRACE_S)
    meter, heard = _Meter(child.pid), asyncio.StreamReader(_LONGEST_LINE)
    timed_out = False
    with BoundedLog(folder / "stdout") as out, BoundedLog(folder / "stderr") as err:
        talk = asyncio.create_task(_talk(pipes.stdin, launch.stdin, heard, lead))
        copies = [
            asyncio.create_task(_copy(pipes.stdout, out, heard if lead else None)),
            asyncio.create_task(_copy(pipes.stderr, err)),
        ]
        try:
            timed_out = not await _ends(child, meter, began + deadline_s, is_over, talk if lead else None)
        finally:
            meter.measure()  # what it has started and left its group is known only as long as it lives
            code = await asyncio.shield(asyncio.to_thread(child.end, _GRACE_S))
            meter.kill_the_rest()
            await asyncio.wait(copies, timeout=_DRAIN_S)
            await end(talk, *copies)
    for copy in copies:
        if not copy.cancelled():
            copy.result()
    finished = Finished(None if timed_out else code, timed_out, out.path, err.path)
    return Session(finished, time.monotonic() - began, meter.peak_mb)


async def _ends(
    child: Child,
    meter: _Meter,
    deadline: float,
    is_over: Callable[[], bool],
    talk: asyncio.Task[None] | None,
) -> bool:
    """Wait until the program has ended; False where it has not in time."""
    over = closing = None
    while child.exit_code() is None:
        now = time.monotonic()
        meter.look(now)
        over = over or (now if is_over() else None)
        closing = closing or (now if talk and talk.done() else None)
        if closing and now > closing + _CLOSING_S:
            return True  # the session was led to its end: that the program stays is no fault of the task
        if now > min(deadline, over + _LINGER_S if over else deadline):
            return False
        await asyncio.sleep(_LOOK_S)
    return True


async def _talk(pipe: IO[bytes], text: str, heard: asyncio.StreamReader, lead: Lead | None) -> None:
    """Say what the program reads, then close its input."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), loop=loop), pipe
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        with contextlib.suppress(ConnectionError):  # it does not read to the end
            writer.write(text.encode())
            await writer.drain()
            if lead:
                await lead(heard, writer)
    finally:
        writer.close()


async def _copy(pipe: IO[bytes], log: BoundedLog, heard: asyncio.StreamReader | None = None) -> None:
    """Keep what the program says, and let whom it may concern hear it."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        while data := await reader.read(_CHUNK):
            log.write(data)
            if heard:
                heard.feed_data(data)
    finally:
        if heard:
            heard.feed_eof()
        transport.close()


@dataclass
class BoundedLog:
    """A file that keeps the beginning and the end of what is written to it."""

    path: Path
    _file: IO[bytes] | None = None
    _head: int = 0  # bytes written
    _tail: deque[bytes] = field(default_factory=deque)
    _tail_bytes: int = 0
    _lost: int = 0

    def __enter__(self) -> Self:
        with atomic.storage_errors(self.path):
            self._file = self.path.open("wb")
        return self

    def write(self, data: bytes) -> None:
        assert self._file is not None
        room = max(0, HEAD_BYTES - self._head)
        with atomic.storage_errors(self.path):
            self._file.write(data[:room])
            self._file.flush()
        self._head += len(data[:room])
        if rest := data[room:]:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail_bytes - (len(self._tail[0]) if self._tail else 0) > TAIL_BYTES:
            dropped = len(self._tail.popleft())
            self._tail_bytes -= dropped
            self._lost += dropped

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._file is not None
        with atomic.storage_errors(self.path), self._file:
            if self._lost:
                self._file.write(f"\n[codctl left out {self._lost:,} bytes here]\n".encode())
            self._file.writelines(self._tail)


class _Meter:
    """Measures a process and all that it has started, and remembers them."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._next_s, self._wait_s = 0.0, _MEASURE_S / 32
        self._seen: set[psutil.Process] = set()
        with contextlib.suppress(psutil.Error):
            self._seen.add(psutil.Process(pid))
        self._leader = next(iter(self._seen), None)

    def look(self, now: float) -> None:
        """Measure from time to time, first soon after the start."""
        if now < self._next_s:
            return
        self._next_s, self._wait_s = now + self._wait_s, min(_MEASURE_S, self._wait_s * 2)
        self.measure()

    def measure(self) -> None:
        """Find all that it has started, and how much memory they hold."""
        if self._leader is None:
            return
        with contextlib.suppress(psutil.Error):
            self._seen.update(self._leader.children(recursive=True))
        self.peak_mb = max(self.peak_mb, sum(map(_resident_mb, self._seen)))

    def kill_the_rest(self) -> None:
        """Those that have left the group of the process, and would outlive it."""
        for process in self._seen:
            with contextlib.suppress(psutil.Error):
                if process.is_running() and process != self._leader:
                    process.kill()


def _resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0
