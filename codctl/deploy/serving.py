"""`codctl deploy`: a model behind the proxy and its hints in an agent's memory, until the person ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.agents.places import places_in, remove_left_behind
from codctl.agents.program import KEY, MODEL, ModelAccess
from codctl.contexts.exporters.base import Exported
from codctl.deploy.deployment import (
    LOCK,
    RECORD,
    Configured,
    Deployment,
    configure,
    shown,
    write_record,
)
from codctl.deploy.model import Deployed, Sampled, deployed
from codctl.errors import CodctlError, RefusedError
from codctl.files import atomic
from codctl.files.lock import holding

if TYPE_CHECKING:
    from codctl.agents.proxy.session import Exchange, Session
    from codctl.evaluate.subject import PolicyUnderTest

_LOOK_S = 0.5
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ready:
    """A deployment that is up.

    Attributes:
        deployment: What is deployed.
        subject: The model.
        model: The same, ready to answer.
        url: Of the model, without `/v1`.
        configured: How the program is started.
        exported: Where the hints are; None where the person's home is not to be written to.
        session: The folder of its record.
        version: Of the program.
    """

    deployment: Deployment
    subject: PolicyUnderTest
    model: Deployed
    url: str
    configured: Configured
    exported: Exported | None
    session: Path
    version: str

    @property
    def start(self) -> Path:
        return self.deployment.folder.absolute() / "start"


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        port: Of the proxy; 0 for any.
        sampled: How replies are sampled.
        writes: Whether hints are written into a home of the person's.
    """

    port: int = 0
    sampled: Sampled = field(default_factory=Sampled)
    writes: bool = False


def serve(
    deployment: Deployment,
    subject: PolicyUnderTest,
    wanted: Wanted,
    tell_ready: Callable[[Ready], None],
    say: Callable[[str], None],
) -> int | None:
    """Serve until Ctrl-C or a signal.

    Args:
        deployment: What is deployed.
        subject: The model.
        wanted: The rest.
        tell_ready: Called once all is up.
        say: What happens meanwhile, line by line.

    Returns:
        How many times the agent asked; None where it was ended before it was up.

    Raises:
        CodctlError: It cannot be brought up.
    """
    with _held(deployment):
        try:
            return asyncio.run(_serve(deployment, subject, wanted, tell_ready, say))
        except asyncio.CancelledError:
            return None


async def _serve(
    deployment: Deployment,
    subject: PolicyUnderTest,
    wanted: Wanted,
    tell_ready: Callable[[Ready], None],
    say: Callable[[str], None],
) -> int:
    ended, task = asyncio.Event(), asyncio.current_task()
    assert task is not None
    with _at_signals(task.cancel):  # while it is brought up
        async with contextlib.AsyncExitStack() as stack:
            temp = stack.enter_context(temporary())
            ready, session = await _brought_up(deployment, subject, wanted, temp, stack)
            with _at_signals(ended.set):
                tell_ready(ready)
                await _watch(ready, session, temp, ended, say)
            return len(session.exchanges)


async def _brought_up(
    deployment: Deployment,
    subject: PolicyUnderTest,
    wanted: Wanted,
    temp: Path,
    stack: contextlib.AsyncExitStack,
) -> tuple[Ready, Session]:
    from codctl.agents.proxy.server import ModelProxy

    remove_left_behind()
    version = deployment.program.version()
    model = await stack.enter_async_context(deployed(subject, deployment.folder / "engine.log", wanted.sampled))
    proxy = await stack.enter_async_context(ModelProxy.open(wanted.port))
    folder = deployment.new_session()
    session = proxy.session(
        model.chat,
        folder,
        max_tokens=model.max_tokens,
        name=MODEL,
        context_window=model.window,
        agent=(deployment.program.name, version),
    )
    updates = proxy.session(model.updates, None, name=MODEL, context_window=model.window)
    access = ModelAccess(session.url, KEY, MODEL, model.window, model.max_tokens)
    configured = configured_for(deployment, access, temp)
    writes = deployment.owns_home or wanted.writes
    exported = deployment.memory(temp).export() if writes else None
    ready = Ready(deployment, subject, model, session.url, configured, exported, folder, version)
    if deployment.owns_home:
        atomic.write_text(ready.start, configured.script, mode=0o700)
    write_record(deployment, _record(ready, updates.url))
    stack.callback((deployment.folder / RECORD).unlink, missing_ok=True)
    return ready, session


