"""engine.kind=toy: samples from a server that is asked over HTTP (`toys.server`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling, Weights
from codctl.config.schema import Section
from codctl.engines.provider import EngineProvider, OpenEngine, Opening


class Options(Section):
    url: str = "http://127.0.0.1:8123"


class ToyEngine(OpenEngine):
    def __init__(self, url: str, folder: str) -> None:
        super().__init__()
        self._client, self._folder = httpx.AsyncClient(base_url=url, timeout=60), folder

    async def start(self) -> None:
        await self.update_weights(Weights(0))

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        tag.begin()
        return Generation(**await self._ask("generate", prompt_ids=list(prompt_ids), seed=seed, **vars(sampling)))

    async def update_weights(self, weights: Weights) -> None:
        await self._ask("weights", folder=str(weights.folder or self._folder), version=weights.version)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _ask(self, what: str, **values: Any) -> Any:
        try:
            return (await self._client.post(f"/{what}", json=values)).raise_for_status().json()
        except httpx.HTTPError as error:
            raise EngineError(f"the toy server: {error}") from error


class Toy(EngineProvider):
    title, options = "the toy server", Options

    def open(self, opening: Opening) -> ToyEngine:
        return ToyEngine(self.read_options(opening.config).url, str(opening.folder.absolute()))
