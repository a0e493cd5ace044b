"""A vLLM server behind HTTP: token ids out, token ids and log-probs back, weights by path."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Literal, NoReturn

import aiohttp
import numpy as np

from codctl.cod.engine import EngineError, LostError, Scores, SendError
from codctl.engines.vllm.backend import Ask, ForgottenError, Loaded, Rating, Reply
from codctl.engines.vllm.settings import EngineSettings
from codctl.log import log

_KEEP_S = 2.0  # of an idle connection; servers close theirs after five seconds
_WELL_S = 10.0
_RESETS, _RESET_S = 100, 0.1
_SHOWN = 300
_KNOWN = "already been loaded"
_GONE = 404  # an adapter that the server no longer knows
_FINISHED: dict[str, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}


class HttpBackend:
    """What servers of one's own and servers by URL have in common. `_connect` comes before everything else.

    Attributes:
        name: In messages.
        max_tokens: Longest sequence of the server.
        model: What the server calls the full weights.
        root: Where it has them from.
    """

    def __init__(self, name: str, settings: EngineSettings) -> None:
        self.name, self.max_tokens, self.model, self.root = name, 0, "", ""
        self._settings = settings
        self._http: aiohttp.ClientSession | None = None
        self._adapter = ""
        self._link = ""  # to the learner

    async def ask(self, ask: Ask) -> Reply:
        sampling = ask.sampling
        body = {
            "model": self._model_of(ask.loaded),
            "prompt": ask.prompt_ids,
            "max_tokens": ask.budget,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "seed": ask.seed,
            "stop_token_ids": list(sampling.stop_ids),
            "ignore_eos": True,  # the stop ids say it all
            "logprobs": 0,
            "return_token_ids": True,
            "cache_salt": ask.loaded.name,
        }
        return read_reply(await self.call("POST", "/v1/completions", body), self.name)

    async def score(self, rating: Rating) -> Scores:
        body = {
            "model": self._model_of(rating.loaded),
            "prompt": rating.ids,
            "max_tokens": 1,  # it samples one at least
            "temperature": 1.0,
            "prompt_logprobs": rating.top,
            "return_token_ids": True,
            "cache_salt": rating.loaded.name,
        }
        return read_scores(await self.call("POST", "/v1/completions", body), rating, self.name)

    async def load(self, loaded: Loaded) -> None:
        folder = str((loaded.folder or self._settings.model).resolve())
        if loaded.is_adapter:
            try:
                await self._control("/v1/load_lora_adapter", {"lora_name": loaded.name, "lora_path": folder})
            except LostError as error:
                if _KNOWN not in str(error):  # nothing else has this name: the server was only away for a moment
                    raise
            await self.unload()
            self._adapter = loaded.name
        else:
            if not await self._receives(loaded):
                await self._control("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": folder}})
            await self._reset_cache()

    async def _receives(self, loaded: Loaded) -> bool:
        """Take the weights from the learner itself, where it has them and the engine shall; whether they came."""
        if loaded.sender is None or not self._settings.is_direct:
            return False

        async def ask(arguments: dict[str, Any]) -> Any:
            return await self._control("/collective_rpc", {"method": "codctl_receive", "kwargs": arguments})

        try:
            processes = int(self._settings.options.get("tensor_parallel_size", 1))
            await loaded.sender.send(ask, key=self._link, processes=processes, on_gpus=self._settings.on_gpus)
        except SendError as error:
            self._link = secrets.token_hex(8)
            log.warning("%s: weights are read from their folder: %s", self.name, error)
            return False
        return True

    def _model_of(self, loaded: Loaded) -> str:
        return loaded.name if loaded.is_adapter else self.model

    async def unload(self) -> None:
        """Have the server forget the adapter in use."""
        if self._adapter:
            name, self._adapter = self._adapter, ""
            await self._control("/v1/unload_lora_adapter", {"lora_name": name})

    async def is_well(self) -> bool:
        try:
            async with asyncio.timeout(_WELL_S):
                await self.call("GET", "/health")
        except (EngineError, TimeoutError):
            return False
        return True

    async def sleep(self) -> None:
        await self._control("/sleep?level=1", {})

    async def wake(self) -> None:
        await self._control("/wake_up", {})

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request.

        Raises:
            LostError: No answer, or one that says that the server is broken or does not know the model.
            EngineError: The server refuses this request.
        """
        if self._http is None:
            raise LostError(f"{self.name}: not connected")
        try:
            status, content = await self._send(self._http, method, path, body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LostError(f"{self.name}: {str(error) or type(error).__name__}") from error
        if status >= 400:
            self._refused(status, content)
        return json.loads(content) if content.startswith((b"{", b"[")) else None

    async def _send(
        self, http: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None, *, again: bool = True
    ) -> tuple[int, bytes]:
        try:
            async with http.request(method, path, json=body) as response:
                return response.status, await response.read()
        except aiohttp.ServerDisconnectedError:  # a kept connection that the server was just closing: it has not heard
            if not again:
                raise
        return await self._send(http, method, path, body, again=False)

    async def has_route(self, path: str) -> bool:
        """Whether the server knows this address at all; an empty body is refused for other reasons."""
        try:
            await self.call("POST", path, {})
        except ForgottenError:
            return False
        except EngineError:
            return True
        return True

    async def _connect(self, base_url: str, socket: str = "") -> None:
        """Open a client and learn what is served; LostError while nothing answers."""
        await self._disconnect()
        self._link = secrets.token_hex(8)  # its processes know no earlier one
        # A client that stays fast with hundreds of connections; no proxy between an engine and its learner.
        self._http = aiohttp.ClientSession(
            base_url,
            connector=_connector(socket),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_WELL_S),  # the rollout bounds the wait for a reply
        )
        try:
            async with asyncio.timeout(_WELL_S):
                await self.call("GET", "/health")
                found = await self.call("GET", "/v1/models")
        except TimeoutError:
            raise LostError(f"{self.name}: no answer within {_WELL_S:g} s") from None
        try:
            first = found["data"][0]
            self.model, self.root, self.max_tokens = first["id"], first.get("root") or "", int(first["max_model_len"])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EngineError(f"{self.name}: the reply of /v1/models is not vLLM's: {str(found)[:_SHOWN]}") from error

    async def _disconnect(self) -> None:
        if self._http is not None:
            http, self._http = self._http, None
            await http.close()
        self._adapter = ""

    async def _control(self, path: str, body: dict[str, Any]) -> Any:
        """What no reply may wait for longer than a start: where it fails, the replica cannot go on."""
        try:
            async with asyncio.timeout(self._settings.start_s):
                return await self.call("POST", path, body)
        except TimeoutError:
            raise LostError(f"{self.name}: {path} took longer than {self._settings.start_s:g} s") from None
        except EngineError as error:
            raise LostError(str(error)) from error

    async def _reset_cache(self) -> None:
        """Requests that were just cancelled may hold blocks for a moment."""
        for _ in range(_RESETS):
            if (await self._control("/reset_prefix_cache", {}))["success"]:
                return
            await asyncio.sleep(_RESET_S)
        raise LostError(f"{self.name}: the prefix cache cannot be emptied: something is still running")

    def _refused(self, status: int, content: bytes) -> NoReturn:
        text = " ".join(content.decode(errors="replace").split())[:_SHOWN]
        message = f"{self.name}: status {status}: {text}"
        if status == _GONE:
            raise ForgottenError(message)
        raise LostError(message) if status >= 500 else EngineError(message)


