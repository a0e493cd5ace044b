"""One row that is too long for one process: each has a part of its tokens, and in attention a part of the heads.

All else in a decoder treats a token without regard to the others, so only attention has to exchange: before it, each
process gives its tokens' queries, keys and values away by heads and gets the whole row for its own heads; after it, the
same the other way round. The processes are those of torch's default group.

Source: DeepSpeed Ulysses, arXiv 2309.14509; deviations: key-value heads that are too few are repeated.

Shapes: N processes, h heads here, t tokens here, D head size, T tokens of the whole row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from codctl.errors import PreflightError
from codctl.models.attention import VARLEN


@dataclass(frozen=True)
class Part:
    """Which part of each row this process has.

    Attributes:
        rank: Its place among the processes.
        size: How many there are.
    """

    rank: int
    size: int

    def bounds(self, tokens: int) -> tuple[int, int]:
        """First token and the one behind the last, of a row that is padded so that all parts are equal."""
        each = -(-tokens // self.size)
        return self.rank * each, (self.rank + 1) * each

    def padded(self, tokens: int) -> int:
        """Tokens of such a row with its padding."""
        return self.size * -(-tokens // self.size)

    def of(self, whole_BT: torch.Tensor, tokens: int) -> torch.Tensor:
        """This process's part of a row; zeros behind its last token."""
        first, end = self.bounds(tokens)
        return torch.nn.functional.pad(whole_BT, (0, self.padded(tokens) - tokens))[:, first:end]

    def by_heads(self, states_htD: torch.Tensor) -> torch.Tensor:
        """From some tokens of all heads to all tokens of some heads."""
        heads, tokens, size = states_htD.shape
        parts = states_htD.reshape(self.size, heads // self.size, tokens, size)
        return _exchanged(parts).transpose(0, 1).reshape(heads // self.size, self.size * tokens, size)

    def by_tokens(self, states_hTD: torch.Tensor) -> torch.Tensor:
        """The way back."""
        heads, tokens, size = states_hTD.shape
        parts = states_hTD.reshape(heads, self.size, tokens // self.size, size).transpose(0, 1)
        return _exchanged(parts).reshape(heads * self.size, tokens // self.size, size)

    def enough(self, states_htD: torch.Tensor) -> torch.Tensor:
        """Key-value heads, each repeated until every process can have as many."""
        return states_htD.repeat_interleave(_repeats(states_htD.shape[0], self.size), dim=0)


def check_split(model: Any, size: int) -> None:
    """Refuse a model whose rows cannot be shared.

    Args:
        model: Of transformers, with its attention.
        size: Processes.

    Raises:
        PreflightError: It has another attention, or its heads do not go round.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if base.config._attn_implementation != VARLEN:
        raise PreflightError(
            "long rows are split by one attention only", where="train.split_long_rows", hint="model.attention=varlen"
        )
    heads, shared = base.config.num_attention_heads, base.config.num_key_value_heads
    if heads % (shared * _repeats(shared, size)):
        raise PreflightError(
            f"the model's {heads} attention heads and {shared} key-value heads do not go round {size} processes",
            where="train.split_long_rows",
            hint="another number of learner processes, or train.split_long_rows=false",
        )


def joined(own_N: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """Numbers of all processes, where each has some of them; every process must call.

    Each process computes the same with the result, so its gradient reaches only what is its own.

    Args:
        own_N: Those of this process.
        first: Place of the first of them.
        count: Of all.
    """
    found: torch.Tensor = _Joined.apply(own_N, first, count)  # type: ignore[no-untyped-call]
    return found


def _repeats(heads: int, size: int) -> int:
    return size // math.gcd(heads, size)


def _exchanged(parts: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = _Exchange.apply(parts)  # type: ignore[no-untyped-call]
    return found


class _Exchange(torch.autograd.Function):
    """Give the i-th part to process i, and get one from each; its gradients take the same way."""

    @staticmethod
    def forward(_: Any, parts: torch.Tensor) -> torch.Tensor:
        parts = parts.contiguous()
        found = torch.empty_like(parts)
        dist.all_to_all_single(found, parts)
        return found

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Exchange.forward(None, gradient)


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, own_N: torch.Tensor, first: int, count: int) -> torch.Tensor:
        context.place = slice(first, first + len(own_N))
        all_N = own_N.new_zeros(count)
        all_N[context.place] = own_N
        dist.all_reduce(all_N)
        return all_N

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradient[context.place], None, None
