"""In vLLM's place: the routes that codctl uses, on the socket that it names, with a real model behind them.

Replies are sampled one after the other and token by token, so that each depends on its request alone, bit for bit.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import torch
from aiohttp import web
from transformers import AutoModelForCausalLM


class Served:
    """A model folder behind HTTP."""

    def __init__(self, folder: str, longest: int) -> None:
        self.longest, self.one_at_a_time = longest, asyncio.Lock()
        self.load(folder)

    def load(self, folder: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/v1/models", self.models),
                web.post("/v1/completions", self.complete),
                web.post("/collective_rpc", self.reload),
                web.post("/reset_prefix_cache", self.reset),
            ]
        )
        return app

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "m", "root": "r", "max_model_len": self.longest}]})

    async def reload(self, request: web.Request) -> web.Response:
        asked = await request.json()
        async with self.one_at_a_time:
            await asyncio.to_thread(self.load, asked["kwargs"]["weights_path"])
        return web.json_response({"results": [None]})

    async def reset(self, request: web.Request) -> web.Response:
        return web.json_response({"success": True})

    async def complete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        async with self.one_at_a_time:
            ids, logprobs = await asyncio.to_thread(self.sample, asked)
        print("a reply", flush=True)  # into the engine's log
        choice = {
            "token_ids": ids,
            "logprobs": {"token_logprobs": logprobs},
            "finish_reason": "stop" if ids[-1] in asked["stop_token_ids"] else "length",
        }
        return web.json_response({"choices": [choice], "usage": {}})

    @torch.no_grad()
    def sample(self, asked: dict[str, Any]) -> tuple[list[int], list[float]]:
        random = torch.Generator().manual_seed(asked["seed"])
        ids, logprobs = list[int](), list[float]()
        while len(ids) < asked["max_tokens"] and not set(ids[-1:]) & set(asked["stop_token_ids"]):
            logits_V = self.model(torch.tensor([[*asked["prompt"], *ids]])).logits[0, -1] / asked["temperature"]
            logprobs_V = logits_V.log_softmax(-1)
            ids.append(int(torch.multinomial(logprobs_V.exp(), 1, generator=random)))
            logprobs.append(float(logprobs_V[ids[-1]]))
        return ids, logprobs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--uds")
    parser.add_argument("--max-model-len", type=int, default=512)
    options, _ = parser.parse_known_args()
    torch.set_num_threads(1)

    async def app() -> web.Application:
        return Served(options.model, options.max_model_len).app()

    web.run_app(app(), path=options.uds, print=None)


if __name__ == "__main__":
    main()
