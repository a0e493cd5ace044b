"""The environment of processes that train together, as torchrun gives it: one set of variables for each process."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

from codctl.errors import BackendError
from codctl.jobs import clients


def environment(
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
