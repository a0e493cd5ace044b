"""Continuous batching on a plain `transformers` model, on CPU or GPU.

Every live conversation keeps its keys and values, found again by content, so a later turn only computes its new tokens.
What no live conversation goes on from is forgotten, and its memory given back; what does not fit the memory waits.
A forward pass takes one token of every reply and all prompts that wait, without padding. The order of work depends only
on the order of requests, and each request draws from its own seed, so results do not depend on timing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file

from codctl.cod.engine import (
    EngineError,
    EngineStats,
    Generation,
    PromptTooLongError,
    RequestTag,
    Sampling,
    Scores,
    Weights,
)
from codctl.cod.trajectory import TokenRecord
from codctl.engines.budget import BLOCK, blocks_needed, tokens_of_a_pass
from codctl.engines.kv_cache import Content, KvCache, token_bytes
from codctl.engines.picking import pick
from codctl.engines.provider import OpenEngine
from codctl.engines.readers import Reader, Whole, find_reader

_ADAPTER = "adapter_model.safetensors"
_PROMPTS_EVERY = 4  # passes, where replies go on by a replayed graph: reading prompts costs as much as some of these


@dataclass(eq=False)
class _Request:
    ids: list[int]  # of the prompt, then of the reply as well
    sampling: Sampling
    draws: np.ndarray[Any, Any]  # one uniform number per token, from the request's own seed
    future: asyncio.Future[Generation]
    tag: RequestTag
    prompt_tokens: int
    content: Content = field(default_factory=Content)
    matches: list[Content] = field(default_factory=list)  # kept when it came: what it may go on from
    logprobs: list[float] = field(default_factory=list)

    @property
    def unread(self) -> int:
        """Tokens that are to be read before the next one can be sampled."""
        return len(self.ids) - self.content.length


class TransformersEngine(OpenEngine):
    """See the module.

    `model` may be the learner's own, and go on being trained between batches; say so with `update_weights`. A copy
    takes its weights from the folder that comes with them.

    Args:
        model: Causal model, or PEFT-wrapped one.
        pad_id: Token that fills short rows, for a model that cannot read without padding.
        max_tokens: Longest sequence that the model reads.
        max_batch: Most sequences in one forward pass.
        autocast: Type of the arithmetic when it is not that of the weights: the learner's, for a model that it trains.
        memory: Most bytes of keys and values; None for no limit. One sequence may have as many tokens as fit.
        score: Gives rows their scores with this model; see `score`.
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
        score: Callable[[Sequence[TokenRecord], int], list[Scores]] | None = None,
    ) -> None:
        super().__init__()
        self._model, self._autocast, self._score = model, autocast, score
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
        self._scheduled = False
        self._passes = 0  # since prompts were read
        self._found: tuple[Reader, KvCache] | None = None
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
        future: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        request = _Request(list(prompt_ids), sampling, draws, future, tag, len(prompt_ids))
        request.matches = self._matches(request.ids)
        for content in request.matches:
            content.wanted += 1
        self._waiting.append(request)
        self._schedule()
        return await future

    async def score(self, rows: Sequence[TokenRecord], top: int = 0) -> list[Scores]:
        """See `OpenEngine.score`. The event loop waits: a pass over whole rows is the learner's work, not a batch's."""
        if self._score is None:
            return await super().score(rows, top)
        return self._score(rows, top)

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
        if self._found:
            reader, cache = self._found
            reader.forget()
            cache.clear()
        self._kept: dict[int, Content] = {}  # contents that no request extends at present, oldest use first
        self._index: dict[bytes, list[Content]] = {}  # by content, of those
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
            if self._waiting or self._running:
                self._pass()
        except Exception as error:  # noqa: BLE001  every caller has to get the error, or it would wait forever
            for request in (*self._running, *self._waiting):
                if not request.future.done():
                    request.future.set_exception(EngineError(f"{type(error).__name__}: {error}"))
            self._running, self._waiting = [], []
            self._reset_cache()
        self._schedule()

    def _pass(self) -> None:
        if self._found is None:
            whole = Whole(self._base, self._autocast, self._pad_id, self._pass_tokens)
            self._found = find_reader(whole, self._max_tokens)
        reader, cache = self._found
        self._forget_unwanted()
        while not self._make_room([]):
            self._put_back(self._running[-1])
        if self._reads_prompts(reader):
            self._admit(cache)
        self._passes += 1
        rows = self._rows(reader)
        self._forward(reader, cache, rows)

    def _reads_prompts(self, reader: Reader) -> bool:
        """Whether waiting prompts are let in: at once, but together, now and then, where a graph is replayed."""
        if reader.replays and self._passes < _PROMPTS_EVERY and len(self._waiting) < len(self._running):
            return False
        self._passes = 0
        return True

    def _admit(self, cache: KvCache) -> None:
        """Let all prompts in that the pass and the memory hold."""
        tokens = sum(request.unread for request in self._running)
        while self._waiting and len(self._running) < self._max_batch and tokens < self._pass_tokens:
            request = self._waiting[0]
            found = next(iter(self._matches(request.ids)), None)
            if not self._make_room([len(request.ids)], found):
                return
            request.content = self._taken(found) if found else Content()
            if found is None:
                cache.take(request.content)
            request.content.ids = request.ids
            self._unclaim(self._waiting.pop(0))
            self._running.append(request)  # from here on, an error reaches its caller
            request.tag.begin()
            self.stats.prompt_tokens += len(request.ids)
            self.stats.cached_tokens += request.content.length
            tokens += request.unread

    def _rows(self, reader: Reader) -> list[tuple[_Request, int]]:
        """Which requests read how many tokens now: those with one first, by slot. A long prompt is read in parts."""
        rows = [(request, 1) for request in self._running if request.unread == 1]
        left = max(1, self._pass_tokens - len(rows))
        for request in self._running:
            if request.unread > 1 and left > 0:
                count = min(request.unread, left) if reader.keeps else request.unread
                rows.append((request, count))
                left -= count
        return sorted(rows, key=lambda row: (row[1] > 1, row[0].content.slot))

    def _put_back(self, request: _Request) -> None:
        """Let a request wait whose next token has no room. Its prompt and reply so far are read again later."""
        self._running.remove(request)
        self._release(request.content)
        request.content = Content()
        request.tag.wait()
        self._waiting.insert(0, request)

    # --- kept contents --------------------------------------------------------------------------------------------

    def _make_room(self, more: list[int], needed: Content | None = None) -> bool:
        """Whether there is memory for what runs and for further sequences, if need be after forgetting kept contents.

        What no request waits for is forgotten first, then what is waited for by the last requests.

        Args:
            more: Tokens of further sequences.
            needed: A kept content that one of them goes on from.
        """
        if self._most_blocks is None:
            return True
        most = len(self._running) + len(self._kept) + len(more)
        if most * blocks_needed([self._max_tokens], self._max_tokens, self._device.type) <= self._most_blocks:
            return True
        lengths = [*(len(request.ids) for request in self._running), *more]
        others = [content for content in self._kept.values() if content is not needed]
        if not self._fits(lengths):
            return False
        while not self._fits([*lengths, *(content.length for content in others)]):
            unwanted = next((content for content in others if not content.wanted), others[-1])
            others.remove(unwanted)
            self._forget(unwanted)
        return True

    def _fits(self, lengths: list[int]) -> bool:
        assert self._most_blocks is not None
        return blocks_needed(lengths, self._max_tokens, self._device.type) <= self._most_blocks

    def _forget_unwanted(self) -> None:
        """Forget what no conversation goes on from: each has one content at most, running, waited for or just ended."""
        unwanted = [content for content in self._kept.values() if not content.wanted]
        between_requests = max(0, self._sessions - len(self._running) - len(self._waiting))
        for content in unwanted[: max(0, len(unwanted) - between_requests)]:
            self._forget(content)

    def _matches(self, ids: list[int]) -> list[Content]:
        """Kept contents that the tokens begin with, the longest first. One token at least is left to compute."""
        key = np.asarray(ids, np.int32).tobytes()
        lengths = (length for length in sorted(self._lengths, reverse=True) if length < len(ids))
        return [content for length in lengths for content in self._index.get(key[: 4 * length], ())]

    def _unclaim(self, request: _Request) -> None:
        for content in request.matches:
            content.wanted -= 1
        request.matches = []

    def _keep(self, content: Content) -> None:
        if not content.length:
            self._release(content)
            return
        content.ids = content.ids[: content.length]
        self._kept[id(content)] = content
        self._index.setdefault(_key(content), []).append(content)
        self._lengths[content.length] = self._lengths.get(content.length, 0) + 1

    def _taken(self, content: Content) -> Content:
        """A kept content that is about to be extended: it is found no more."""
        del self._kept[id(content)]
        same = self._index[_key(content)]
        same.remove(content)
        if not same:
            del self._index[_key(content)]
        self._lengths[content.length] -= 1
        if not self._lengths[content.length]:
            del self._lengths[content.length]
        return content

    def _forget(self, content: Content) -> None:
        self._release(self._taken(content))

    def _release(self, content: Content) -> None:
        if self._found:
            self._found[1].release(content)

    def _retire(self, request: _Request) -> None:
        self._running.remove(request)
        self._keep(request.content)

    # --- the model ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _forward(self, reader: Reader, cache: KvCache, rows: list[tuple[_Request, int]]) -> None:
        """Read the rows' tokens, sample the next token of each that is read to its end, and finish replies that end."""
        contents = [request.content for request, _ in rows]
        starts = [content.length for content in contents]
        news = [r.ids[start : start + count] for (r, count), start in zip(rows, starts, strict=True)]
        ends = [start + count for (_, count), start in zip(rows, starts, strict=True)]
        if reader.keeps:
            cache.prepare(contents, ends, self._most_blocks)
        sampled = [n for n, (request, _) in enumerate(rows) if ends[n] == len(request.ids)]
        picked = self._picked(reader, cache, contents, news, rows, sampled)
        if reader.keeps:
            for content, end in zip(contents, ends, strict=True):
                content.length = end
        self.stats.forwards += 1
        self.stats.rows += len(rows)
        self.stats.sessions += min(self._sessions, self._max_batch)
        self._extend([rows[n][0] for n in sampled], *picked)

    def _picked(
        self,
        reader: Reader,
        cache: KvCache,
        contents: list[Content],
        news: list[list[int]],
        rows: list[tuple[_Request, int]],
        sampled: list[int],
    ) -> tuple[list[float], list[float]]:
        """Tokens that follow the sampled rows, and their log-probs. Only here does the CPU wait for a GPU."""
        requests = [request for request, _ in rows]
        drawn_R3 = np.array([(r.sampling.temperature, r.draws[len(r.logprobs)], r.sampling.top_p) for r in requests])
        singles = sum(count == 1 for _, count in rows)
        stepped_2S = None
        if singles and bool((drawn_R3[:singles, 2] >= 1).all()):
            stepped_2S = reader.step(cache, contents[:singles], [new[0] for new in news[:singles]], drawn_R3[:singles])
        first = 0 if stepped_2S is None else singles
        parts = [] if stepped_2S is None else [stepped_2S]
        columns = [] if stepped_2S is None else [content.slot for content in contents[:singles]]
        if first < len(rows):
            logits_RV = reader(cache, contents[first:], news[first:])
            drawn = torch.from_numpy(drawn_R3[first:]).to(self._device)
            parts.append(pick(logits_RV.float(), drawn, with_top_p=bool((drawn_R3[first:, 2] < 1).any())))
            before = sum(part.shape[1] for part in parts[:-1])
            columns += range(before, before + len(rows) - first)
        tokens, logprobs = (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).tolist()
        chosen = [columns[n] for n in sampled]
        return [tokens[n] for n in chosen], [logprobs[n] for n in chosen]

    def _extend(self, requests: list[_Request], tokens: list[float], logprobs: list[float]) -> None:
        if not all(map(math.isfinite, logprobs)):
            raise ValueError("the model's logits are not finite")
        self.stats.new_tokens += len(requests)
        for request, token, logprob in zip(requests, map(int, tokens), logprobs, strict=True):
            request.ids.append(token)
            request.logprobs.append(logprob)
            stopped = token in request.sampling.stop_ids
            if stopped or len(request.logprobs) >= len(request.draws):
                self._finish(request, stopped=stopped)

    def _finish(self, request: _Request, *, stopped: bool) -> None:
        self._retire(request)
        if not request.future.done():
            tokens = request.ids[request.prompt_tokens :]
            reason: Literal["stop", "length"] = "stop" if stopped else "length"
            request.future.set_result(Generation(tokens, request.logprobs, reason, self._version))


def _key(content: Content) -> bytes:
    return np.asarray(content.ids, np.int32).tobytes()


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
