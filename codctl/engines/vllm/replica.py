"""One replica under supervision: an engine that dies or hangs loses its open requests and is started again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from codctl.cod.engine import EngineError, LostError, Scores
from codctl.engines.vllm.backend import Ask, Backend, ForgottenError, Loaded, Rating, Reply
from codctl.engines.vllm.settings import EngineSettings
from codctl.errors import BackendError
from codctl.quantities import counted

T = TypeVar("T")
_PAUSE_S = 1.0
_NONE = -1  # serial of no weights
_MISSES = 2  # deadlines in a row without a reply in between, before a replica counts as hanging


class Replica:
    """See the module. Between `start` and `aclose` a task looks after it.

    Args:
        backend: How it is reached.
        settings: Of every replica.
        wanted: The weights that it shall have.
        on_restart: Called whenever it has to be started again.
    """

    def __init__(
        self,
        backend: Backend,
        settings: EngineSettings,
        wanted: Callable[[], Loaded],
        on_restart: Callable[[], None],
    ) -> None:
        self._backend, self._settings, self._wanted, self._on_restart = backend, settings, wanted, on_restart
        self._serial = _NONE
        self._ready = asyncio.Event()
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._broken: BackendError | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._is_asleep = False
        self._missed = self._in_a_row = 0
        self._replied_at = 0.0
        self._turns = asyncio.Semaphore(settings.options["max_num_seqs"])

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def max_tokens(self) -> int:
        return self._backend.max_tokens

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set() and self._broken is None

    async def start(self) -> None:
        """Start it for the first time.

        Raises:
            BackendError: When it does not start. What fails now fails for a reason that stays.
        """
        try:
            await self._backend.start()
            await self._catch_up()
        except LostError as error:
            raise BackendError(str(error), where="engine", hint="read the engine's log") from error
        self._ready.set()
        self._keeper = asyncio.create_task(self._keep(), name=f"keeper of {self.name}")

    async def until_ready(self) -> None:
        """Wait while it is started again.

        Raises:
            BackendError: It has been given up.
        """
        await self._ready.wait()
        if self._broken is not None:
            raise self._broken

    async def ask(self, ask: Ask, begin: Callable[[], None]) -> Reply:
        """One reply. `begin` is called when it is sent: what the replica cannot batch with the others waits for that.

        Raises:
            EngineError: There is none, for reasons of the request.
            LostError: The replica went away.
            BackendError: It has been given up.
        """
        async with self._turns:
            await self.until_ready()
            begin()
            return await self._unless_lost(self._backend.ask(ask))

    async def score(self, rating: Rating) -> Scores:
        """Scores of a row; errors as of `ask`."""
        async with self._turns:
            await self.until_ready()
            return await self._unless_lost(self._backend.score(rating))

    async def _unless_lost(self, asked: Coroutine[Any, Any, T]) -> T:
        lost, sent = self._lost, asyncio.get_running_loop().time()
        work = asyncio.ensure_future(asked)
        try:
            either: set[asyncio.Future[Any]] = {work, lost}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise LostError(f"{self.name} {lost.result()}")
            reply = work.result()
        except asyncio.CancelledError:
            self._note_miss(sent)
            raise
        except ForgottenError as error:
            self._lose(f"lost its weights: {error}")
            raise
        except LostError as error:
            await self._look(str(error))
            raise
        finally:
            await _end(work)
        self._missed = self._in_a_row = 0
        self._replied_at = asyncio.get_running_loop().time()
        return reply

    async def load(self) -> None:
        """Take the wanted weights; a replica that is away takes them when it is back."""
        if not self._ready.is_set():
            return
        try:
            await self._catch_up()
        except LostError as error:
            self._lose(f"did not load the new weights: {error}")

    async def sleep(self) -> None:
        await self.until_ready()
        if not self._is_asleep:
            self._is_asleep = True
            await self._backend.sleep()

    async def wake(self) -> None:
        await self.until_ready()
        if self._is_asleep:
            self._is_asleep = False
            await self._backend.wake()

    async def aclose(self) -> None:
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            await _end(keeper)
        await self._backend.stop()

    async def _keep(self) -> None:
        while True:
            reason: str | None = await self._until_lost()
            while reason is not None:
                self._lose(reason)
                reason = await self._start_again(reason)
            self._ready.set()
            if self._broken is not None:
                return

    async def _until_lost(self) -> str:
        ended = asyncio.ensure_future(self._backend.ended())
        try:
            await asyncio.wait({ended, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            return self._lost.result() if self._lost.done() else ended.result()
        finally:
            await _end(ended)

    async def _start_again(self, reason: str) -> str | None:
        """One try. Why it failed; None when it is back, or given up."""
        if self._in_a_row >= self._settings.restarts:
            self._broken = BackendError(
                f"{self.name} {reason}; it was restarted {counted(self._in_a_row, 'time')} without a reply in between",
                where="engine",
                hint="the same command continues from the newest checkpoint once the cause is gone",
            )
            await self._backend.stop(gently=False)
            return None
        await asyncio.sleep(_PAUSE_S * self._in_a_row)  # what hinders it may pass
        self._in_a_row += 1
        self._on_restart()
        self._lost, self._serial, self._missed = asyncio.get_running_loop().create_future(), _NONE, 0
        try:
            await self._backend.stop(gently=False)
            await self._backend.start()
            await self._catch_up()
            if self._is_asleep:
                await self._backend.sleep()
        except Exception as error:  # noqa: BLE001  the callers that wait must get the error
            return f"does not restart: {error}"
        return None

    async def _catch_up(self) -> None:
        """Load what is wanted, which may change meanwhile."""
        while (wanted := self._wanted()).serial != self._serial:
            if wanted.folder is not None:
                await self._backend.load(wanted)
            self._serial = wanted.serial

    def _note_miss(self, sent: float) -> None:
        """A caller has stopped to wait. When it waited long and no reply came meanwhile, the replica may hang."""
        waited_s = asyncio.get_running_loop().time() - sent
        if waited_s < self._settings.deadline_s / 2 or self._replied_at > sent:
            return
        self._missed += 1
        if self._missed >= _MISSES:
            self._lose(f"hangs: no reply for {waited_s:.0f} s")

    async def _look(self, reason: str) -> None:
        """After an error that says that it may be gone."""
        if not self._lost.done() and not await self._backend.is_well():
            self._lose(f"does not answer: {reason}")

    def _lose(self, reason: str) -> None:
        """Fail what is open and let what comes wait, at once: a trajectory would fail all its episodes in a moment."""
        self._ready.clear()
        if not self._lost.done():
            self._lost.set_result(reason)


async def _end(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait until it has ended; its result is no longer needed."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, EngineError, BackendError):
        await task
