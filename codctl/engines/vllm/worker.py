"""Mixed into vLLM's worker processes, so that they can take weights from the learner without a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Extension:
    """Methods that `/collective_rpc` can call."""

    rank: int
    device: Any
    reload_weights: Any

    def codctl_receive(self, meeting: dict[str, Any], tensors: Sequence[Sequence[Any]]) -> None:
        """Load what the learner sends; see `codctl.engines.link.receive`."""
        from codctl.engines import link

        self.reload_weights(weights_iterator=link.receive(meeting, tensors, 1 + self.rank, self.device))
