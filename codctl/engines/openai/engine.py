"""Any OpenAI-compatible server as an engine of evaluations: text goes out, text comes back, no log-probs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from codctl.cod.engine import Generation, RequestTag, Sampling, Weights
from codctl.engines.openai.chat import MessageChat
from codctl.engines.openai.client import Client, RequestError
from codctl.engines.openai.diagnosis import diagnose
from codctl.engines.openai.settings import EndpointSettings, read_key
from codctl.engines.openai.wire import Completion, Dialect, read_completion
from codctl.envs.base import Message

__all__ = ["EndpointSettings", "MessageChat", "OpenAIEngine", "open_endpoint"]

_TRIAL = Sampling(max_new_tokens=16)  # some models refuse less
# The roles of a real conversation, in their order: servers refuse some of them, or want them in turn.
_TRIAL_MESSAGES: tuple[Message, ...] = (
    {"role": "system", "content": "Answer with one word."},
    {"role": "user", "content": "Say yes."},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "Again."},
)


def open_endpoint(settings: EndpointSettings) -> tuple[OpenAIEngine, MessageChat]:
    """The engine and the chat that goes with it. Nothing is sent before `probe` or the first reply is asked for."""
    chat = MessageChat()
    return OpenAIEngine(settings, chat), chat


class OpenAIEngine:
    """See the module. Trajectories need no sessions: the server batches what is in flight."""

    def __init__(self, settings: EndpointSettings, chat: MessageChat) -> None:
        key = read_key(settings)
        self._settings, self._chat, self._has_key = settings, chat, bool(key)
        self._client = Client(settings, key)
        self._dialect = Dialect()
        self._counts = dict.fromkeys(("replies", "cut_short", "failed", "uncounted"), 0)
        self._tokens = [0, 0]

    @property
    def stats(self) -> dict[str, Any]:
        """What was used so far, for the result: counts of requests and replies, tokens as the server counts them.

        `uncounted` replies came without a count: tokens and cost are then a lower bound, and None if none was counted.
        `cost` is there when prices are, in their currency.
        """
        prompt, completion = self._tokens
        is_counted = self._counts["uncounted"] < max(self._counts["replies"], 1)
        found: dict[str, Any] = {
            "requests": self._client.requests,
            "retries": self._client.retries,
            **self._counts,
            "prompt_tokens": prompt if is_counted else None,
            "completion_tokens": completion if is_counted else None,
        }
        prices = self._settings.price_prompt, self._settings.price_completion
        if prices != (None, None):
            cost = (prompt * (prices[0] or 0.0) + completion * (prices[1] or 0.0)) / 1e6
            found["cost"] = cost if is_counted else None
        return {**found, "notes": list(self._dialect.notes)}

    async def probe(self, sampling: Sampling = _TRIAL) -> None:
        """Ask for one short reply in the way of the real requests, so that what is wrong is said before playing.

        Args:
            sampling: Of the real requests.

        Raises:
            BackendError: The endpoint cannot be used. A server that is only busy is asked again first.
        """
        try:
            await self._complete(_TRIAL_MESSAGES, sampling, seed=0, is_trial=True)
        except RequestError as error:
            has_replied = self._counts["replies"] > 0
            raise await diagnose(
                error, self._settings, self._client, has_key=self._has_key, has_replied=has_replied
            ) from None

    def open_session(self) -> None: ...

    def close_session(self) -> None: ...

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, seed: int, tag: RequestTag
    ) -> Generation:
        completion = await self.chat(self._chat.messages(prompt_ids), sampling, seed=seed, begin=tag.begin)
        token_ids = self._chat.encode(completion.text)
        if not completion.is_cut:
            token_ids.append(self._chat.stop_ids[0])
        reason: Literal["length", "stop"] = "length" if completion.is_cut else "stop"
        return Generation(token_ids, [0.0] * len(token_ids), reason, 0, completion.fault)

    async def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        sampling: Sampling,
        *,
        seed: int,
        begin: Callable[[], None] | None = None,
        more: Mapping[str, Any] | None = None,
        wants_tokens: bool = False,
    ) -> Completion:
        """A reply to messages as they are.

        Args:
            messages: In OpenAI's format.
            sampling: Of the reply.
            seed: Of the sampling, where the server takes one.
            begin: Called when the request is sent.
            more: Further keys of the request, such as tools.
            wants_tokens: Whether to ask for token ids and log-probs, unless the server refuses to give them.

        Raises:
            RequestError: There is none.
        """
        try:
            completion = await self._complete(
                messages, sampling, seed=seed, begin=begin, more=more, wants_tokens=wants_tokens
            )
        except RequestError:
            self._counts["failed"] += 1
            raise
        self._counts["cut_short"] += completion.is_cut
        return completion

    async def update_weights(self, weights: Weights) -> None: ...

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        sampling: Sampling,
        *,
        seed: int,
        is_trial: bool = False,
        begin: Callable[[], None] | None = None,
        more: Mapping[str, Any] | None = None,
        wants_tokens: bool = False,
    ) -> Completion:
        while True:
            plain = self._dialect.request(self._settings.model, messages, sampling, seed, wants_tokens=wants_tokens)
            body = {**plain, **(more or {})}
            try:
                completion = await self._client.complete(
                    body, read_completion, seed=seed, is_patient=not is_trial, begin=begin
                )
                break
            except RequestError as error:
                if error.trouble != "status" or not self._dialect.adapt(body, error.complaint):
                    raise
        self._count(completion)
        return completion

    def _count(self, completion: Completion) -> None:
        self._counts["replies"] += 1
        if completion.tokens is None:
            self._counts["uncounted"] += 1
        else:
            self._tokens = [sum(pair) for pair in zip(self._tokens, completion.tokens, strict=True)]
