"""Log-probabilities of given tokens under a causal language model, computed only where they are needed.

Shapes: B rows, T tokens, V vocabulary, W width, N selected positions, E episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from codctl.cod.engine import ALL
from codctl.learner import distillation
from codctl.learner.batching import Sample
from codctl.learner.distillation import Distilled, Lessons
from codctl.models.attention import is_packed
from codctl.models.sequence_parallel import Part, joined


@dataclass(frozen=True)
class MicroBatch:
    """Episodes as tensors: one a row and padded on the right, or packed behind one another in a single row.

    Attributes:
        ids_BT: Token ids.
        loss_mask_BT: True for sampled tokens (never at the first place of an episode).
        old_logprobs_BT: Sampling log-probs.
        advantages_BT: The episode's advantage at every token.
        weights_BT: The episode's token weight at every token.
        places_BT: Place of each token in its episode; None when padded.
        starts: Where the episodes begin, and T; int32, shape (E + 1,); None when padded.
        longest: Tokens of the longest episode.
        part: Which tokens this process computes, where all processes share the row.
        lessons: What a teacher says of the sampled tokens; None where nothing is distilled.
    """

    ids_BT: torch.Tensor
    loss_mask_BT: torch.Tensor
    old_logprobs_BT: torch.Tensor
    advantages_BT: torch.Tensor
    weights_BT: torch.Tensor
    places_BT: torch.Tensor | None
    starts: torch.Tensor | None
    longest: int
    part: Part | None = None
    lessons: Lessons | None = None

    def model_inputs(self) -> dict[str, Any]:
        """What the decoder is called with. Padding needs no mask: it is on the right, where no token looks."""
        if self.starts is None:
            return {"input_ids": self.ids_BT, "attention_mask": None}
        packed = {"attention_mask": None, "max_length_q": self.longest, "max_length_k": self.longest}
        if self.part is None:
            places = {"input_ids": self.ids_BT, "position_ids": self.places_BT}
            return {**packed, **places, "cu_seq_lens_q": self.starts, "cu_seq_lens_k": self.starts}
        assert self.places_BT is not None
        tokens = self.ids_BT.shape[1]
        padded = self.part.padded(tokens)
        starts = self.starts if padded == tokens else pad(self.starts, (0, 1), value=padded)
        return {
            **packed,
            "input_ids": self.part.of(self.ids_BT, tokens),
            "position_ids": self.part.of(self.places_BT, tokens),
            "cu_seq_lens_q": starts,
            "cu_seq_lens_k": starts,
            "part": self.part,
        }

    def chosen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """After which tokens of this process a sampled one comes, and those: shapes (B, T or a part of it) and (N,)."""
        tokens = self.ids_BT.shape[1]
        mask_BT, next_BT = pad(self.loss_mask_BT[:, 1:], (0, 1)), pad(self.ids_BT[:, 1:], (0, 1))
        if self.part is not None:
            mask_BT, next_BT = self.part.of(mask_BT, tokens), self.part.of(next_BT, tokens)
        return mask_BT, next_BT[mask_BT]

    def joined(self, own_N: torch.Tensor) -> torch.Tensor:
        """Numbers for all sampled tokens, from those of this process."""
        if self.part is None:
            return own_N
        return joined(own_N, self._before(self.part), int(self.loss_mask_BT.sum()))

    def own(self, all_N: torch.Tensor, count: int) -> torch.Tensor:
        """Of numbers of all sampled tokens those of this process, which are so many."""
        first = 0 if self.part is None else self._before(self.part)
        return all_N[first : first + count]

    def _before(self, part: Part) -> int:
        """Sampled tokens that other processes compute before this one's."""
        first, _ = part.bounds(self.ids_BT.shape[1])
        return int(self.loss_mask_BT[:, 1 : first + 1].sum())


# One token without a loss.
_NOTHING = Sample(np.zeros(1, np.int32), np.zeros(1, np.bool_), np.zeros(1, np.float32), advantage=0.0)


def collate(
    samples: Sequence[Sample], weights: Sequence[float], pad_id: int, device: Any, *, packed: bool = False
) -> MicroBatch:
    """Samples as tensors, for a model with `is_packed(model) == packed`.

    No samples at all give a batch whose loss is 0, with a gradient of 0 for every parameter: for a process that has to
    keep step with others.
    """
    rows, row_weights = (samples, weights) if samples else ([_NOTHING], [0.0])
    return _pack(rows, row_weights, device) if packed else _pad(rows, row_weights, pad_id, device)


