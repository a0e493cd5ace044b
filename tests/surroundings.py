"""What tests depend on beside the code: the same in a terminal, in the background, under a CI runner and in a job."""

from __future__ import annotations

import os
import signal

# What a terminal, a scheduler or somebody's shell may say, and no test expects.
_FOREIGN = (
    "CLICOLOR", "CLICOLOR_FORCE", "CODCTL_CLUSTER", "CODCTL_RUNS_DIR", "CODCTL_TRUSTED",
    "CUDA_DEVICE_ORDER", "FORCE_COLOR", "HF_TOKEN", "LANGUAGE", "LINES", "NO_COLOR", "PYTHONPATH", "PYTHONSAFEPATH",
    "PYTHONWARNINGS", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
_FOREIGN_STARTS = ("GOMP_", "KMP_", "LC_", "MKL_", "MLFLOW_", "OMP_", "SLURM_", "SUBMITIT_", "WANDB_")
_SET = {
    "COLUMNS": "80",
    "HF_HUB_OFFLINE": "1",  # no test asks the real hub
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "TERM": "xterm",
    "XDG_CONFIG_HOME": "/nonexistent",  # recipes and cluster profiles of whoever runs the tests
    "XDG_STATE_HOME": "/dev/null/none",  # nor the trackers that were chosen there
}

_HEARD = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def settle() -> None:
    """Give this process, and all that it starts, these surroundings."""
    for name in list(os.environ):
        if name in _FOREIGN or name.startswith(_FOREIGN_STARTS):
            del os.environ[name]
    os.environ |= _SET
    os.umask(0o022)
    _open_standard_streams()
    _hear_signals()


def _open_standard_streams() -> None:
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


def _hear_signals() -> None:
    """Let children hear what `nohup` and `&` made this process deaf to: ignored signals are inherited, handlers not."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    ignored = [number for number in _HEARD if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    if ignored and "PYTEST_XDIST_WORKER" in os.environ:
        os.setpgid(0, 0)  # a shell that ends sends SIGHUP to the whole group, and they hear it now
