"""What a model that does not learn gives the tokens of others: the learner's own arithmetic, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from codctl.cod.engine import Scores
from codctl.cod.trajectory import TokenRecord
from codctl.learner.batching import PASS_TOKENS, PASS_TOKENS_ON_CPU, Sample, micro_batches
from codctl.learner.token_logprobs import TokenLogprobs, collate


class Scorer:
    """Scores rows at temperature 1, in the very batches in which a learner of one process would compute them.

    So a model that scores its own rows gets the learner's log-probs to the last bit, on one kind of device.

    Args:
        model: Causal model, or PEFT-wrapped one, on its device.
        pad_id: Token that fills short rows.
        micro_batch_tokens: Token budget of a pass.
        chunk: Most sampled tokens whose logits exist at the same time.
        autocast: Type of the arithmetic when it is not that of the weights.
    """

    def __init__(
        self, model: Any, *, pad_id: int, micro_batch_tokens: int, chunk: int, autocast: torch.dtype | None
    ) -> None:
        self._logprobs = TokenLogprobs(model, 1.0, chunk=chunk, autocast=autocast).eval()
        self._pad_id, self._tokens = pad_id, micro_batch_tokens
        self._device = next(model.parameters()).device

    def __call__(self, rows: Sequence[TokenRecord], top: int = 0) -> list[Scores]:
        """See `OpenEngine.score`."""
        nothing = Scores(np.zeros(0, np.float32))
        found = [nothing] * len(rows)
        samples = [
            Sample(row.ids, row.loss_mask, row.logprobs, advantage=0.0, index=number)
            for number, row in enumerate(rows)
            if row.loss_tokens
        ]
        packed = self._logprobs.packed
        each = PASS_TOKENS_ON_CPU if self._device.type == "cpu" else PASS_TOKENS
        for batch in micro_batches(samples, self._tokens, packed=packed, pass_tokens=each):
            rows_B = collate(batch, [0.0] * len(batch), self._pad_id, self._device, packed=packed)
            counts = [sample.loss_tokens for sample in batch]
            own_N, ids_NK, top_NK = self._logprobs.listed(rows_B, top)
            columns = zip(
                torch.split(own_N, counts),
                [None] * len(counts) if ids_NK is None else torch.split(ids_NK, counts),
                [None] * len(counts) if top_NK is None else torch.split(top_NK, counts),
                strict=True,
            )
            for sample, (own, ids, likeliest) in zip(batch, columns, strict=True):
                found[sample.index] = Scores(
                    own.numpy(),
                    None if ids is None else ids.numpy().astype(np.int32),
                    None if likeliest is None else likeliest.numpy(),
                )
        return found
