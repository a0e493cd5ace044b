"""Estimators of the reverse KL from a student to its teacher, token by token, as losses; and what is counted of them.

The objective is Σ_t KL(π(· | prefix_t) ‖ π_teacher(· | prefix_t)) over the prefixes that the student has played, which
are held fixed: no return, no baseline. All estimators compare the teacher with the policy as it is now, not with the
one that sampled. With g = log π_teacher − log π, held fixed and clamped, their losses are

    ==========  ===============================================================================
    sampled     −g(x)·log π(x), for the sampled token x
    full        −Σ_v π(v)·g(v), over the vocabulary: the gradient of the KL at this prefix
    topk        the same over K + 2 events: the teacher's likeliest tokens, x, and all others as one
    ==========  ===============================================================================

`topk` is the KL of two coarser distributions, so never above the KL, and 0 where teacher and student agree.

Shapes: N sampled tokens, K likeliest, V vocabulary, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from codctl.learner.batching import Sample

FAR = -5.0  # log-ratio below which a token is one that the teacher would hardly have said
_LEAST_REST = 1e-6  # probability of all other tokens; below it is what float32 leaves of 1 − Σ


class Distilled(NamedTuple):
    """Of each sampled token.

    Attributes:
        losses_N: To be minimised, with a gradient.
        kl_N: The reverse KL by this estimator, not clamped.
        clamped_N: Share of it that the clamp has touched.
    """

    losses_N: torch.Tensor
    kl_N: torch.Tensor
    clamped_N: torch.Tensor


@dataclass(frozen=True)
class Lessons:
    """What the teacher of a micro-batch says of its sampled tokens.

    Attributes:
        logprobs_N: Of the tokens themselves.
        scales_N: Of the losses.
        row_N: Row of each token.
        labels: Of each row, for metrics.
        ids_NK: The likeliest tokens; None for the whole vocabulary, and where the sampled tokens are all.
        top_logprobs_NK: Theirs, or those of the whole vocabulary (N, V).
        clamp: Bound on the log-ratio.
    """

    logprobs_N: torch.Tensor
    scales_N: torch.Tensor
    row_N: torch.Tensor
    labels: tuple[str, ...]
    ids_NK: torch.Tensor | None
    top_logprobs_NK: torch.Tensor | None
    clamp: float


def lessons_of(batch: Sequence[Sample], clamp: float, device: torch.device) -> Lessons | None:
    """The lessons of rows of one teacher; None for rows without."""
    lessons = [sample.lesson for sample in batch if sample.lesson]
    if not lessons:
        return None
    counts = torch.tensor([sample.loss_tokens for sample in batch])
    scores = [lesson.scores for lesson in lessons]
    ids = [one.top_ids_NK for one in scores if one.top_ids_NK is not None]
    top = [one.top_logprobs_NK for one in scores if one.top_logprobs_NK is not None]
    return Lessons(
        logprobs_N=torch.from_numpy(np.concatenate([one.logprobs_N for one in scores])).to(device),
        scales_N=torch.repeat_interleave(torch.tensor([lesson.scale for lesson in lessons]), counts).to(device),
        row_N=torch.repeat_interleave(counts).to(device),
        labels=tuple(lesson.label for lesson in lessons),
        ids_NK=torch.from_numpy(np.concatenate(ids).astype(np.int64)).to(device) if ids else None,
        top_logprobs_NK=torch.from_numpy(np.concatenate(top)).to(device) if top else None,
        clamp=clamp,
    )


def sampled(logprobs_N: torch.Tensor, teacher_N: torch.Tensor, clamp: float) -> Distilled:
    """Of the sampled tokens alone.

    Source: trinity/algorithm/policy_loss_fn of agentscope-ai/Trinity-RFT at 1d7fae4a with `fix_opd_advantage`;
    deviations: the clamp.
    """
    gap_N = (teacher_N - logprobs_N).detach()
    return Distilled(-gap_N.clamp(-clamp, clamp) * logprobs_N, -gap_N, (gap_N.abs() > clamp).float())


def full(all_NV: torch.Tensor, teacher_NV: torch.Tensor, clamp: float) -> Distilled:
    """Over the whole vocabulary."""
    return _over_events(all_NV.exp(), (teacher_NV - all_NV).detach(), clamp)


def topk(
    all_NV: torch.Tensor,
    ids_N: torch.Tensor,
    top_ids_NK: torch.Tensor,
    teacher_NK: torch.Tensor,
    teacher_N: torch.Tensor,
    clamp: float,
) -> Distilled:
    """Over the teacher's likeliest tokens, the sampled one and the rest.

    Args:
        all_NV: The student's log-probs.
        ids_N: The sampled tokens.
        top_ids_NK: The teacher's likeliest tokens.
        teacher_NK: The teacher's log-probs of these.
        teacher_N: The teacher's log-probs of the sampled tokens.
        clamp: Bound on the log-ratio.
    """
    is_new_N1 = (top_ids_NK != ids_N[:, None]).all(-1, keepdim=True)
    counts_NK = torch.cat([torch.ones_like(teacher_NK), is_new_N1.to(teacher_NK.dtype)], -1)  # K and the sampled one
    mine_NK = all_NV.gather(1, torch.cat([top_ids_NK, ids_N[:, None]], -1))
    theirs_NK = torch.cat([teacher_NK, teacher_N[:, None]], -1)
    p_NK = mine_NK.exp() * counts_NK
    rest_N1 = (1 - p_NK.sum(-1, keepdim=True)).clamp(min=_LEAST_REST)
    their_rest_N1 = (1 - (theirs_NK.exp() * counts_NK).sum(-1, keepdim=True)).clamp(min=_LEAST_REST)
    gaps = torch.cat([theirs_NK - mine_NK, their_rest_N1.log() - rest_N1.log()], -1).detach()
    return _over_events(torch.cat([p_NK, rest_N1], -1), gaps, clamp)


def _over_events(p_NE: torch.Tensor, gap_NE: torch.Tensor, clamp: float) -> Distilled:
    """Σ over events of the student's probability times the log-ratio; the latter has no gradient."""
    losses_N = -(p_NE * gap_NE.clamp(-clamp, clamp)).sum(-1)
    with torch.no_grad():
        return Distilled(losses_N, -(p_NE * gap_NE).sum(-1), (p_NE * (gap_NE.abs() > clamp)).sum(-1))


