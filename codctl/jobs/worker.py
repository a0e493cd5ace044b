"""The process that does a run's work wherever it was sent: `python -m codctl.jobs.worker RUN_DIR [--job ID]`.

It reads the frozen config and composes nothing. It ends with 0 (finished), 75 (paused: start it again), 130 (cancelled
or Ctrl-C), 143 (terminated), or the exit code of the error that it met. With `--follow` it is but one of the learner's
processes: rank 0, which holds the run, is found by torchrun's variables and says what to do. With `--engines` it has
the engines of another node, and rank 0 finds it by a file in the run's folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codctl.errors import CodctlError, out_of_memory
from codctl.log import Lines, log
from codctl.runs.directory import RunDirectory
from codctl.runs.signals import SAVE_S
from codctl.startup import begin_process

# Seconds to end after the process that started it has died; a learner process has nothing to save.
GRACE_S, LEARNER_GRACE_S = SAVE_S + 10.0, 10.0


def command(run: Path, job: str | None = None) -> list[str]:
    """The command line of a worker."""
    return [sys.executable, "-m", "codctl.jobs.worker", str(run.absolute()), *(["--job", job] if job else [])]


def work(run: RunDirectory, job: str | None = None) -> dict[str, Any]:
    """One attempt at a run in this process; its progress goes to the attempt's log.

    Raises:
        CodctlError: A stage failed, or the run is in use.
        Stopped: It was asked for.
    """
    config = run.config()
    with run.start_attempt(job):
        from codctl.jobs import learners, nodes  # they start workers too
        from codctl.pipeline.pipeline import run_training
        from codctl.train.preflight import preflight  # heavy: the attempt begins before it is loaded

        preflight(config)
        return run_training(
            config, run, None, learners.starter(run, config), engines=nodes.engines_elsewhere(run, config)
        )


def learn_along(run: RunDirectory) -> None:
    """Be one of a run's learner processes until the one that holds the run says it is over, or is gone.

    Raises:
        CodctlError: It is not there, or what it asked for failed here.
    """
    from codctl.learner.group import work
    from codctl.learner.rendezvous import Rendezvous
    from codctl.plan.placement import place
    from codctl.train.setup import prepare_process

    _log_to_stderr()
    config = run.config()
    prepare_process(config.runtime.threads)
    gpu = place(config).learners[int(os.environ["LOCAL_RANK"])]
    rendezvous = Rendezvous(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        int(os.environ["RANK"]),
        int(os.environ["WORLD_SIZE"]),
    )
    log.info("learner process %d of %d", rendezvous.rank, rendezvous.size)
    work(config, rendezvous, config.model.device if gpu is None else f"cuda:{gpu}")


def serve_engines(run: RunDirectory, node: int, name: str, address: str) -> None:
    """Have the engines of this node ready for rank 0 until the first node's work is over.

    Args:
        run: The run.
        node: Place of this node in the job.
        name: Of this node.
        address: Of this node, as the first one reaches it.
    """
    import asyncio
    import secrets

    from codctl.engines import weights_folder
    from codctl.engines.nodes.server import NodeServer, serve
    from codctl.jobs import nodes

    _log_to_stderr()
    config, token = run.config(), secrets.token_urlsafe(32)
    weights_folder.remove_abandoned()
    server = NodeServer(config, weights_folder.place_of(config.engine, run.path, node), run.path.resolve(), token)
    with nodes.announcing_engines(run.path, node) as announce:
        asyncio.run(
            serve(server, address, lambda port: announce(name, address, port, token), lambda: nodes.is_over(run.path))
        )


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(handlers=[handler], level=logging.INFO)


def exit_code_of(task: Callable[[], object]) -> int:
    """Do a process's whole task; an error ends as one message on stderr and its exit code."""
    try:
        task()
    except CodctlError as error:
        return _said(error)
    except KeyboardInterrupt:
        return 130
    except (MemoryError, RuntimeError) as error:
        if explained := out_of_memory(error):
            return _said(explained)
        raise
    return 0


def _said(error: CodctlError) -> int:
    where = f"{error.where}: " if error.where else ""
    sys.stderr.write(f"error: {where}{error.message}\n" + (f"  → {error.hint}\n" if error.hint else ""))
    return error.exit_code


def main(argv: Sequence[str]) -> int:
    """Do what the command line says; errors end as one message on stderr."""
    begin_process()
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # schedulers send it to every process of a job; files say what to do
    parser = argparse.ArgumentParser(prog="codctl.jobs.worker")
    parser.add_argument("run", type=Path)
    parser.add_argument("--job")
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--engines", nargs=3, metavar=("NODE", "NAME", "ADDRESS"))
    options = parser.parse_args(argv)
    if options.follow or options.engines:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # likewise; the one that holds the run saves with their help
    run = RunDirectory.open(options.run)
    if options.engines:
        node, name, address = options.engines
        return exit_code_of(lambda: serve_engines(run, int(node), name, address))
    return exit_code_of(lambda: learn_along(run) if options.follow else work(run, options.job))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
