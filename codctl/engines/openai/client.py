"""Requests to one server: a bounded number at once, each tried again where that can help, and the key kept secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, Literal

import httpx

from codctl.cod.engine import EngineError
from codctl.engines.openai.settings import EndpointSettings
from codctl.engines.openai.wire import complaint_of

_PASSING = {408, 409, 429}  # and every 5xx
_CONNECT_S = 10.0
_LONGEST_BACKOFF_S = 60.0
_SHOWN = 300


class RequestError(EngineError):
    """A request that brought no answer to use.

    Attributes:
        reason: What happened, without the address.
        kind: No connection, no reply in time, an error status, or a reply that is not in the format.
        status: HTTP status of an error.
        complaint: What the server said, whole.
        retry_after_s: How long the server asks to wait, if it does.
    """

    def __init__(
        self,
        url: str,
        reason: str,
        kind: Literal["unreachable", "timeout", "status", "format"],
        *,
        status: int = 0,
        complaint: str = "",
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(url, reason)
        self.url, self.reason, self.kind, self.status = url, reason, kind, status
        self.complaint, self.retry_after_s = complaint, retry_after_s

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"

    @property
    def may_pass(self) -> bool:
        """Whether the same request can succeed a little later."""
        return self.kind in ("unreachable", "timeout") or self.status in _PASSING or self.status >= 500


@dataclass(frozen=True)
class _Session:
    http: httpx.AsyncClient
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

    async def post(self, path: str, body: dict[str, Any], *, seed: int, is_patient: bool = True) -> bytes:
        """Send a body and return the reply's.

        Args:
            path: After the base URL.
            body: As JSON.
            seed: Of the jitter between tries.
            is_patient: Whether to try again also where nobody answers.

        Raises:
            RequestError: After the last try, or at once where another would not help.
        """
        attempts, rng = self._settings.attempts, Random(seed)
        session = await self._open_session()
        async with session.turns:  # kept while waiting to try again: a server that is busy gets fewer requests
            for attempt in range(1, attempts + 1):
                try:
                    return await self._once(session, "POST", path, body)
                except RequestError as error:
                    again = error.may_pass and (is_patient or error.kind == "status")
                    if not again or attempt == attempts or error.retry_after_s > self._settings.deadline_s:
                        error.reason += f" (after {attempt} tries)" if attempt > 1 else ""
                        raise
                    wait_s = max(error.retry_after_s, self._backoff_s(attempt, rng))
                self.retries += 1
                await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def get(self, path: str) -> bytes:
        """Fetch once."""
        return await self._once(await self._open_session(), "GET", path, None)

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
        http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(None, connect=_CONNECT_S),  # the rest is bounded by the deadline of a try
            limits=httpx.Limits(max_connections=None),
            trust_env=not self._settings.is_loopback,  # no proxy between two ends of one machine
        )
        try:
            yield _Session(http, asyncio.Semaphore(self._settings.concurrency))
        finally:
            await http.aclose()

    async def _once(self, session: _Session, method: str, path: str, body: dict[str, Any] | None) -> bytes:
        settings = self._settings
        self.requests += 1
        try:
            async with asyncio.timeout(settings.deadline_s):
                response = await session.http.request(method, settings.url + path, json=body)
        except TimeoutError:
            raise RequestError(settings.url, f"no reply within {settings.deadline_s:g} s", "timeout") from None
        except httpx.HTTPError as error:
            reason = self._hide(str(error)) or type(error).__name__
            raise RequestError(settings.url, reason, "unreachable") from None
        if response.is_success:
            return response.content
        complaint = self._hide(complaint_of(response.content)) or "no reason given"
        raise RequestError(
            settings.url,
            f"{response.status_code} {response.reason_phrase}: {complaint[:_SHOWN]}",
            "status",
            status=response.status_code,
            complaint=complaint,
            retry_after_s=_seconds(response.headers.get("Retry-After", "")),
        )

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