def _connector(socket: str) -> aiohttp.BaseConnector:
    """Any number of connections, to a socket file if one is given."""
    if socket:
        return aiohttp.UnixConnector(socket, limit=0, keepalive_timeout=_KEEP_S)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_S)


def read_reply(body: Any, name: str) -> Reply:
    """A completion with token ids.

    Raises:
        EngineError: It has none, or was ended by the server.
    """
    try:
        choice, details = body["choices"][0], body["usage"].get("prompt_tokens_details") or {}
        token_ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        reason = choice["finish_reason"]
    except (KeyError, IndexError, TypeError) as error:
        raise EngineError(f"{name}: a reply without token ids and log-probs") from error
    if not token_ids or len(token_ids) != len(logprobs):
        raise EngineError(f"{name}: {len(token_ids or ())} token ids with {len(logprobs)} log-probs")
    if reason not in _FINISHED:
        raise LostError(f"{name}: the server ended the reply itself ({reason})")
    return Reply(token_ids, logprobs, _FINISHED[reason], int(details.get("cached_tokens") or 0))


def read_scores(body: Any, rating: Rating, name: str) -> Scores:
    """Log-probs of given tokens, found by their ids: what else is listed at a place may stand before them.

    Raises:
        EngineError: They are not there.
    """
    logprobs = np.empty(len(rating.places), np.float32)
    ids = np.empty((len(rating.places), rating.top), np.int32)
    top = np.empty((len(rating.places), rating.top), np.float32)
    try:
        listed = body["choices"][0]["prompt_logprobs"]
        if len(listed) != len(rating.ids):
            raise EngineError(f"{name}: {len(rating.ids)} tokens with {len(listed)} log-probs")
        for number, place in enumerate(rating.places):
            found = {int(token): float(one["logprob"]) for token, one in listed[place].items()}
            logprobs[number] = found[rating.ids[place]]
            likeliest = sorted(found, key=found.__getitem__, reverse=True)[: rating.top]
            ids[number], top[number] = likeliest, [found[token] for token in likeliest]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise EngineError(f"{name}: a reply without the log-probs of its prompt") from error
    return Scores(logprobs, ids, top) if rating.top else Scores(logprobs)
