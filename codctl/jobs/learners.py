"""The learner's further processes: those of this node are started here, those of other nodes by their supervisors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.config.schema import Config
from codctl.errors import PreflightError
from codctl.jobs import worker
from codctl.jobs.nodes import address, announce
from codctl.plan.placement import Placement, place
from codctl.processes import Child, last_lines, python_environment, tail
from codctl.runs import attempt
from codctl.runs.directory import RunDirectory

if TYPE_CHECKING:
    from codctl.learner.rendezvous import Starter

_END_S = 20.0
_LAST_LINES = 3
_THIS_NODE = "127.0.0.1"


def command(run: Path) -> list[str]:
    """The command line of a further learner process."""
    return [*worker.command(run), "--follow"]


def starter(run: RunDirectory, config: Config) -> Starter | None:
    """What starts the further learner processes of a run's attempt; None when there are to be none.

    Raises:
        PreflightError: Several nodes outside a job.
    """
    where = place(config)
    if where.processes == 1:
        return None
    if where.nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise PreflightError(
            f"the recipe has learner processes on {where.nodes} nodes, but this is not a SLURM job",
            where="cluster.nodes",
            hint="add --slurm, or cluster.nodes=1",
        )
    return lambda port: started(run, where, port)


@contextlib.contextmanager
def started(run: RunDirectory, where: Placement, port: int) -> Iterator[Local]:
    """Start this node's learner processes beside this one, and let other nodes know; leaving the block ends them.

    Their output goes into `learner-N.log` beside the log of the attempt.
    """
    folder = attempt.folder(run.path, attempt.count(run.path))
    processes = len(where.learners)
    names = [_THIS_NODE] * where.nodes  # they do not matter to processes of this one
    here = python_environment()
    with contextlib.ExitStack() as stack:
        if where.nodes > 1:
            announce(run.path, port)
        found = []
        for rank in range(1, processes):
            own = torchrun_environment(nodes=names, node=0, processes=processes, local_rank=rank, port=port)
            log = folder / f"learner-{rank}.log"
            child = Child.start(command(run.path), env=here | own, log=log, grace_s=worker.LEARNER_GRACE_S)
            stack.callback(_end, child)
            found.append(Process(rank, child, log))
        yield Local(found)


@dataclass(frozen=True)
class Process:
    """A learner process of this node."""

    rank: int
    child: Child
    log: Path


class Local:
    """The learner processes of this node beside the one that holds the run."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes

    def ended(self) -> str:
        """Why one of them has ended (exit code, last lines, its log); empty while all live."""
        for process in self._processes:
            if (code := process.child.wait(0)) is not None:
                words = _last_words(process.log)
                return f"rank {process.rank} with exit code {code}{words} (its log: {process.log})"
        return ""


def _end(child: Child) -> None:
    """Wait for a learner process that rank 0 has asked to end; after an error it is killed."""
    if child.wait(_END_S if sys.exc_info()[0] is None else 0) is None:
        child.end(0)


def _last_words(log: Path) -> str:
    lines = last_lines(tail(log))[-_LAST_LINES:]
    return f", its last lines: {' '.join(' / '.join(lines).split())[-400:]}" if lines else ""


def torchrun_environment(
    *,
    nodes: Sequence[str],
    node: int,
    processes: int,
    local_rank: int,
    port: int,
) -> dict[str, str]:
    """The variables that `torch.distributed` reads (env://).

    Args:
        nodes: Names of all nodes of the job, in its order.
        node: Place of this node among them.
        processes: Processes on each node.
        local_rank: Place of this process on its node.
        port: Where the first process listens.
    """
    return {
        "RANK": str(node * processes + local_rank),
        "WORLD_SIZE": str(len(nodes) * processes),
        "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": str(node),
        "MASTER_ADDR": address(nodes[0]),
        "MASTER_PORT": str(port),
    }
