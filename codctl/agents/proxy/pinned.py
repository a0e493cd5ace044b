"""Sampling that is codctl's and not the agent's, whoever samples: pinned, and with a seed for each reply."""

from __future__ import annotations

from dataclasses import replace

from codctl.agents.proxy.models import ChatRequest
from codctl.cod.engine import RequestTag, Sampling
from codctl.seeds import derive_seed

ANYBODY = RequestTag("agent", 0, 0, 0, "solve")


class Pinned:
    """How the replies of one session are sampled.

    Args:
        sampling: Of all of them, but for the token limit where the agent asks for less.
        seed: From which each reply's own seed is derived.
        tag: Where the replies belong.
    """

    def __init__(self, sampling: Sampling, seed: int, tag: RequestTag = ANYBODY) -> None:
        self._sampling, self._seed, self._tag = sampling, seed, tag
        self._replies = 0

    def next(self, request: ChatRequest) -> tuple[Sampling, RequestTag, int]:
        """Sampling, place and seed of the next reply."""
        most = min(self._sampling.max_new_tokens, request.max_tokens or self._sampling.max_new_tokens)
        tag = replace(self._tag, turn=self._replies)
        self._replies += 1
        seed = derive_seed(self._seed, tag.pack, tag.rollout, "exchange", tag.position, tag.turn)
        return replace(self._sampling, max_new_tokens=most), tag, seed
