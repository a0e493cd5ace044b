"""Drawing tokens from logits. Shapes: R rows, V vocabulary."""

from __future__ import annotations

import torch


def pick(logits_RV: torch.Tensor, drawn_R3: torch.Tensor, *, with_top_p: bool) -> torch.Tensor:
    """Draw a token of each row.

    Args:
        logits_RV: float32.
        drawn_R3: Temperature, a uniform number and `top_p` of each row, float64.
        with_top_p: Whether some `top_p` is less than 1.

    Returns:
        Tokens and their log-probs, shape (2, R), float64.
    """
    logprobs_RV = torch.log_softmax(logits_RV / drawn_R3[:, :1].float(), dim=-1)
    if with_top_p:
        logprobs_RV = _among_likeliest(logprobs_RV, drawn_R3[:, 2:].float())
    cumulative_RV = logprobs_RV.double().exp().cumsum(-1)
    picked_R1 = torch.searchsorted(cumulative_RV, drawn_R3[:, 1:2] * cumulative_RV[:, -1:], right=True)
    picked_R1 = picked_R1.clamp(max=logits_RV.shape[1] - 1)
    return torch.cat((picked_R1.double(), logprobs_RV.gather(1, picked_R1).double()), 1).t()


def _among_likeliest(logprobs_RV: torch.Tensor, top_p_R1: torch.Tensor) -> torch.Tensor:
    """Log-probs among the fewest likeliest tokens that have at least `top_p` of the mass; the others get -inf.

    Rows with `top_p` 1 stay as they are.
    """
    sorted_RV, order_RV = logprobs_RV.sort(dim=-1, descending=True, stable=True)
    masses_RV = sorted_RV.double().exp()
    is_kept_RV = torch.zeros_like(logprobs_RV, dtype=torch.bool)
    is_kept_RV.scatter_(1, order_RV, masses_RV.cumsum(-1) - masses_RV < top_p_R1)
    kept_RV = logprobs_RV.masked_fill(~is_kept_RV, -torch.inf)
    return torch.where(top_p_R1 < 1, torch.log_softmax(kept_RV, dim=-1), logprobs_RV)