def _pad(samples: Sequence[Sample], weights: Sequence[float], pad_id: int, device: Any) -> MicroBatch:
    """Pad rows to the longest of them."""
    lengths = [len(sample.ids) for sample in samples]
    longest = max(lengths)

    def padded(rows: Sequence[NDArray[Any]], fill: float, dtype: Any) -> torch.Tensor:
        filled_BT = np.full((len(rows), longest), fill, dtype)
        for number, row in enumerate(rows):
            filled_BT[number, : len(row)] = row
        return torch.from_numpy(filled_BT).to(device)

    return MicroBatch(
        ids_BT=padded([s.ids for s in samples], pad_id, np.int64),
        loss_mask_BT=padded([s.loss_mask for s in samples], False, np.bool_),
        old_logprobs_BT=padded([s.logprobs for s in samples], 0.0, np.float32),
        advantages_BT=torch.tensor([[s.advantage] for s in samples], device=device).expand(-1, longest),
        weights_BT=torch.tensor([[w] for w in weights], device=device).expand(-1, longest),
        places_BT=None,
        starts=None,
        longest=longest,
    )


def _pack(samples: Sequence[Sample], weights: Sequence[float], device: Any) -> MicroBatch:
    """One row, the episodes behind one another."""
    lengths = [len(sample.ids) for sample in samples]

    def row(parts: Sequence[NDArray[Any]], dtype: Any) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(parts).astype(dtype)[None]).to(device)

    def each(values: Sequence[float]) -> torch.Tensor:
        return torch.from_numpy(np.repeat(np.array(values, np.float32), lengths)[None]).to(device)

    return MicroBatch(
        ids_BT=row([s.ids for s in samples], np.int64),
        loss_mask_BT=row([s.loss_mask for s in samples], np.bool_),
        old_logprobs_BT=row([s.logprobs for s in samples], np.float32),
        advantages_BT=each([s.advantage for s in samples]),
        weights_BT=each(weights),
        places_BT=row([np.arange(n) for n in lengths], np.int64),
        starts=torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device),
        longest=max(lengths),
    )


