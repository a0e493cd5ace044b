"""Log-probabilities of given tokens under a causal language model, computed only where they are needed.

Shapes: B rows, T tokens, V vocabulary, W width, N selected positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from codctl.learn.batching import Sample


@dataclass(frozen=True)
class MicroBatch:
    """Rows as tensors, padded on the right.

    Attributes:
        ids_BT: Token ids.
        mask_BT: 1 where there is a token.
        loss_mask_BT: True for sampled tokens (never at place 0).
        old_logprobs_BT: Sampling log-probs.
        advantages_BT: The row's advantage at every token.
        weights_BT: The row's token weight at every token.
    """

    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    loss_mask_BT: torch.Tensor
    old_logprobs_BT: torch.Tensor
    advantages_BT: torch.Tensor
    weights_BT: torch.Tensor


def collate(samples: Sequence[Sample], weights: Sequence[float], pad_id: int, device: Any) -> MicroBatch:
    """Pad rows to the longest of them."""
    longest = max(len(sample.ids) for sample in samples)

    def padded(rows: list[list[Any]], fill: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([row + [fill] * (longest - len(row)) for row in rows], dtype=dtype, device=device)

    return MicroBatch(
        padded([s.ids for s in samples], pad_id, torch.long),
        padded([[1] * len(s.ids) for s in samples], 0, torch.long),
        padded([s.loss_mask for s in samples], 0, torch.bool),
        padded([s.old_logprobs for s in samples], 0.0, torch.float32),
        torch.tensor([[s.advantage] for s in samples], device=device).expand(-1, longest),
        torch.tensor([[w] for w in weights], device=device).expand(-1, longest),
    )


class TokenLogprobs(torch.nn.Module):
    """Wraps a causal model: ids in, log-probs and entropies of the sampled tokens out.

    The output layer runs only on the positions that predict a sampled token, so prompts and padding never meet the
    vocabulary.
    """

    def __init__(self, model: Any, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor, loss_mask_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probs and (without gradient) entropies, each of shape (N,), in row-major order of `loss_mask_BT`."""
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        hidden_BTW = base.get_decoder()(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state
        hidden_NW = hidden_BTW[:, :-1][loss_mask_BT[:, 1:]]
        logits_NV = base.get_output_embeddings()(hidden_NW).float() / self.temperature
        all_logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
        logprobs_N = all_logprobs_NV.gather(1, ids_BT[:, 1:][loss_mask_BT[:, 1:]][:, None])[:, 0]
        with torch.no_grad():
            entropies_N = -(all_logprobs_NV.exp() * all_logprobs_NV).sum(-1)
        return logprobs_N, entropies_N
