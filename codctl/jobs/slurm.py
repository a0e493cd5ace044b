"""The launcher `slurm`: runs as SLURM jobs, by submitit."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from codctl.config.schema import ClusterConfig
from codctl.errors import CodctlError, RefusedError
from codctl.jobs import clients, queue, slurm_checks
from codctl.jobs.launcher import Batch, JobState, Launcher, Submitted, Task
from codctl.jobs.supervisor import CommandJob, StageJob
from codctl.runs import attempt
from codctl.runs.own_jobs import is_id

_NEVER = 10**6  # submitit's budget of time-outs; ours counts attempts
_LEAST_GRACE = 0.5  # of the signal's delay
_PERCENT = "@percent@"
_PLACEHOLDERS = ("%j", "%t", "%A", "%a")  # submitit puts a job's numbers in their place, wherever they stand in a path
_SIGNAL_ERROR_S = 30  # SLURM looks at limits twice a minute


class Slurm(Launcher):
    """Tasks as SLURM jobs, one array for those that are submitted together."""

    def check(self, batch: Batch) -> None:
        slurm_checks.ask(self.script(batch), batch.cluster)

    def script(self, batch: Batch) -> str:
        """The text that sbatch gets, as `submit` would give it; needs no SLURM.

        Raises:
            RefusedError: A time limit that leaves no time to work.
        """
        slurm_checks.check_time(batch.cluster)
        return _text(_executor(batch), len(batch.tasks))

    def submit(self, batch: Batch) -> Submitted:
        """See `Launcher`; of a chain all links are the jobs of a run.

        Raises:
            BackendError: There is no SLURM here, or its controller does not answer.
            RefusedError: SLURM would not take or never start the job, or its nodes do not see the runs.
        """
        slurm_checks.check_time(batch.cluster)
        executor = _executor(batch)
        if not batch.after:  # what comes after others was checked with them
            slurm_checks.check(_text(executor, len(batch.tasks)), batch.cluster, folder=batch.folder)
        work = [_job(task, batch) for task in batch.tasks]
        is_chain = not batch.cluster.requeue and all(task.run for task in batch.tasks)
        links = _links(executor, work, batch.cluster.chain if is_chain else 1)
        record = {"cluster": queue.cluster(), "scripts": list(executor.scripts)}  # tell its jobs from others (own_jobs)
        return Submitted([[link[place] for link in links] for place in range(len(work))], record)

    def states(self, jobs: Sequence[str]) -> dict[str, JobState]:
        return queue.states(jobs)

    def cancel(self, jobs: Sequence[str]) -> None:
        """See `Launcher`.

        Args:
            jobs: Ids that sbatch has just given, or that were seen to be a run's own (`Jobs.cancel`).

        Raises:
            BackendError: There is no SLURM here, or its controller does not answer.
            RefusedError: One of them is no id of a job.
        """
        strange = [job for job in jobs if not is_id(job)]
        if strange:
            raise RefusedError(f"{strange[0]!r} is not the id of a SLURM job")
        if jobs:
            clients.must(["scancel", "--quiet", "--", *jobs])

    def unavailable(self) -> str:
        no_slurm = "no squeue on this machine: the status of jobs is taken from the files of their runs"
        return "" if shutil.which("squeue") else no_slurm


def _links(executor: Any, work: Sequence[StageJob | CommandJob], number: int) -> list[list[str]]:
    """Hand the same work over several times, each job to begin after the one before; all of them or none."""
    links: list[list[str]] = []
    try:
        for _ in range(number):
            if links:
                executor.update_parameters(dependency=f"afterany:{links[-1][0].partition('_')[0]}")
            links.append(_hand_over(executor, work))
    except CodctlError:
        Slurm().cancel([job for link in links for job in link])
        raise
    return links


def _job(task: Task, batch: Batch) -> StageJob | CommandJob:
    code, cluster = str(batch.code.absolute()), batch.cluster
    if task.run is None:
        return CommandJob(list(task.argv), code)
    delay = cluster.signal_delay_s
    return StageJob(
        str(task.run.absolute()),
        code,
        attempts_before=attempt.count(task.run),
        grace_s=max(delay - _SIGNAL_ERROR_S, delay * _LEAST_GRACE),
        is_requeued=cluster.requeue,
        max_attempts=cluster.max_attempts,
        stalled_attempts=cluster.stalled_attempts,
    )


def _executor(batch: Batch) -> Any:
    """submitit's executor with everything set. Made without SLURM too: a job script can be looked at anywhere."""
    from submitit.slurm.slurm import SlurmExecutor

    class Executor(SlurmExecutor):  # type: ignore[misc]
        folder: Path
        scripts: ClassVar[
            list[str]
        ] = []  # the names of what was submitted; an array is handed over by another instance

        @classmethod
        def affinity(cls) -> int:
            return 1

        @property
        def _submitit_command_str(self) -> str:
            return f"{self.python} -u -m codctl.jobs.job_entry {shlex.quote(str(self.folder))}"

        def _make_submission_command(self, submission_file_path: Path) -> list[str]:
            self.scripts.append(submission_file_path.name)
            return list(super()._make_submission_command(submission_file_path))

        def _make_submission_file_text(self, command: str, uid: str) -> str:
            given, self.folder = self.folder, Path(str(self.folder).replace("%", _PERCENT))
            try:
                text = str(super()._make_submission_file_text(command, uid))
            finally:
                self.folder = given
            return text.replace(_PERCENT, "%%")  # how SLURM writes it in the name of a file

    cluster, code = batch.cluster, batch.code
    _refuse_placeholders(batch.folder)
    executor = Executor(folder=batch.folder, max_num_timeout=_NEVER)
    executor.update_parameters(
        job_name=batch.name,
        partition=cluster.partition,
        account=cluster.account,
        qos=cluster.qos,
        constraint=cluster.constraint,
        time=cluster.minutes,
        nodes=cluster.nodes,
        ntasks_per_node=1,  # the supervisor; what trains lies below it
        cpus_per_task=cluster.cpus_per_task,
        gpus_per_node=cluster.gpus_per_node or None,
        mem=cluster.mem,
        signal_delay_s=cluster.signal_delay_s,
        stderr_to_stdout=True,
        wckey=None,
        array_parallelism=batch.max_parallel or cluster.max_parallel or _NEVER,
        setup=[*cluster.setup, f"export PYTHONPATH={shlex.quote(str(code.absolute()))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        srun_args=_srun_args(cluster),
        additional_parameters={"requeue" if cluster.requeue else "no-requeue": True, **_flags(cluster.extras)},
    )
    if batch.after:
        mains = sorted({job.partition("_")[0] for job in batch.after}, key=int)
        executor.update_parameters(dependency=f"afterany:{':'.join(mains)}")
    return executor


def _refuse_placeholders(folder: Path) -> None:
    found = [word for word in _PLACEHOLDERS if word in str(folder.absolute())]
    if found:
        raise RefusedError(
            f"SLURM would replace {found[0]} in this path by a job number",
            where=str(folder.absolute()),
            hint="choose another runs folder with --runs-dir DIR",
        )


def _srun_args(cluster: ClusterConfig) -> list[str]:
    found = [f"--cpus-per-task={cluster.cpus_per_task}"]  # since 22.05 srun does not take it from sbatch
    if cluster.nodes > 1:  # a node that fails takes the others with it, one that has nothing left to do does not
        found += ["--kill-on-bad-exit=1", "--wait=0"]
    return found


def _flags(extras: dict[str, Any]) -> dict[str, Any]:
    """An option that is switched off is left out."""
    return {name: value for name, value in extras.items() if value is not False}


def _text(executor: Any, number: int) -> str:
    """The script that the executor would hand over; only an array knows how many it is."""
    parameters = dict(executor.parameters)
    if number > 1:
        executor.parameters["map_count"] = number
    try:
        return str(executor._make_submission_file_text(executor._submitit_command_str, ""))
    finally:
        executor.parameters = parameters


def _hand_over(executor: Any, work: Sequence[StageJob | CommandJob]) -> list[str]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    with _outside_any_job():
        try:
            jobs = [str(job.job_id) for job in executor.submit_array(list(work))]
        except (FailedJobError, FailedSubmissionError) as error:
            raise slurm_checks.refusal(str(error)) from error
        except FileNotFoundError as error:
            raise clients.absent("sbatch") from error
    for name in executor.scripts:  # submitit leaves links under these names, and a run holds no links
        (executor.folder / name).unlink(missing_ok=True)
    return jobs


@contextmanager
def _outside_any_job() -> Iterator[None]:
    """Submit as from a login node: neither a job around us nor a shell's SBATCH_ defaults may change the script."""
    from submitit.helpers import clean_env

    conf = os.environ.get("SLURM_CONF")
    with clean_env():
        if conf is not None:  # which cluster it is stays
            os.environ["SLURM_CONF"] = conf
        yield
