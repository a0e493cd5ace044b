"""Carry out a run in this process, and say what is kept when it is stopped."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.cli._options import RUNS_DIR
from codctl.errors import CodctlError

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.runs.directory import RunDirectory

CTRL_C = 130
SIGNALLED = {CTRL_C: "interrupted", 143: "terminated", 129: "the terminal was closed"}


class StoppedError(CodctlError):
    """A run was stopped in good order."""

    kind = "interrupted"

    def __init__(self, how: str, code: int, *, kept: str, hint: str) -> None:
        super().__init__(f"{how}: {kept}", hint=hint)
        self.exit_code = code  # type: ignore[misc]


def carry_out(run: RunDirectory, config: Config) -> dict[str, Any]:
    """Train and evaluate with progress on the terminal, with the code as it is now, whatever is edited meanwhile.

    Raises:
        StoppedError: By Ctrl-C, a signal or a request; what was learned is saved.
    """
    from codctl.cli._progress import open_display
    from codctl.jobs import learners
    from codctl.pipeline.pipeline import run_training
    from codctl.runs import code as snapshots
    from codctl.runs.signals import Terminated
    from codctl.runs.stop import Signalled, Stopped

    run.clear_stop()
    snapshots.fix(run.root)
    try:
        with open_display(config.runtime.progress_s) as display, run.start_attempt():
            return run_training(config, run, display, learners.starter(run, config))
    except KeyboardInterrupt:
        how, code = SIGNALLED[CTRL_C], CTRL_C
    except Stopped as stop:
        code = int(str(stop.code))
        how = SIGNALLED[code] if isinstance(stop, Signalled) else stop.outcome
    except Terminated as stop:
        code = int(str(stop.code))
        how = SIGNALLED[code]
    raise StoppedError(how, code, kept=kept(run, config), hint=resume_command(run.title, run.root))


def kept(run: RunDirectory, config: Config) -> str:
    """How far a stopped run is, and from where it will go on."""
    from codctl.runs.extension import learned_steps
    from codctl.tracking.jsonl import read

    total = config.train.steps
    saved = learned_steps(run.path)
    done = max((record["step"] for record in read(run.metrics_path) if record["phase"] == "train"), default=0)
    if saved >= total:
        return f"all {total} steps are learned and kept, only evaluations are missing"
    if not done:
        return "before the first step; finished stages are kept"
    if not saved:
        return f"step {done} of {total}, no checkpoint yet; finished stages are kept"
    return f"step {max(done, saved)} of {total}, checkpoint at step {saved}"


def resume_command(name: str, runs_dir: Path) -> str:
    """What to type to continue a run or sweep."""
    usual = Path(os.environ.get("CODCTL_RUNS_DIR", RUNS_DIR))
    where = [] if runs_dir == usual else ["--runs-dir", str(runs_dir)]
    return shlex.join(["codctl", "resume", name, *where])
