"""What the nodes of a job tell each other, by files in the run's folder, and how they are reached."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.config.schema import Config
from codctl.errors import BackendError
from codctl.files import atomic, reader
from codctl.jobs import clients, worker
from codctl.plan.placement import place
from codctl.runs.directory import RunDirectory

if TYPE_CHECKING:
    from codctl.engines.nodes.client import Address

_LOOK_S = 0.5
_SECRET = 0o600  # closed to others, like every key


def announce(run: Path, port: int) -> None:
    """Publish the rendezvous port of the learner's processes to the other nodes of this start of the job."""
    _write(run, "rendezvous", {"port": port})


def announced(run: Path) -> int | None:
    """The rendezvous port, once there is one."""
    found = _read(run, "rendezvous")
    return int(found["port"]) if found else None


@contextlib.contextmanager
def announcing_the_end(run: Path) -> Iterator[None]:
    """Let the other nodes know when the block is over: there is nothing left that they could wait for."""
    try:
        yield
    finally:
        _write(run, "over", {})


def is_over(run: Path) -> bool:
    """Whether the first node has ended its part in this start of this job."""
    return _read(run, "over") is not None


# --- engines --------------------------------------------------------------------------------------------------------


def engines_command(run: Path, node: int, names: Sequence[str]) -> list[str]:
    """The command line of the process that has a node's engines, for rank 0.

    Args:
        run: Folder of the run.
        node: Place of this node in the job.
        names: Of the job's nodes.
    """
    return [*worker.command(run), "--engines", str(node), names[node], own_address(names[0])]


def give_up_engines(run: Path, node: int, reason: str) -> None:
    """Let rank 0 know that a node's engines will not be back."""
    _write(run, f"engines-{node}", {"lost": reason}, mode=_SECRET)


@contextlib.contextmanager
def announcing_engines(run: Path, node: int) -> Iterator[Callable[[str, str, int, str], None]]:
    """Gives what publishes the node's name, the address, the port and the token; gone at the end of the block."""
    try:
        yield lambda name, address, port, token: _write(
            run, f"engines-{node}", {"name": name, "address": address, "port": port, "token": token}, mode=_SECRET
        )
    finally:
        _file(run, f"engines-{node}").unlink(missing_ok=True)


def engines_elsewhere(run: RunDirectory, config: Config) -> Callable[[], list[Address]]:
    """What finds the engines of the other nodes when it is called: it waits until all are there.

    It raises BackendError when one is not there in time.
    """

    def find() -> list[Address]:
        deadline = time.monotonic() + config.engine.start_s
        return [_found(run.path, node, deadline) for node in range(1, place(config).engine_nodes)]

    return find


def _found(run: Path, node: int, deadline: float) -> Address:
    while (found := _engines_of(run, node)) is None:
        if time.monotonic() > deadline:
            raise BackendError(
                f"node {node + 1} of the job has not started the process for its engines in time",
                where=str(run),
                hint="the job's log says why; a larger engine.start_s where the disk is slow",
            )
        time.sleep(_LOOK_S)
    return found


def _engines_of(run: Path, node: int, lost: str = "") -> Address | None:
    """Where a node's engines are reached; None while they are not, or only by the token of a process that is lost."""
    from codctl.engines.nodes.client import Address

    found = _read(run, f"engines-{node}")
    if found is None or found.get("token") == lost:
        return None
    if "lost" in found:
        raise BackendError(f"the engines on node {node + 1} of the job are lost: {found['lost']}", where=str(run))
    host = f"[{found['address']}]" if ":" in found["address"] else found["address"]
    url, token = f"http://{host}:{int(found['port'])}", str(found["token"])
    return Address(str(found["name"]), url, token, lambda: _engines_of(run, node, token))


# --- addresses ------------------------------------------------------------------------------------------------------


def own_address(other: str) -> str:
    """The address of this machine on the way to another node. Nothing is sent."""
    kind, form, protocol, _, target = socket.getaddrinfo(address(other), 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(kind, form, protocol) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def address(node: str) -> str:
    """What a node is reached by: its name where that resolves, or else the address that SLURM has for it."""
    try:
        socket.getaddrinfo(node, None)
        return node
    except OSError:
        return _slurms_address(node) or node


def _slurms_address(node: str) -> str:
    try:
        shown = clients.run(["scontrol", "show", "node", "--oneliner", node]).stdout
    except BackendError:
        return ""
    found = re.search(r"\bNodeAddr=(\S+)", shown)
    return found[1] if found else ""


# --- files ----------------------------------------------------------------------------------------------------------


def _write(run: Path, what: str, content: Mapping[str, Any], mode: int = 0o666) -> None:
    path = _file(run, what)
    atomic.make_folder(path.parent)
    atomic.write_json(path, {"schema": 1, **content}, mode=mode)


def _read(run: Path, what: str) -> dict[str, Any] | None:
    return reader.read(_file(run, what), dict[str, Any], within=run)


def _file(run: Path, what: str) -> Path:
    """A file of its own for each start of each job, so that earlier ones do not count."""
    start = os.environ.get("SLURM_RESTART_COUNT", "0")
    return run / "slurm" / "nodes" / f"{os.environ['SLURM_JOB_ID']}-{start}-{what}.json"