class TokenLogprobs(torch.nn.Module):
    """Wraps a causal model: a micro-batch in, log-probs and entropies of its sampled tokens out.

    The output layer runs only on the positions that predict a sampled token, so prompts and padding never meet the
    vocabulary; and on at most `chunk` of them at a time, forward and backward, so the memory for logits grows with the
    chunk and not with the batch.

    Args:
        model: Causal model, or PEFT-wrapped one.
        temperature: At which the tokens were sampled.
        chunk: Most positions whose logits exist at the same time; what has no more is computed in one piece.
        autocast: Type of the arithmetic when it is not that of the weights (`trainable.autocast_type`).
    """

    def __init__(
        self, model: Any, temperature: float, *, chunk: int = 4096, autocast: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.chunk = chunk
        self.autocast = autocast
        self.packed = is_packed(model)  # how `collate` must lay out the batches

    def forward(self, rows: MicroBatch) -> tuple[torch.Tensor, torch.Tensor, Distilled | None]:
        """Log-probs and (without gradient) entropies, each of shape (N,), in row-major order of `loss_mask_BT`.

        And what is distilled, where the rows have lessons.
        """
        with self._arithmetic(rows):
            head, hidden_NW, ids_N = self._read_rows(rows)
            taught = _taught(rows, len(ids_N))
            logprobs_N, entropies_N, *found = self._in_chunks(head, hidden_NW, ids_N, taught)
        logprobs_N = rows.joined(logprobs_N)
        distilled = Distilled(*map(rows.joined, found)) if found else None
        if rows.lessons is not None and distilled is None:
            distilled = distillation.sampled(logprobs_N, rows.lessons.logprobs_N, rows.lessons.clamp)
        return logprobs_N, rows.joined(entropies_N), distilled

    @torch.no_grad()
    def listed(self, rows: MicroBatch, top: int) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """What a teacher says of the sampled tokens, on the CPU.

        Args:
            rows: Of this process alone.
            top: How many of the likeliest tokens are wanted, or `ALL`.

        Returns:
            Log-probs of the tokens (N,), ids of the likeliest (N, K), and their log-probs (N, K) or all (N, V).
        """
        parts: list[tuple[torch.Tensor, ...]] = []
        with self._arithmetic(rows):
            head, hidden_NW, ids_N = self._read_rows(rows)
            for part_NW, part_N in zip(torch.split(hidden_NW, self.chunk), torch.split(ids_N, self.chunk), strict=True):
                all_NV = self._log_softmax(head, part_NW)
                found: tuple[torch.Tensor, ...] = (all_NV.gather(1, part_N[:, None])[:, 0],)
                if top == ALL:
                    found = (*found, all_NV)
                elif top:
                    likeliest = all_NV.topk(min(top, all_NV.shape[1]), dim=-1)
                    found = (*found, likeliest.values, likeliest.indices)
                parts.append(tuple(one.cpu() for one in found))
        own_N, *others = (torch.cat(column) for column in zip(*parts, strict=True))
        return own_N, others[1] if len(others) > 1 else None, others[0] if others else None

    def _arithmetic(self, rows: MicroBatch) -> Any:
        return torch.autocast(rows.ids_BT.device.type, self.autocast, enabled=self.autocast is not None)

    def _read_rows(self, rows: MicroBatch) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """The output layer, what it gets for each sampled token, and these tokens."""
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        hidden_BTW = base.get_decoder()(**rows.model_inputs(), use_cache=False).last_hidden_state
        chosen_BT, ids_N = rows.chosen()
        return base.get_output_embeddings(), hidden_BTW[chosen_BT], ids_N

    def _in_chunks(
        self, head: Any, hidden_NW: torch.Tensor, ids_N: torch.Tensor, taught: _Taught | None
    ) -> tuple[torch.Tensor, ...]:
        columns = (hidden_NW, ids_N, *(taught.columns if taught else ()))
        read = partial(self._read, head, taught.clamp if taught else 0.0)
        if len(ids_N) <= self.chunk:
            return read(*columns)
        parts = [
            checkpoint(read, *part, use_reentrant=False, preserve_rng_state=False)
            for part in zip(*(torch.split(column, self.chunk) for column in columns), strict=True)
        ]
        return tuple(torch.cat(found) for found in zip(*parts, strict=True))

    def _read(
        self, head: Any, clamp: float, hidden_NW: torch.Tensor, ids_N: torch.Tensor, *taught: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Log-probs and entropies; with the columns of `_taught` also what is distilled from whole distributions."""
        all_logprobs_NV = self._log_softmax(head, hidden_NW)
        logprobs_N = all_logprobs_NV.gather(1, ids_N[:, None])[:, 0].clone()  # FSDP hooks what comes out: no view
        with torch.no_grad():
            entropies_N = -all_logprobs_NV.exp().mul_(all_logprobs_NV).sum(-1)
        if not taught:
            return logprobs_N, entropies_N
        if len(taught) == 1:
            return logprobs_N, entropies_N, *distillation.full(all_logprobs_NV, taught[0], clamp)
        top_NK, ids_NK, own_N = taught
        return logprobs_N, entropies_N, *distillation.topk(all_logprobs_NV, ids_N, ids_NK, top_NK, own_N, clamp)

    def _log_softmax(self, head: Any, hidden_NW: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(head(hidden_NW).float() / self.temperature, dim=-1)


@dataclass(frozen=True)
class _Taught:
    """What the output layer has to be compared with: a teacher's distributions.

    Attributes:
        columns: Of the whole vocabulary one of shape (N, V); else log-probs (N, K) and ids (N, K) of the likeliest
            tokens, and log-probs of the sampled ones (N,).
        clamp: Bound on the log-ratio.
    """

    columns: tuple[torch.Tensor, ...]
    clamp: float


def _taught(rows: MicroBatch, count: int) -> _Taught | None:
    """Of the sampled tokens of this process, which are so many; None where their own log-probs are enough."""
    lessons = rows.lessons
    if lessons is None or lessons.top_logprobs_NK is None:
        return None
    columns = [lessons.top_logprobs_NK]
    if lessons.ids_NK is not None:
        columns += [lessons.ids_NK, lessons.logprobs_N]
    return _Taught(tuple(rows.own(column, count) for column in columns), lessons.clamp)
