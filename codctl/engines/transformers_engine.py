"""Continuous batching on a plain `transformers` model, on CPU or GPU.

Every live conversation keeps its keys and values, found again by content, so a later turn only computes its new tokens.
What no live conversation goes on from is forgotten, and its memory given back; what does not fit the memory waits.
Replies that end make room at once: none waits for the slowest of a batch. The order of work depends only on the
order of requests, and each request draws from its own seed, so results do not depend on timing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from codctl.cod.engine import EngineError, EngineStats, Generation, PromptTooLongError, RequestTag, Sampling, Weights
from codctl.engines.budget import BLOCK, blocks_for, tokens_of_a_pass
from codctl.engines.kv_cache import Content, KvCache, token_bytes
from codctl.engines.provider import OpenEngine

_ADAPTER = "adapter_model.safetensors"


@dataclass(eq=False)
class _Request:
    prompt_ids: list[int]
    sampling: Sampling
    draws: np.ndarray[Any, Any]  # one uniform number per token, from the request's own seed
    future: asyncio.Future[Generation]
    tag: RequestTag
    content: Content = field(default_factory=Content)
    matches: list[Content] = field(default_factory=list)  # kept when it came: what it may go on from
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        return self.prompt_ids + self.token_ids


class TransformersEngine(OpenEngine):
    """See the module.

    `model` may be the learner's own, and go on being trained between batches; say so with `update_weights`. A copy
    takes its weights from the folder that comes with them.

    Args:
        model: Causal model, or PEFT-wrapped one.
        pad_id: Token that fills short rows.
        max_tokens: Longest sequence that the model reads.
        max_batch: Most sequences in one forward pass.
        autocast: Type of the arithmetic when it is not that of the weights: the learner's, for a model that it trains.
        memory: Most bytes of keys and values; None for no limit. One sequence may have as many tokens as fit.
    """

    def __init__(
        self,
        model: Any,
        *,
        pad_id: int,
        max_tokens: int,
        max_batch: int = 256,
        autocast: torch.dtype | None = None,
        memory: int | None = None,
    ) -> None:
        super().__init__()
        self._model, self._autocast = model, autocast
        self._base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._device = next(model.parameters()).device
        number = (autocast or next(model.parameters()).dtype).itemsize
        of_block = BLOCK * token_bytes(self._base.config, number)
        self._most_blocks = max(1, memory // of_block) if memory is not None else None
        self._max_tokens = min(max_tokens, self._most_blocks * BLOCK) if self._most_blocks else max_tokens
        self._pad_id, self._max_batch = pad_id, max_batch
        parameters = sum(int(weights.numel()) for weights in model.parameters())
        self._pass_tokens = tokens_of_a_pass(parameters, self._device.type)
        self._sessions = 0
        self._version = 0
        self._waiting: list[_Request] = []
        self._running: list[_Request] = []
        self._is_cut = False  # whether the last admission was more than one pass may read
        self._scheduled = False
        self._cache = KvCache(self._base.config.get_text_config().num_hidden_layers, autocast)
        self._reset_cache()

    # --- what the rollout calls -----------------------------------------------------------------------------------

    def open_session(self) -> None:
        self._sessions += 1

    def close_session(self) -> None:
        self._sessions -= 1
        if not self._sessions and not self._waiting and not self._running:
            self._reset_cache()
        self._schedule()

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        room = self._max_tokens - len(prompt_ids)
        if room < 1:
            is_memory = self._most_blocks is not None and self._most_blocks * BLOCK == self._max_tokens
            what = "there is memory for" if is_memory else "the model reads"
            raise PromptTooLongError(f"the prompt has {len(prompt_ids)} tokens, {what} {self._max_tokens}")
        budget = min(sampling.max_new_tokens, room)
        draws = np.random.Generator(np.random.Philox(seed)).random(budget)
        request = _Request(list(prompt_ids), sampling, draws, asyncio.get_running_loop().create_future(), tag)
        request.matches = self._matches(request.prompt_ids)
        for content in request.matches:
            content.wanted += 1
        self._waiting.append(request)
        self._schedule()
        return await request.future

    async def update_weights(self, weights: Weights) -> None:
        if self._running or self._waiting:
            raise EngineError("weights cannot change while replies are being sampled")
        self._reset_cache()
        if weights.folder is not None:
            load_published(self._model, weights.folder)
        self._version = weights.version
        self.stats = EngineStats()

    async def aclose(self) -> None:
        self._reset_cache()

    # --- scheduling -----------------------------------------------------------------------------------------------

    def _reset_cache(self) -> None:
        self._cache.clear()
        self._kept: dict[int, Content] = {}  # contents that no request extends at present, oldest use first
        self._index: dict[bytes, Content] = {}  # by content, of those
        self._lengths: dict[int, int] = {}  # length of such contents → how many

    def _schedule(self) -> None:
        if not self._scheduled and (self._waiting or self._running):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """One forward pass, then let the loop run those whose replies are done."""
        self._scheduled = False
        for request in [r for r in self._waiting if r.future.cancelled()]:
            self._waiting.remove(request)
            self._unclaim(request)
        for request in [r for r in self._running if r.future.cancelled()]:
            self._retire(request)
        try:
            self._forget_unwanted()
            if not (self._should_admit() and self._admit()) and self._running:
                self._decode()
        except Exception as error:  # noqa: BLE001  every caller has to get the error, or it would wait forever
            for request in (*self._running, *self._waiting):
                if not request.future.done():
                    request.future.set_exception(EngineError(f"{type(error).__name__}: {error}"))
            self._running, self._waiting, self._is_cut = [], [], False
            self._reset_cache()
        if self._running or self._should_admit():
            self._schedule()

    def _should_admit(self) -> bool:
        """Prompts wait until enough of them make a batch: one row costs nearly as much as many."""
        if not self._waiting or len(self._running) >= self._max_batch:
            return False
        everyone_waits = len(self._waiting) + len(self._running) >= min(self._sessions, self._max_batch)
        if not self._running:
            return everyone_waits
        return self._is_cut or len(self._waiting) >= max(1, len(self._running) // 2)

    def _admit(self) -> bool:
        """Read as many prompts as a pass and the memory hold; False when not even one fits yet."""
        batch, suffixes, longest = list[_Request](), list[list[int]](), 0
        self._is_cut = False
        while self._waiting and len(self._running) < self._max_batch:
            request = self._waiting[0]
            ids, found = request.ids, next(iter(self._matches(request.ids)), None)
            suffix = ids[len(found.ids) if found else 0 :]
            longest = max(longest, len(suffix))
            self._is_cut = bool(batch) and (len(batch) + 1) * longest > self._pass_tokens
            missing = blocks_for(len(ids)) - (len(found.blocks) if found else 0)
            to_go_on = len(self._running)  # blocks
            if self._is_cut or not self._make_room(missing + to_go_on, found):
                break
            request.content = self._taken(found) if found else Content()
            if len(suffix) > self._pass_tokens:
                self._read_part(request, suffix[: self._pass_tokens])
                return True
            self._cache.extend(request.content, len(ids))
            self._unclaim(self._waiting.pop(0))
            self._running.append(request)  # from here on, an error reaches its caller
            batch.append(request)
            request.tag.begin()
            suffixes.append(suffix)
            self.stats.prompt_tokens += len(ids)
            self.stats.cached_tokens += len(ids) - len(suffix)
        if batch:
            self._forward(batch, suffixes)
        return bool(batch)

    def _read_part(self, request: _Request, part: list[int]) -> None:
        """Read the next part of a prompt that is too long for one pass. The request waits, and goes on from there."""
        content = request.content
        self._cache.extend(content, len(content.ids) + len(part))
        request.tag.begin()
        self._read([request], [part])
        content.ids.extend(part)
        self.stats.cached_tokens -= len(part)  # it is found in the cache later, and yet was read
        if content not in request.matches:
            request.matches.append(content)
            content.wanted += 1
        request.content = Content()
        self._keep(content)
        self._is_cut = True

    def _decode(self) -> None:
        while not self._make_room(sum(len(r.content.ids) % BLOCK == 0 for r in self._running)):
            self._put_back(self._running[-1])
        for request in self._running:
            self._cache.extend(request.content, len(request.content.ids) + 1)
        self._forward(self._running[:], [[request.token_ids[-1]] for request in self._running])

    def _put_back(self, request: _Request) -> None:
        """Let a request wait whose next token has no room. Its prompt and reply so far are read again later."""
        self._running.remove(request)
        self._cache.release(request.content)
        request.content = Content()
        request.tag.wait()
        self._waiting.insert(0, request)

    # --- kept contents --------------------------------------------------------------------------------------------

    def _make_room(self, blocks: int, needed: Content | None = None) -> bool:
        """Whether so many blocks are free, if need be after forgetting kept contents other than the one needed.

        What no request waits for is forgotten first, then what is waited for by the last requests.
        """
        if self._most_blocks is None:
            return True
        excess = self._cache.used + blocks - self._most_blocks
        others = [content for content in self._kept.values() if content is not needed]
        if excess > sum(len(content.blocks) for content in others):
            return False
        unwanted = [content for content in others if not content.wanted]
        for content in [*unwanted, *(content for content in reversed(others) if content.wanted)]:
            if self._cache.used + blocks <= self._most_blocks:
                break
            self._forget(content)
        return True

    def _forget_unwanted(self) -> None:
        """Forget what no conversation goes on from: each has one content at most, running, waited for or just ended."""
        unwanted = [content for content in self._kept.values() if not content.wanted]
        between_requests = max(0, self._sessions - len(self._running) - len(self._waiting))
        for content in unwanted[: max(0, len(unwanted) - between_requests)]:
            self._forget(content)
        if unwanted:
            self._cache.shrink([*self._kept.values(), *(request.content for request in self._running)])

    def _matches(self, ids: list[int]) -> list[Content]:
        """Kept contents that the tokens begin with, the longest first. One token at least is left to compute."""
        key = np.asarray(ids, np.int32).tobytes()
        lengths = (length for length in sorted(self._lengths, reverse=True) if length < len(ids))
        return [found for length in lengths if (found := self._index.get(key[: 4 * length]))]

    def _unclaim(self, request: _Request) -> None:
        for content in request.matches:
            content.wanted -= 1
        request.matches = []

    def _keep(self, content: Content) -> None:
        key = np.asarray(content.ids, np.int32).tobytes()
        if not content.ids or key in self._index:
            self._cache.release(content)
            return
        self._kept[id(content)] = self._index[key] = content
        self._lengths[len(content.ids)] = self._lengths.get(len(content.ids), 0) + 1

    def _taken(self, content: Content) -> Content:
        """A kept content that is about to be extended: it is found no more."""
        del self._kept[id(content)]
        del self._index[np.asarray(content.ids, np.int32).tobytes()]
        self._lengths[len(content.ids)] -= 1
        if not self._lengths[len(content.ids)]:
            del self._lengths[len(content.ids)]
        return content

    def _forget(self, content: Content) -> None:
        self._cache.release(self._taken(content))

    def _retire(self, request: _Request) -> None:
        self._running.remove(request)
        self._keep(request.content)

    # --- the model ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _forward(self, rows: list[_Request], suffixes: list[list[int]]) -> None:
        """Run the rows' new tokens, sample the next token of each, and finish the replies that end."""
        self._sample(rows, suffixes, self._read(rows, suffixes).float())

    @torch.no_grad()
    def _read(self, rows: list[_Request], suffixes: list[list[int]]) -> torch.Tensor:
        """Run the rows' new tokens; the logits of what follows the last one of each."""
        starts = [len(request.content.ids) for request in rows]
        ends = [start + len(suffix) for start, suffix in zip(starts, suffixes, strict=True)]
        longest, reach = max(map(len, suffixes)), max(ends)
        ids = np.full((len(rows), longest), self._pad_id)
        positions = np.full((len(rows), longest), reach)  # padding sees everything, and nothing sees it
        for row, (start, end, suffix) in enumerate(zip(starts, ends, suffixes, strict=True)):
            ids[row, : len(suffix)] = suffix
            positions[row, : len(suffix)] = np.arange(start, end)
        positions_RQ = torch.from_numpy(positions).to(self._device)
        self._cache.aim([request.content for request in rows], starts, ends, self._device)
        seen_RQT = torch.arange(reach, device=self._device)[None, None] <= positions_RQ[:, :, None]
        with torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None):
            hidden_RQW = self._base.get_decoder()(
                input_ids=torch.from_numpy(ids).to(self._device),
                attention_mask=seen_RQT[:, None],
                position_ids=positions_RQ.clamp(max=self._max_tokens - 1),
                past_key_values=self._cache,
                use_cache=True,
            ).last_hidden_state
            last_R = torch.tensor([len(suffix) - 1 for suffix in suffixes], device=self._device)
            head = self._base.get_output_embeddings()
            logits_RV: torch.Tensor = head(hidden_RQW[torch.arange(len(rows), device=self._device), last_R])
        self.stats.forwards += 1
        self.stats.rows += len(rows)
        self.stats.sessions += min(self._sessions, self._max_batch)
        return logits_RV

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
            request.content.ids.extend(suffix)
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


def load_published(model: Any, folder: Path) -> None:
    """Copy the weights of a folder into a model.

    Args:
        model: Causal model; PEFT-wrapped when the folder holds an adapter.
        folder: Hugging Face model folder in safetensors, or a PEFT adapter's. Tied weights may be missing.

    Raises:
        ValueError: The folder holds weights of another model.
    """
    if (folder / _ADAPTER).is_file():
        from peft import set_peft_model_state_dict

        unexpected = set_peft_model_state_dict(model, load_file(folder / _ADAPTER)).unexpected_keys
    else:
        parts = sorted(folder.glob("*.safetensors"))
        unexpected = [
            key for part in parts for key in model.load_state_dict(load_file(part), strict=False).unexpected_keys
        ]
    if unexpected:
        raise ValueError(f"{folder} holds weights of another model: {unexpected[0]} and {len(unexpected) - 1} more")
