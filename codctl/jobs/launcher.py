"""The door for launchers, which carry out runs and commands away from this terminal: `--on NAME`.

`local` and `slurm` are built in; a package adds one by an entry point of the group `codctl.launchers` that names a
subclass of `Launcher`. docs/launchers.md shows one.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.processes import python_environment
from codctl.registry import Registry, an_instance_of

if TYPE_CHECKING:
    from codctl.config.schema import ClusterConfig  # `codctl status` starts without the schema

_WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_AT_WORK = {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}


@dataclass(frozen=True)
class Task:
    """One process to start.

    Attributes:
        argv: Its command line. It may be started again after it was killed: it continues what it had begun.
        log: A file for its output.
        run: The run that it works on; None for another command.
    """

    argv: tuple[str, ...]
    log: Path
    run: Path | None = None


@dataclass(frozen=True)
class Batch:
    """What is submitted together.

    Attributes:
        tasks: Independent of each other.
        cluster: What each of them needs, by `cluster.*` of the recipe.
        name: For lists of jobs.
        folder: For the launcher's own scripts and logs.
        code: The folder that each imports codctl from; it does not change.
        max_parallel: Most tasks at a time; None for no limit.
        after: Ids of jobs that must have ended before, in whatever way.
    """

    tasks: tuple[Task, ...]
    cluster: ClusterConfig
    name: str
    folder: Path
    code: Path
    max_parallel: int | None = None
    after: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process, with the code to import."""
        return python_environment(self.code.absolute())


@dataclass(frozen=True)
class Submitted:
    """What became of a batch.

    Attributes:
        jobs: Of each task the ids of its jobs, in order; usually one. Letters, digits, `.`, `_` and `-`.
        record: Kept in dispatch.json.
        shown: Printed by the command that has submitted.
    """

    jobs: Sequence[Sequence[str]]
    record: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobState:
    """One job as its launcher sees it.

    Attributes:
        job: Its id.
        state: SLURM's word, also for other launchers: PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, …; `gone` when
            the launcher does not know the job, `unknown` when it could not be asked.
        reason: Why it waits.
        node: Where it runs or ran.
        owner: The id of its user; -1 when that is not known.
        user: The name of its user.
        name: Its own.
        script: The path of the script that was submitted.
    """

    job: str
    state: str
    reason: str = ""
    node: str = ""
    owner: int = -1
    user: str = ""
    name: str = ""
    script: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.state in _WAITING

    @property
    def is_at_work(self) -> bool:
        return self.state in _AT_WORK

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended for good. A job that is requeued is completing before it waits again."""
        return self.is_waiting or self.is_at_work

    @property
    def holds(self) -> bool:
        """Whether it waits for nodes or uses them; all its processes have ended when it is completing."""
        return self.is_alive and self.state != "COMPLETING"


class Launcher(ABC):
    """A way to carry out tasks elsewhere. One instance serves a whole process."""

    @abstractmethod
    def submit(self, batch: Batch) -> Submitted:
        """Start the tasks, or put them in a queue, and return. Either all are submitted or none.

        Raises:
            BackendError: It cannot be reached.
            RefusedError: It does not take them.
        """

    @abstractmethod
    def states(self, jobs: Sequence[str]) -> Mapping[str, JobState]:
        """How jobs stand; one that is left out counts as gone."""

    @abstractmethod
    def cancel(self, jobs: Sequence[str]) -> None:
        """End jobs, or take them out of the queue; those that have ended are passed over.

        Raises:
            BackendError: It cannot be reached.
        """

    def check(self, batch: Batch) -> None:
        """Refuse what `submit` would refuse, or accept and never start. Writes nothing.

        Raises:
            BackendError, RefusedError: As `submit`.
        """
        return

    def script(self, batch: Batch) -> str:
        """What `submit` would start, as text for `--dry-run`."""
        return "".join(f"{shlex.join(task.argv)}\n" for task in batch.tasks)

    def unavailable(self) -> str:
        """Why it cannot be asked from this machine; empty when it can."""
        return ""


LAUNCHERS: Registry[Launcher] = Registry(
    "launcher",
    "codctl.launchers",
    {"local": "codctl.jobs.background:Background", "slurm": "codctl.jobs.slurm:Slurm"},
    make=an_instance_of(Launcher),
    by_path=False,  # a run's files name it
)
