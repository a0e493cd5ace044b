"""A pipe that tells children that their parent has died, however it died. Stdlib only.

Only the parent holds the writing end. When it is gone, also by SIGKILL, the kernel closes the pipe, and each child
reads the end of the file. Nothing is ever written into it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator

from codctl.jobs import groups
from codctl.runs.signals import SAVE_S

VARIABLE = "CODCTL_LEASH"
GRACE_S = SAVE_S + 10.0


@contextlib.contextmanager
def hold() -> Iterator[int]:
    """Hold the children's leash while the block lasts; leaving the block ends those that still live.

    Yields:
        The reading end. Start a child with `pass_fds=(fd,)` and `CODCTL_LEASH=<fd>` in its environment.
    """
    reading, writing = os.pipe()  # neither survives an exec, so no child can keep the writing end open
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def watch(grace_s: float = GRACE_S) -> None:
    """End this process and its group when the parent dies; does nothing without a leash. Call it first thing.

    The group gets SIGTERM, the same request to stop as from the parent, and SIGKILL when that took too long. What is
    left of the group when this process exits is killed too.

    Args:
        grace_s: Seconds between the two.
    """
    text = os.environ.pop(VARIABLE, "")  # it is this process's alone: its children end with the group
    if not text.isdigit():
        return
    descriptor = int(text)
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        return  # the variable came along without the pipe
    threading.Thread(target=_wait, args=(descriptor, grace_s), name="leash", daemon=True).start()


def _wait(descriptor: int, grace_s: float) -> None:
    if os.read(descriptor, 1):
        return  # not a leash: nobody writes into one
    atexit.register(groups.kill_own_group)
    groups.end_own_group()
    threading.Event().wait(grace_s)
    groups.kill_own_group()
