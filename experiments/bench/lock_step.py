"""Engines that make a batch wait for its slowest reply, as trainers do that call `generate` once a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from codctl.cod.engine import Engine, EngineError, EngineStats, Generation, RequestTag, Sampling, Weights


@dataclass(frozen=True)
class Request:
    prompt_ids: Sequence[int]
    sampling: Sampling
    seed: int
    tag: RequestTag

    @property
    def phase(self) -> tuple[int, str]:
        """How far its trajectory is; a solve comes before the update of its position."""
        return self.tag.position, self.tag.kind


class Batches(Protocol):
    async def play(self, requests: Sequence[Request]) -> list[Generation]: ...


class LockStep:
    """Gathers one request of every live trajectory, has them answered together, and hands out all replies at once.

    Args:
        batches: Answers a batch.
        by_phase: Only those that are least far go on, until all have caught up: a loop over turns within a loop over
            episodes. Otherwise all go on at every turn, whatever they are at.
    """

    def __init__(self, batches: Batches, *, by_phase: bool = False) -> None:
        self._batches, self._by_phase = batches, by_phase
        self._seats = 0
        self._waiting: list[tuple[Request, asyncio.Future[Generation]]] = []
        self._playing: asyncio.Task[None] | None = None

    def open_session(self) -> None:
        self._seats += 1

    def close_session(self) -> None:
        self._seats -= 1
        self._go_on()

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        future: asyncio.Future[Generation] = asyncio.get_running_loop().create_future()
        self._waiting.append((Request(prompt_ids, sampling, seed, tag), future))
        self._go_on()
        return await future

    async def update_weights(self, weights: Weights) -> None:
        """Nothing to do: the batches are of a model that does not change here."""

    async def aclose(self) -> None:
        """Nothing is kept."""

    def _go_on(self) -> None:
        if self._waiting and len(self._waiting) == self._seats:
            chosen, self._waiting = self._waiting, []
            if self._by_phase:
                least = min(request.phase for request, _ in chosen)
                self._waiting = [pair for pair in chosen if pair[0].phase != least]
                chosen = [pair for pair in chosen if pair[0].phase == least]
            self._playing = asyncio.get_running_loop().create_task(self._play(chosen))

    async def _play(self, chosen: Sequence[tuple[Request, asyncio.Future[Generation]]]) -> None:
        try:
            replies = await self._batches.play([request for request, _ in chosen])
        except Exception as error:  # noqa: BLE001  every caller must hear of it, or it would wait for ever
            for _, future in chosen:
                future.set_exception(EngineError(str(error)))
        else:
            for (_, future), reply in zip(chosen, replies, strict=True):
                future.set_result(reply)


class OfEngine:
    """Batches by codctl's own engine, which keeps keys and values from turn to turn."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def play(self, requests: Sequence[Request]) -> list[Generation]:
        for _ in requests:
            self._engine.open_session()
        replies = await asyncio.gather(
            *(self._engine.generate(r.prompt_ids, r.sampling, seed=r.seed, tag=r.tag) for r in requests)
        )
        for _ in requests:
            self._engine.close_session()
        return replies


class OfGenerate:
    """Batches by `model.generate` of transformers: prompts padded on the left, read anew at every turn."""

    def __init__(self, model: Any, pad_id: int) -> None:
        self._model, self._pad_id = model, pad_id
        self.stats = EngineStats()

    async def play(self, requests: Sequence[Request]) -> list[Generation]:
        from transformers import GenerationConfig, StoppingCriteriaList

        width = max(len(r.prompt_ids) for r in requests)
        budgets_B = torch.tensor([r.sampling.max_new_tokens for r in requests])
        ids_BT = torch.tensor([[self._pad_id] * (width - len(r.prompt_ids)) + list(r.prompt_ids) for r in requests])
        mask_BT = torch.tensor([[0] * (width - len(r.prompt_ids)) + [1] * len(r.prompt_ids) for r in requests])

        def have_ended(ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
            self.stats.forwards += 1
            self.stats.rows += len(ids)
            return ids.shape[1] - width >= budgets_B

        found_BT = self._model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            generation_config=GenerationConfig(
                do_sample=True,
                top_k=0,
                top_p=1.0,
                max_new_tokens=int(budgets_B.max()),
                pad_token_id=self._pad_id,
                eos_token_id=-1,
            ),
            stopping_criteria=StoppingCriteriaList([have_ended]),
        )
        replies = [found_BT[row, width : width + int(budget)].tolist() for row, budget in enumerate(budgets_B)]
        return [Generation(ids, [0.0] * len(ids), "length", 0) for ids in replies]
