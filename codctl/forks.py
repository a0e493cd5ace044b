"""Forks of this process: each has all that it has, as it is now, does a part of its work, and sends what it finds.

For work on a CPU that one process does with one core: nothing has to be loaded again or handed over, and what is not
changed is not copied. A fork leaves files, trackers and the terminal to its parent, and dies with it.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from codctl.errors import StageError
from codctl.processes import unwatch, watch

Send = Callable[[Any], None]

_SILENT_S = 600.0
_END_S = 10.0
_AGAIN = "the same command continues; runtime.processes=1 does without further processes"
_PARENTS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}  # it answers for its forks


class Fork:
    """A process that does some work; leaving the block ends it.

    Args:
        work: What it does; it is given a function that sends something to `receive`.
    """

    def __init__(self, work: Callable[[Send], None]) -> None:
        context = multiprocessing.get_context("fork")
        self._receiver, self._sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(work, self._sender))

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # Python warns of other threads, whose locks may be held for ever in the fork: here they write files and
            # tell trackers, which a fork does not.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process.start()
        self._sender.close()  # so that its end is seen
        assert self._process.pid is not None
        watch(self._process.pid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()
        assert self._process.pid is not None
        unwatch(self._process.pid)

    def receive(self) -> Any:
        """What it sends next.

        Raises:
            StageError: It has ended, or is silent for ten minutes.
            RuntimeError: Its work has failed.
        """
        try:
            if not self._receiver.poll(_SILENT_S):
                raise StageError(f"a process that shares the work is silent for {_SILENT_S:.0f} s", hint=_AGAIN)
            is_well, found = self._receiver.recv()
        except (EOFError, OSError) as error:
            self._process.join(_END_S)
            code = self._process.exitcode
            raise StageError(f"a process that shares the work ended with exit code {code}", hint=_AGAIN) from error
        if not is_well:
            raise RuntimeError(f"a process that shares the work failed:\n{found}")
        return found


def _work(work: Callable[[Send], None], sender: Connection) -> None:
    signal.set_wakeup_fd(-1)
    for number in _PARENTS:
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # a collection writes to all that it looks at, and would copy it
    with contextlib.suppress(BrokenPipeError):  # the parent has ended
        try:
            work(lambda found: sender.send((True, found)))
        except BrokenPipeError:
            raise
        except BaseException:  # noqa: BLE001  whatever it is, the parent must hear of it
            sender.send((False, traceback.format_exc()))


@contextlib.contextmanager
def one_thread_each(processes: int) -> Iterator[None]:
    """Let torch compute with one thread in this process and in those that are forked in the block.

    A fork of a process whose OpenMP threads have worked would wait for them for ever, had it more than one.
    """
    torch = sys.modules.get("torch")  # without it nothing computes: a scripted policy
    if torch is None or processes < 2:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
