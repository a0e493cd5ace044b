"""Run the command line in a process that is stopped at an exact place: `python stopping.py PLACE codctl-arguments…`.

PLACE names a function below, or is `nowhere`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

_CHECKPOINT_4 = "cod_train/checkpoints/.step-000004"


def stop(kind: signal.Signals = signal.SIGKILL) -> None:
    os.kill(os.getpid(), kind)
    signal.pause()


def wrap(owner: Any, name: str, after: Callable[..., None]) -> None:
    """Call `after` with the same arguments once the function has returned."""
    plain = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = plain(*args, **kwargs)
        after(*args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def of_training(folder: Any, step: int, wanted: int) -> bool:
    """Whether it is this checkpoint of CoD-Train, and none of the warm start."""
    return "cod_train" in str(folder) and step == wanted


def in_warm_start() -> None:
    from codctl.tracking.tracker import Tracker

    wrap(Tracker, "log", lambda self, step, phase, *rest: stop() if (phase, step) == ("warm_start", 10) else None)


def after_checkpoint_2() -> None:
    from codctl.learner import checkpoints

    wrap(checkpoints, "_write", lambda folder, content, *rest: stop() if of_training(folder, content.step, 2) else None)


def in_step_4() -> None:
    """When the weights have moved, and nothing is recorded yet."""
    from codctl.learner.learner import Learner

    wrap(Learner, "learn", lambda self, samples, step, judge=None, **more: stop() if judge and step == 4 else None)


def in_wave_of_step_6() -> None:
    """When the first trajectories of its wave are kept."""
    from codctl.train.wave_store import WaveFile

    wrap(WaveFile, "add", lambda self, step, *rest: stop() if min(unit.step for unit in self.kept) == 6 else None)


def in_checkpoint_4() -> None:
    """When the weights are written, and the checkpoint is not sealed."""
    from codctl.learner import checkpoints

    wrap(checkpoints, "write_tensors", lambda path, *rest: stop() if _CHECKPOINT_4 in str(path) else None)


def beside_checkpoint_4() -> None:
    """When the next step is learned, and the checkpoint is still being written."""
    from codctl.learner import checkpoints
    from codctl.learner.learner import Learner

    wrap(
        checkpoints,
        "write_tensors",
        lambda path, *rest: threading.Event().wait() if _CHECKPOINT_4 in str(path) else None,
    )
    wrap(Learner, "learn", lambda self, samples, step, judge=None, **more: stop() if judge and step == 5 else None)


def in_validation_4() -> None:
    from codctl.tracking.tracker import Tracker

    wrap(Tracker, "log", lambda self, step, phase, *rest: stop() if (phase, step) == ("validation", 4) else None)


def in_evaluation() -> None:
    from codctl.evaluate import runner

    wrap(runner._Playing, "_leg", lambda self, leg, *rest: stop() if leg.arm == "shuffled" else None)


def in_arm_none() -> None:
    """After the first trajectory of an arm is in the journal."""
    from codctl.results.journal import FileJournal

    wrap(FileJournal, "append", lambda self, record: stop() if record.unit.arm == "none" else None)


def interrupt_in_step_3() -> None:
    """Ctrl-C."""
    from codctl.learner.learner import Learner

    def interrupt(self: Any, samples: Any, step: int, judge: Any = None, **more: Any) -> None:
        if judge and step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    wrap(Learner, "learn", interrupt)


def nowhere() -> None:
    pass


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.argv = ["codctl", *sys.argv[2:]]
    from codctl.cli.main import main

    main()
