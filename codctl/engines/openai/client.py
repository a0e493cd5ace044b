"""Requests to one server: a bounded number at once, each tried again where that can help, and the key kept secret.

The OpenAI SDK sends them. Trying again is ours: the SDK goes by the status alone, while gateways report passing trouble
with any status, and it bounds each read instead of the whole try.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from codctl.cod.engine import EngineError
from codctl.engines.openai.settings import EndpointSettings
from codctl.engines.openai.wire import NotTheFormatError, complaint_of, may_pass
from codctl.outcomes import ReplyFault

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_CONNECT_S = 10.0
_LONGEST_BACKOFF_S = 60.0
_Read = TypeVar("_Read")


class RequestError(EngineError):
    """A request that brought no answer to use.

    Attributes:
        reason: What happened, without the address.
        trouble: No connection, no reply in time, an error that the server reports, or a reply not in the format.
        may_pass: Whether the same request can succeed a little later.
        status: HTTP status of an error, or the one that its body names; 0 for none.
        complaint: What the server said.
        retry_after_s: How long the server asks to wait, if it does.
    """

    def __init__(
        self,
        url: str,
        reason: str,
        trouble: Literal["unreachable", "timeout", "status", "format"],
        *,
        may_pass: bool,
        status: int = 0,
        complaint: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(url, reason)
        self.url, self.reason, self.trouble, self.may_pass = url, reason, trouble, may_pass
        self.status, self.complaint, self.retry_after_s = status, complaint, retry_after_s
        self.kind = "lost" if may_pass or trouble == "format" else "rejected"

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"

    @property
    def fault(self) -> ReplyFault:
        return ReplyFault(self.kind, self.reason)


@dataclass(frozen=True)
class _Session:
    client: AsyncOpenAI
    turns: asyncio.Semaphore


class Client:
    """One server. Works in any number of event loops, one after the other.

    Attributes:
        requests: Tries so far.
        retries: Those that were not the first of their request.
    """

    def __init__(self, settings: EndpointSettings, key: str) -> None:
        self._settings, self._key = settings, key
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sessions: AsyncGenerator[_Session, None] | None = None
        self._session: _Session | None = None
        self.requests = self.retries = 0

    async def complete(
        self,
        body: dict[str, Any],
        read: Callable[[bytes], _Read],
        *,
        seed: int,
        is_patient: bool = True,
        begin: Callable[[], None] | None = None,
    ) -> _Read:
        """Ask for a chat completion and return what was read from the reply.

        Args:
            body: Of the request.
            read: Raises NotTheFormatError.
            seed: Of the jitter between tries.
            is_patient: Whether to try again also where the server cannot be reached or does not speak the format.
            begin: Called when it is sent, after its turn has come.

        Raises:
            RequestError: After the last try, or at once where another would not help.
        """
        attempts, rng = self._settings.attempts, Random(seed)
        session = await self._open_session()
        async with session.turns:  # kept while waiting to try again: a server that is busy gets fewer requests
            if begin:
                begin()
            for attempt in range(1, attempts + 1):
                try:
                    return self._read(await self._once(session, body), read)
                except RequestError as error:
                    again = error.may_pass and (is_patient or error.trouble == "status")
                    if not again or attempt == attempts or error.retry_after_s > self._settings.deadline_s:
                        error.reason += f" (after {attempt} tries)" if attempt > 1 else ""
                        raise
                    wait_s = max(error.retry_after_s, self._backoff_s(attempt, rng))
                self.retries += 1
                await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def models(self, read: Callable[[bytes], _Read]) -> _Read:
        """Ask once which models there are."""
        return self._read(await self._once(await self._open_session(), None), read)

    async def aclose(self) -> None:
        if self._sessions is not None:
            await self._sessions.aclose()
        self._loop = self._sessions = self._session = None

    async def _open_session(self) -> _Session:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop, self._sessions = loop, self._hold_session()
            self._session = await anext(self._sessions)
        return self._session

    async def _hold_session(self) -> AsyncGenerator[_Session, None]:
        """A generator because a loop closes those it has begun before it ends: connections never outlive their loop."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

        client = AsyncOpenAI(
            base_url=self._settings.url,
            api_key=self._key or "none",
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(
                timeout=Timeout(None, connect=_CONNECT_S),  # the rest is bounded by the deadline of a try
                trust_env=not self._settings.is_loopback,  # no proxy between two ends of one machine
                follow_redirects=False,
            ),
        )
        try:
            yield _Session(client, asyncio.Semaphore(self._settings.concurrency))
        finally:
            await client.close()

    async def _once(self, session: _Session, body: dict[str, Any] | None) -> bytes:
        """The bytes of a reply, or of the list of models without a body."""
        from openai import APIConnectionError, APIStatusError, Omit

        # Neither a key that is not ours nor the names of an account go to a server.
        withheld = ["OpenAI-Organization", "OpenAI-Project", *([] if self._key else ["Authorization"])]
        headers = {name: Omit() for name in withheld}
        url, deadline_s, client = self._settings.url, self._settings.deadline_s, session.client
        self.requests += 1
        try:
            async with asyncio.timeout(deadline_s):
                if body is None:
                    listed = await client.models.with_raw_response.list(extra_headers=headers)
                    return self._hide_in(listed.content)
                reply = await client.chat.completions.with_raw_response.create(**body, extra_headers=headers)
                return self._hide_in(reply.content)
        except TimeoutError:
            raise RequestError(url, f"no reply within {deadline_s:g} s", "timeout", may_pass=True) from None
        except APIStatusError as error:
            raise self._refused(error) from None
        except APIConnectionError as error:
            cause = error.__cause__ or error
            reason = self._hide(str(cause)) or type(cause).__name__
            raise RequestError(url, reason, "unreachable", may_pass=True) from None

    def _refused(self, error: APIStatusError) -> RequestError:
        response = error.response
        complaint, code = complaint_of(self._hide_in(response.content))
        complaint = self._hide(complaint) or "no reason given"
        return RequestError(
            self._settings.url,
            f"{response.status_code} {response.reason_phrase}: {complaint}",
            "status",
            may_pass=may_pass(code or response.status_code, complaint),
            status=response.status_code,
            complaint=complaint,
            retry_after_s=_seconds(response.headers.get("Retry-After", "")),
        )

    def _read(self, content: bytes, read: Callable[[bytes], _Read]) -> _Read:
        """Read a reply with status 2xx, which may hold an error all the same."""
        try:
            return read(content)
        except NotTheFormatError as error:
            reason, complaint = self._hide(str(error)), self._hide(error.complaint)
            passes = may_pass(error.code, complaint) if error.is_error else error.may_pass
            trouble: Literal["status", "format"] = "status" if error.is_error else "format"
            raise RequestError(
                self._settings.url, reason, trouble, may_pass=passes, status=error.code, complaint=complaint
            ) from None

    def _hide_in(self, content: bytes) -> bytes:
        return content.replace(self._key.encode(), b"***") if self._key else content

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _backoff_s(self, attempt: int, rng: Random) -> float:
        return float(min(self._settings.backoff_s * 2 ** (attempt - 1), _LONGEST_BACKOFF_S) * rng.uniform(0.5, 1.0))


def _seconds(retry_after: str) -> float:
    """The header's seconds or date as seconds from now; 0 when there is none to read."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0
