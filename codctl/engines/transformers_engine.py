"""Continuous batching on a plain `transformers` model, on CPU or GPU.

Every live conversation keeps its keys and values in a slot, found again by content, so a later turn only computes its
new tokens. Replies that end make room at once; nobody waits for the slowest reply of a batch. The order of work depends
only on the order of requests, and each request draws from its own seed, so results do not depend on timing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from codctl.cod.engine import Asker, EngineError, EngineStats, Generation, PromptTooLongError, Sampling, Weights
from codctl.engines.kv_slots import SlotCache
from codctl.engines.published import load_published


@dataclass(eq=False)
class _Request:
    prompt_ids: list[int]
    sampling: Sampling
    draws: np.ndarray[Any, Any]  # one uniform number per token, from the request's own seed
    future: asyncio.Future[Generation]
    slot: int = -1
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class TransformersEngine:
    """See the module.

    `model` may be the learner's own, and go on being trained between batches; say so with `update_weights`. A copy
    takes its weights from the folder that comes with them.

    Args:
        model: Causal model, or PEFT-wrapped one.
        pad_id: Token that fills short rows.
        max_tokens: Longest sequence that the model reads.
        max_batch: Most sequences in one forward pass.
        autocast: Type of the arithmetic when it is not that of the weights: the learner's, for a model that it trains.
    """

    def __init__(
        self, model: Any, *, pad_id: int, max_tokens: int, max_batch: int = 256, autocast: torch.dtype | None = None
    ) -> None:
        self._model, self._autocast = model, autocast
        self._base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._device = next(model.parameters()).device
        self._pad_id, self._max_tokens, self._slots = pad_id, max_tokens, max_batch
        self._seats = 0
        self._version = 0
        self._waiting: list[_Request] = []
        self._running: list[_Request] = []
        self._scheduled = False
        self._cache: SlotCache | None = None
        self.stats = EngineStats()
        self._reset_cache()

    # --- what the rollout calls -----------------------------------------------------------------------------------

    def take_seat(self) -> None:
        self._seats += 1

    def leave_seat(self) -> None:
        self._seats -= 1
        self._schedule()

    async def generate(self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, asker: Asker) -> Generation:
        room = self._max_tokens - len(prompt_ids)
        if room < 1:
            raise PromptTooLongError(f"the prompt has {len(prompt_ids)} tokens, the model reads {self._max_tokens}")
        budget = min(sampling.max_new_tokens, room)
        draws = np.random.Generator(np.random.Philox(seed)).random(budget)
        request = _Request(list(prompt_ids), sampling, draws, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._schedule()
        return await request.future

    async def update_weights(self, weights: Weights) -> None:
        if self._running or self._waiting:
            raise EngineError("weights cannot change while replies are being sampled")
        if weights.folder is not None:
            load_published(self._model, weights.folder)
        self._version = weights.version
        self.stats = EngineStats()
        self._reset_cache()

    async def aclose(self) -> None:
        self._cache = None

    # --- scheduling -----------------------------------------------------------------------------------------------

    def _reset_cache(self) -> None:
        self._cache = SlotCache(self._base.config.num_hidden_layers, self._slots)
        self._kept: list[list[int]] = [[] for _ in range(self._slots)]  # token ids whose keys a slot holds
        self._free = list(range(self._slots))  # oldest use first
        self._index: dict[bytes, int] = {}  # content of a free slot → the slot
        self._lengths: dict[int, int] = {}  # length of such contents → how many

    def _schedule(self) -> None:
        if not self._scheduled and (self._waiting or self._running):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """One forward pass, then let the loop run those whose replies are done."""
        self._scheduled = False
        self._waiting = [request for request in self._waiting if not request.future.cancelled()]
        for request in [r for r in self._running if r.future.cancelled()]:
            self._retire(request)
        try:
            if self._should_admit():
                self._admit()
            elif self._running:
                self._decode()
        except Exception as error:  # noqa: BLE001  every caller must hear of it, or it would wait for ever
            for request in (*self._running, *self._waiting):
                if not request.future.done():
                    request.future.set_exception(EngineError(f"{type(error).__name__}: {error}"))
            self._running, self._waiting = [], []
            self._reset_cache()
        if self._running or self._should_admit():
            self._schedule()

    def _should_admit(self) -> bool:
        """Prompts wait until enough of them make a batch: one row costs nearly as much as many."""
        if not self._waiting or not self._free:
            return False
        everyone_waits = len(self._waiting) + len(self._running) >= min(self._seats, self._slots)
        if not self._running:
            return everyone_waits
        return len(self._waiting) >= max(1, len(self._running) // 2)

    def _admit(self) -> None:
        batch = self._waiting[: len(self._free)]
        del self._waiting[: len(batch)]
        suffixes = []
        for request in batch:
            request.slot = self._find_slot(request.prompt_ids)
            kept = self._kept[request.slot]
            suffixes.append(request.prompt_ids[len(kept) :])
            self.stats.prompt_tokens += len(request.prompt_ids)
            self.stats.cached_tokens += len(kept)
        self._running.extend(batch)
        self._forward(batch, suffixes)

    def _decode(self) -> None:
        self._forward(self._running[:], [[request.token_ids[-1]] for request in self._running])

    # --- slots ----------------------------------------------------------------------------------------------------

    def _find_slot(self, prompt_ids: list[int]) -> int:
        """The free slot that holds the longest beginning of the prompt; else the one unused for longest."""
        key = np.asarray(prompt_ids, np.int32).tobytes()
        for length in sorted(self._lengths, reverse=True):
            if length < len(prompt_ids) and (slot := self._index.get(key[: 4 * length], -1)) >= 0:
                self._forget(slot)
                self._free.remove(slot)
                return slot
        slot = self._free.pop(0)
        self._forget(slot)
        self._kept[slot] = []
        return slot

    def _forget(self, slot: int) -> None:
        """Take a slot's content out of the index; it is about to be extended or overwritten."""
        key = np.asarray(self._kept[slot], np.int32).tobytes()
        if self._index.get(key) == slot:
            del self._index[key]
            length = len(self._kept[slot])
            self._lengths[length] -= 1
            if not self._lengths[length]:
                del self._lengths[length]

    def _retire(self, request: _Request) -> None:
        self._running.remove(request)
        slot, kept = request.slot, self._kept[request.slot]
        key = np.asarray(kept, np.int32).tobytes()
        if kept and key not in self._index:
            self._index[key] = slot
            self._lengths[len(kept)] = self._lengths.get(len(kept), 0) + 1
        self._free.append(slot)

    # --- the model ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _forward(self, rows: list[_Request], suffixes: list[list[int]]) -> None:
        """Run the rows' new tokens, sample the next token of each, and finish the replies that end."""
        assert self._cache is not None
        starts = [len(self._kept[request.slot]) for request in rows]
        longest = max(map(len, suffixes))
        reach = max(start + len(suffix) for start, suffix in zip(starts, suffixes, strict=True))
        ids = np.full((len(rows), longest), self._pad_id)
        places = np.full((len(rows), longest), reach)  # padding is written to a place that nobody reads
        for row, (start, suffix) in enumerate(zip(starts, suffixes, strict=True)):
            ids[row, : len(suffix)] = suffix
            places[row, : len(suffix)] = np.arange(start, start + len(suffix))
        places_RQ = torch.from_numpy(places).to(self._device)
        rows_R = torch.tensor([request.slot for request in rows], device=self._device)
        self._cache.aim(rows_R, places_RQ, reach)
        seen_RQT = torch.arange(reach, device=self._device)[None, None] <= places_RQ[:, :, None]
        with torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None):
            hidden_RQW = self._base.get_decoder()(
                input_ids=torch.from_numpy(ids).to(self._device),
                attention_mask=seen_RQT[:, None],
                position_ids=places_RQ.clamp(max=self._max_tokens - 1),
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state
            last_R = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=self._device)
            head = self._base.get_output_embeddings()
            logits_RV = head(hidden_RQW[torch.arange(len(rows), device=self._device), last_R])
        self._sample(rows, suffixes, logits_RV.float())
        self.stats.forwards += 1
        self.stats.rows += len(rows)
        self.stats.seats += min(self._seats, self._slots)

    def _sample(self, rows: list[_Request], suffixes: list[list[int]], logits_RV: torch.Tensor) -> None:
        temperatures_R1 = torch.tensor([[r.sampling.temperature] for r in rows], device=self._device)
        logprobs_RV = torch.log_softmax(logits_RV / temperatures_R1, dim=-1)
        if any(request.sampling.top_p < 1 for request in rows):
            top_p_R1 = torch.tensor([[r.sampling.top_p] for r in rows], device=self._device)
            logprobs_RV = _among_likeliest(logprobs_RV, top_p_R1)
        draws_R1 = torch.tensor([[r.draws[len(r.token_ids)]] for r in rows], device=self._device, dtype=torch.float64)
        cumulative_RV = logprobs_RV.double().exp().cumsum(-1)
        picked_R1 = torch.searchsorted(cumulative_RV, draws_R1 * cumulative_RV[:, -1:], right=True)
        picked_R1 = picked_R1.clamp(max=logits_RV.shape[1] - 1)
        tokens = picked_R1[:, 0].tolist()
        chosen = logprobs_RV.gather(1, picked_R1)[:, 0].tolist()
        if not all(map(math.isfinite, chosen)):
            raise ValueError("the model's logits are not finite")
        self.stats.new_tokens += len(rows)
        for request, suffix, token, logprob in zip(rows, suffixes, tokens, chosen, strict=True):
            self._kept[request.slot].extend(suffix)
            request.token_ids.append(token)
            request.logprobs.append(logprob)
            stopped = token in request.sampling.stop_ids
            if stopped or len(request.token_ids) >= len(request.draws):
                self._retire(request)
                if not request.future.done():
                    reason = "stop" if stopped else "length"
                    request.future.set_result(
                        Generation(request.token_ids, request.logprobs, reason, self._version)  # type: ignore[arg-type]
                    )


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
