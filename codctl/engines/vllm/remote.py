"""A vLLM server by URL, started outside codctl: checked before it is used, waited for when it is away."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from codctl.cod.engine import EngineError, LostError
from codctl.engines.vllm.backend import Loaded
from codctl.engines.vllm.http_backend import HttpBackend, read_reply
from codctl.engines.vllm.settings import EngineSettings
from codctl.errors import BackendError

_LOOK_S = 1.0
_FLAT = 1e-3  # spread of log-probs below which temperatures cannot be told apart
_TRIAL = {"prompt": [1, 2, 3], "max_tokens": 1, "top_p": 1.0, "seed": 0, "return_token_ids": True}
_NEEDED = (
    "vllm serve {model} --logprobs-mode processed_logprobs --generation-config vllm --dtype {dtype} "
    "--enable-prompt-tokens-details{more}"
)


class Remote(HttpBackend):
    """See the module.

    Args:
        url: Up to and without `/v1`.
        settings: What the recipe asks of every replica; only what can be asked of a stranger is used.
    """

    def __init__(self, url: str, settings: EngineSettings) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        super().__init__(self._url, settings)
        self._was_up = False

    async def start(self) -> None:
        until = asyncio.get_running_loop().time() + self._settings.start_s
        while True:
            try:
                await self._connect(self._url)
                break
            except LostError as error:
                # One that was never there is a wrong URL; one that was may come back.
                if not self._was_up or asyncio.get_running_loop().time() > until:
                    raise BackendError(str(error), where="engine.servers", hint=self._how_to_start()) from error
                await asyncio.sleep(_LOOK_S)
            except EngineError as error:
                raise self._unsuitable(str(error)) from error
        try:
            async with asyncio.timeout(self._settings.start_s):
                await self._check()
        except TimeoutError:
            raise self._unsuitable(f"no reply within {self._settings.start_s:g} s") from None
        except EngineError as error:
            raise self._unsuitable(str(error)) from error
        self._was_up = True

    async def ended(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...

    async def stop(self, *, gently: bool = True) -> None:
        with contextlib.suppress(EngineError):
            await self.unload()
        await self._disconnect()

    async def _check(self) -> None:
        """Whether the server can do what training needs."""
        plain = await self._trial(1.0)
        read_reply(plain, self.name)
        warm = await self._trial(2.0)
        if not _is_scaled(_top(plain), _top(warm)):
            raise EngineError("its log-probs are not those of the distribution that it samples from")
        if self._settings.is_lora and not await self.has_route("/v1/load_lora_adapter"):
            raise EngineError("it cannot load adapters at run time")
        reloads = await self.has_route("/collective_rpc")
        if not self._settings.is_lora and not reloads:
            raise EngineError("it cannot load new weights at run time")
        await self._bring_model(reloads=reloads)

    async def _bring_model(self, *, reloads: bool) -> None:
        """Have it serve the model that training starts from, unless it does."""
        model = self._settings.model.resolve()
        hub = f"models--{self.root.replace('/', '--')}"
        if self.root == str(model) or hub in model.parts:
            return
        if not reloads:
            raise EngineError(f"it serves {self.root}, not {model}")
        await HttpBackend.load(self, Loaded(0, 0, model, is_adapter=False, name=""))

    async def _trial(self, temperature: float) -> Any:
        body = {**_TRIAL, "model": self.model, "temperature": temperature, "logprobs": 5}
        return await self.call("POST", "/v1/completions", {**body, "return_tokens_as_token_ids": True})

    def _unsuitable(self, what: str) -> BackendError:
        what = what.removeprefix(f"{self.name}: ")
        return BackendError(f"{self._url} cannot be used: {what}", where="engine.servers", hint=self._how_to_start())

    def _how_to_start(self) -> str:
        settings = self._settings
        rank = settings.options.get("max_lora_rank", 0)
        lora = f" --enable-lora --max-loras 2 --max-lora-rank {rank}" if settings.is_lora else ""
        switch = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" if settings.is_lora else "VLLM_SERVER_DEV_MODE=1"
        line = _NEEDED.format(model=settings.model.resolve(), dtype=settings.options["dtype"], more=lora)
        return f"{switch} {line}"


def _top(body: Any) -> dict[str, float]:
    try:
        found: dict[str, float] = body["choices"][0]["logprobs"]["top_logprobs"][0]
    except (KeyError, IndexError, TypeError) as error:
        raise EngineError("its replies have no log-probs") from error
    return found


def _is_scaled(plain: dict[str, float], warm: dict[str, float]) -> bool:
    """Whether differences of log-probs halve at temperature 2, as far as there are any to see."""
    common = sorted(set(plain) & set(warm), key=plain.__getitem__)
    if len(common) < 2 or (spread := plain[common[-1]] - plain[common[0]]) < _FLAT:
        return True
    return abs((warm[common[-1]] - warm[common[0]]) / spread - 0.5) < 0.25