_COUNTED = ("tokens", "sampled", "estimated", "far", "clamped", "entropy")


class Tally:
    """Sums over the distilled tokens of a step, by label.

    Args:
        labels: All that there may be, in every process the same.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._sums = {label: np.zeros(len(_COUNTED)) for label in sorted(set(labels))}

    def add(self, lessons: Lessons, logprobs_N: torch.Tensor, found: Distilled, entropies_N: torch.Tensor) -> None:
        """Count the tokens of a micro-batch."""
        gap_N = lessons.logprobs_N - logprobs_N
        columns = (torch.ones_like(gap_N), -gap_N, found.kl_N, gap_N < FAR, found.clamped_N, entropies_N)
        values_NC = torch.stack([one.detach().double() for one in columns], -1)
        sums_RC = values_NC.new_zeros(len(lessons.labels), len(_COUNTED)).index_add(0, lessons.row_N, values_NC)
        for label, row in zip(lessons.labels, sums_RC.cpu().numpy(), strict=True):
            self._sums[label] += row

    def metrics(self, over: Callable[[Sequence[float]], list[float]], estimator: str) -> dict[str, float]:
        """Means over tokens: of all under `distill/`, of each label under `distill/LABEL/`.

        Args:
            over: Sums over all processes.
            estimator: Names its own estimate beside that of the sampled tokens.
        """
        if not self._sums:
            return {}
        flat = over([float(value) for sums in self._sums.values() for value in sums])
        table = np.array(flat).reshape(len(self._sums), len(_COUNTED))
        found = self._means("distill", table.sum(0), estimator)
        for label, row in zip(self._sums, table, strict=True):
            found |= self._means(f"distill/{label}", row, estimator)
        return found

    def _means(self, prefix: str, sums: NDArray[np.float64], estimator: str) -> dict[str, float]:
        tokens, own, estimated, far, clamped, entropy = (float(value) for value in sums)
        count = max(tokens, 1.0)
        return {
            f"{prefix}/tokens": tokens,
            f"{prefix}/kl": own / count,
            **({} if estimator == "sampled" else {f"{prefix}/kl_{estimator}": estimated / count}),
            f"{prefix}/far": far / count,
            f"{prefix}/clamped": clamped / count,
            f"{prefix}/entropy": entropy / count,
        }
