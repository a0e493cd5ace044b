"""The model proxy: an HTTP server on loopback that answers agent programs with the model of their session."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.agents.proxy.anthropic_dialect import AnthropicDialect
from codctl.agents.proxy.dialect import Dialect, RequestError, as_bytes
from codctl.agents.proxy.models import ChatModel, ChatReply
from codctl.agents.proxy.openai_dialect import OpenAIDialect
from codctl.agents.proxy.session import Session
from codctl.cod.engine import EngineError
from codctl.errors import BackendError, PreflightError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_Answer = Callable[[Session, "Request", Dialect], Awaitable["Response"]]
_HOST = "127.0.0.1"
_MOST_BYTES = 32 << 20  # of a request
_PING_S = 5.0  # without a reply; a failure before then still has a status of its own
_KEEP_S = 3600  # of a connection: one that is closed while a tool works may be used again at that very moment
_START_S, _STOP_S = 10.0, 2
_NO_RETRY = {"x-should-retry": "false"}  # the model's own client has tried again; the SDKs of both formats obey


class ModelProxy:
    """See the module. `async with ModelProxy.open() as proxy`.

    Attributes:
        port: That it listens on, at 127.0.0.1 alone.
        url: Its address.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://{_HOST}:{port}"
        self._sessions: dict[str, Session] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, port: int = 0) -> AsyncIterator[ModelProxy]:
        """Serve until the block ends, in this event loop.

        Args:
            port: To listen on; any free one by default.

        Raises:
            PreflightError: The port is taken.
        """
        with _listening(port) as listener:
            proxy = cls(listener.getsockname()[1])
            async with _serving(proxy.app(), listener):
                try:
                    yield proxy
                finally:
                    for session in list(proxy._sessions.values()):
                        session.close()

    def session(
        self,
        model: ChatModel,
        folder: Path | None,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        name: str = "model",
        context_window: int | None = None,
        agent: tuple[str, str] = ("", ""),
    ) -> Session:
        """Begin a session. See `Session` for what the arguments are."""
        begun = Session(
            model,
            folder,
            self.url,
            self._forget,
            max_calls=max_calls,
            max_tokens=max_tokens,
            name=name,
            context_window=context_window,
            agent=agent,
        )
        self._sessions[begun.id] = begun
        return begun

    def _forget(self, closed: str) -> None:
        self._sessions.pop(closed, None)

    def app(self) -> Starlette:
        from starlette.applications import Starlette
        from starlette.routing import Route

        openai, anthropic = OpenAIDialect(), AnthropicDialect()
        models = self._route(self._models, openai)
        return Starlette(
            routes=[
                Route("/s/{id}/v1/chat/completions", self._route(self._answer, openai), methods=["POST"]),
                Route("/s/{id}/v1/messages", self._route(self._answer, anthropic), methods=["POST"]),
                Route("/s/{id}/v1/messages/count_tokens", self._route(self._count_tokens, anthropic), methods=["POST"]),
                Route("/s/{id}/v1/models", models),
                Route("/s/{id}/v1/models/{name:path}", models),
                Route("/{anything:path}", _nothing, methods=["GET", "HEAD", "POST", "OPTIONS"]),
            ]
        )

    def _route(self, answer: _Answer, dialect: Dialect) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            try:
                session = self._sessions.get(request.path_params["id"])
                if session is None:
                    raise RequestError("no such session", 404)
                return await answer(session, request, dialect)
            except RequestError as error:
                return _refusal(dialect, error.status, str(error))

        return answered

    async def _answer(self, session: Session, request: Request, dialect: Dialect) -> Response:
        body = await _body(request)
        asked = dialect.read(body)
        model, streamed = str(body.get("model") or session.name), body.get("stream") is True
        task = session.ask(asked, dialect=dialect.name, model=model, streamed=streamed)
        number = session.calls
        await asyncio.wait([task], timeout=_PING_S if streamed else None)
        if task.done() and (failure := _failure(task)):
            raise failure
        if streamed:
            return _stream(dialect, task, model, number, body)
        return _json(dialect.whole(task.result(), model, number))

    async def _count_tokens(self, session: Session, request: Request, dialect: Dialect) -> Response:
        asked = dialect.read(await _body(request))
        return _json({"input_tokens": asked.estimated_tokens})

    async def _models(self, session: Session, request: Request, dialect: Dialect) -> Response:
        about = {"id": session.name, "object": "model", "owned_by": "codctl", "created": 0}
        if session.context_window:
            about |= {"max_model_len": session.context_window, "context_length": session.context_window}
        if "name" in request.path_params:
            return _json(about)
        return _json({"object": "list", "data": [about]})


async def _nothing(request: Request) -> Response:
    """Programs ask for paths of other servers, to find out which one this is."""
    from starlette.responses import Response

    if request.method == "HEAD":
        return Response()
    return _refusal(OpenAIDialect(), 404, "not found")


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
        RequestError: It is none, or too long.
    """
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > _MOST_BYTES:
            raise RequestError(f"the request is longer than {_MOST_BYTES >> 20} MiB", 413)
    try:
        body = json.loads(found)
        if b"\\ud" in found.lower():  # perhaps half a surrogate pair, which no tokenizer takes
            body = json.loads(as_bytes(body))
    except (ValueError, RecursionError):
        raise RequestError("the request is not JSON") from None
    if not isinstance(body, dict):
        raise RequestError("the request is not a JSON object")
    return body


def _stream(dialect: Dialect, task: asyncio.Task[ChatReply], model: str, number: int, body: dict[str, Any]) -> Response:
    from starlette.responses import StreamingResponse

    async def events() -> AsyncIterator[bytes]:
        for event in dialect.begin(model, number):
            yield event
        while not task.done():
            await asyncio.wait([task], timeout=_PING_S)
            if not task.done():
                yield dialect.ping
        if failure := _failure(task):
            yield dialect.error_event(failure.status, str(failure))
            return
        for event in dialect.events(task.result(), model, number, body):
            yield event

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-cache"})


def _failure(task: asyncio.Task[ChatReply]) -> RequestError | None:
    """What to answer where a task that is done has no reply."""
    if task.cancelled():
        return RequestError("the session is closed", 410)
    error = task.exception()
    if isinstance(error, EngineError):
        return RequestError(str(error), 400 if error.kind == "rejected" else 502)
    return None


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    from starlette.responses import Response

    return Response(as_bytes(value), status, headers, "application/json")


def _refusal(dialect: Dialect, status: int, message: str) -> Response:
    return _json(dialect.error(status, message), status, _NO_RETRY)


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise PreflightError(
                f"the model proxy cannot listen on port {port}: {error.strerror}",
                where=f"{_HOST}:{port}",
                hint="--port P takes another one; without it, any free port is taken",
            ) from error
        yield listener


@contextlib.asynccontextmanager
async def _serving(app: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """Serve with uvicorn, whose signal handlers stay out: codctl has its own."""
    import uvicorn

    class Server(uvicorn.Server):
        def capture_signals(self) -> Any:
            return contextlib.nullcontext()

    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_S,
        timeout_graceful_shutdown=_STOP_S,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                while not server.started and not task.done():
                    await asyncio.sleep(0.005)
        if not server.started:
            raise BackendError(f"the model proxy did not start within {_START_S:g} s", hint="try again")
        yield
    finally:
        server.should_exit = True
        await task