def configured_for(deployment: Deployment, access: ModelAccess, temp: Path) -> Configured:
    """The program configured in a home of its own, or what its configuration in a person's would be."""
    places = deployment.places(temp)
    if deployment.owns_home:
        for place in (places.home, places.work):
            atomic.make_folder(place)
        return configure(deployment.program, places, access)
    return preview(deployment, access, temp)


def preview(deployment: Deployment, access: ModelAccess, temp: Path) -> Configured:
    """What the program needs where it lives, without anything being written there."""
    with temporary() as aside:
        return shown(deployment.program, places_in(aside), access, deployment.places(temp))


async def _watch(ready: Ready, session: Session, temp: Path, ended: asyncio.Event, say: Callable[[str], None]) -> None:
    """Tell of each reply, and keep the hints in the program's memory in step with the context."""
    told, revision = 0, ready.deployment.context.head().number
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await ended.wait()
        for exchange in session.exchanges[told:]:
            say(_line(exchange))
        told = len(session.exchanges)
        if ready.exported and ready.exported.path:
            revision = _kept_in_step(ready, temp, revision, say)


def _kept_in_step(ready: Ready, temp: Path, revision: int, say: Callable[[str], None]) -> int:
    try:
        head = ready.deployment.context.head().number
        if head == revision:
            return revision
        done = ready.deployment.memory(temp).export()
        say(f"revision {head} of {ready.deployment.context.name} is in {done.path}")
    except CodctlError as error:
        head = _head(ready, revision)
        say(f"the agent's memory stays as it is: {error.message}{f'; {error.hint}' if error.hint else ''}")
    return head


def _head(ready: Ready, usual: int) -> int:
    try:
        return ready.deployment.context.head().number
    except CodctlError:
        return usual


def _line(exchange: Exchange) -> str:
    if exchange.reply is None:
        return f"request {exchange.number}: no reply: {exchange.error}"
    reply = exchange.reply
    calls = ", ".join(call.name for call in reply.tool_calls)
    counted = f"{reply.prompt_tokens:,} tokens read, " if reply.prompt_tokens is not None else ""
    written = f"{reply.completion_tokens:,} written, " if reply.completion_tokens is not None else ""
    cut = ", cut at the limit" if reply.finish == "length" else ""
    return f"reply {exchange.number}: {counted}{written}{exchange.seconds:.1f} s{f', calls {calls}' * bool(calls)}{cut}"


def _record(ready: Ready, updates_url: str) -> dict[str, Any]:
    settings = ready.model.settings
    return {
        "agent": ready.deployment.program.name,
        "model": ready.subject.name,
        "url": f"{updates_url}/v1",
        "rendering": settings.rendering,
        "update": settings.update,
        "update_tokens": settings.update_tokens,
        "temperature": settings.temperature,
        "window": ready.model.window,
        "pid": os.getpid(),
    }


@contextlib.contextmanager
def _held(deployment: Deployment) -> Iterator[None]:
    """Hold the deployment's lock, so that there is one of it.

    Raises:
        RefusedError: It runs already.
    """
    path = deployment.folder / LOCK
    atomic.make_folder(path.parent)
    with holding(path) as is_alone:
        if not is_alone:
            raise RefusedError(
                f"{deployment.program.title} with context {deployment.context.name} is deployed already",
                where=str(path.parent),
                hint="end it with Ctrl-C, or name another context with --context",
            )
        yield


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """A folder for temporary files, named as `remove_left_behind` knows it; resolved, since programs compare paths."""
    path = Path(tempfile.mkdtemp(prefix=f"codctl-{os.getpid()}-")).resolve()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _at_signals(act: Callable[[], object]) -> Iterator[None]:
    """Do this at Ctrl-C and the signals to end; afterwards they do what they did."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number in _ENDING:
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
