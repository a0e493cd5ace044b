"""One vLLM engine in this process's own charge, without HTTP in between. The model runs in child processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from codctl.cod.engine import EngineError
from codctl.engines.vllm.backend import Ask, Loaded, LostError, Reply
from codctl.engines.vllm.guard import Guard
from codctl.engines.vllm.served import environment
from codctl.engines.vllm.settings import EngineSettings
from codctl.errors import BackendError, PreflightError

if TYPE_CHECKING:
    import psutil

_LOOK_S = 0.2
_WELL_S = 10.0
_STOP_S = 20.0
_RESETS = 100
_OWN = {
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",  # forks would inherit the learner's threads and its hold on GPUs
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}


def check_single(engines: Sequence[tuple[int, ...]]) -> None:
    """Refuse several engines: they would share this process's one interpreter."""
    if len(engines) > 1:
        raise PreflightError(
            f"{len(engines)} engines, but engine.transport=inside runs only one",
            where="engine.transport=inside",
            hint=f"engine.transport=http, or engine.tensor_parallel={sum(map(len, engines))}",
        )


class Inside:
    """See the module. Attributes and arguments as those of `Served`."""

    def __init__(self, settings: EngineSettings, gpus: tuple[int, ...], guard: Guard) -> None:
        self.name, self.max_tokens = "vLLM engine", 0
        self._settings, self._gpus, self._guard = settings, gpus, guard
        self._engine: Any = None
        self._processes: set[psutil.Process] = set()
        self._numbers = itertools.count()
        self._adapter: Any = None

    async def start(self) -> None:
        before = _descendants(os.getpid())
        try:
            async with asyncio.timeout(self._settings.start_s):
                await asyncio.to_thread(self._open)
        except TimeoutError:
            _kill(_descendants(os.getpid()) - before)  # which also ends the thread that waits for them
            raise self._failed(f"was not ready after {self._settings.start_s:g} s") from None
        except Exception as error:  # of any kind
            raise self._failed(f"does not start: {error}") from error
        self.max_tokens = int(self._engine.model_config.max_model_len)
        self._processes = _children(self._engine)
        for process in self._processes:
            self._guard.watch(process.pid)

    async def ask(self, ask: Ask) -> Reply:
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        sampling = ask.sampling
        params = SamplingParams(
            max_tokens=ask.budget,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=ask.seed,
            stop_token_ids=list(sampling.stop_ids),
            ignore_eos=True,  # the stop ids say it all
            logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        prompt = TokensPrompt(prompt_token_ids=ask.prompt_ids, cache_salt=ask.loaded.name)
        adapter = self._adapter if ask.loaded.is_adapter else None
        replies = self._engine.generate(prompt, params, f"codctl-{next(self._numbers)}", lora_request=adapter)
        with self._errors():
            async with contextlib.aclosing(replies):
                async for reply in replies:  # the whole reply at once
                    return self._read(reply)
        raise LostError(f"{self.name}: no reply came back")

    async def load(self, loaded: Loaded) -> None:
        from vllm.lora.request import LoRARequest

        folder = str((loaded.folder or self._settings.model).resolve())
        with self._errors(lost=True):
            async with asyncio.timeout(self._settings.start_s):
                if loaded.is_adapter:
                    adapter = LoRARequest(loaded.name, loaded.serial + 1, folder)
                    await self._engine.add_lora(adapter)
                    if self._adapter is not None:
                        await self._engine.remove_lora(self._adapter.lora_int_id)
                    self._adapter = adapter
                else:
                    await self._engine.collective_rpc("reload_weights", kwargs={"weights_path": folder})
                    await self._reset_cache()

    async def is_well(self) -> bool:
        try:
            async with asyncio.timeout(_WELL_S):
                await self._engine.check_health()
        except Exception:  # noqa: BLE001  whatever it raises, it is not well
            return False
        return True

    async def ended(self) -> str:
        while not self._engine.errored:
            await asyncio.sleep(_LOOK_S)
        return "its processes have ended"

    async def sleep(self) -> None:
        with self._errors(lost=True):
            await self._engine.sleep(1)

    async def wake(self) -> None:
        with self._errors(lost=True):
            await self._engine.wake_up()

    async def stop(self, *, gently: bool = True) -> None:
        engine, self._engine, self._adapter = self._engine, None, None
        processes, self._processes = self._processes, set()
        if engine is None:
            return
        if not gently:
            _kill(processes)
        stopping = asyncio.create_task(asyncio.to_thread(engine.shutdown, 5.0))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stopping), _STOP_S)
        _kill(processes)
        for process in processes:
            self._guard.release(process.pid)
        await stopping
        del engine, stopping
        gc.collect()  # it ends itself once more where it is forgotten, which must not be when the interpreter goes

    def _open(self) -> None:
        with _environment(environment(self._settings, self._gpus)):
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM

            args = AsyncEngineArgs(**self._settings.options, disable_log_stats=True)
            self._engine = AsyncLLM.from_engine_args(args)

    async def _reset_cache(self) -> None:
        """Requests that were just cancelled may hold blocks for a moment."""
        for _ in range(_RESETS):
            if await self._engine.reset_prefix_cache():
                return
            await asyncio.sleep(_LOOK_S)
        raise LostError(f"{self.name}: the prefix cache cannot be emptied: something is still running")

    def _read(self, final: Any) -> Reply:
        output = final.outputs[0]
        if output.finish_reason not in ("stop", "length"):
            raise LostError(f"{self.name}: the engine ended the reply itself ({output.finish_reason})")
        token_ids = list(output.token_ids)
        logprobs = [float(step[token].logprob) for step, token in zip(output.logprobs, token_ids, strict=True)]
        return Reply(token_ids, logprobs, output.finish_reason, int(final.num_cached_tokens or 0))

    @contextlib.contextmanager
    def _errors(self, *, lost: bool = False) -> Iterator[None]:
        try:
            yield
        except EngineError:
            raise
        except Exception as error:
            from vllm.v1.engine.exceptions import EngineDeadError

            message = f"{self.name}: {type(error).__name__}: {error}"
            is_dead = lost or isinstance(error, EngineDeadError)
            raise (LostError(message) if is_dead else EngineError(message)) from error

    def _failed(self, what: str) -> BackendError:
        return BackendError(
            f"{self.name} {what}",
            where="engine.transport=inside",
            hint="engine.transport=http keeps a log of what went wrong",
        )


@contextlib.contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Set for as long as processes are started; they inherit it, and this process forgets it."""
    wanted = {**wanted, **_OWN}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _children(engine: Any) -> set[psutil.Process]:
    """The engine's core and its workers."""
    import psutil

    cores = {process.pid for process in engine.engine_core.resources.engine_manager.processes}
    return {psutil.Process(pid) for pid in cores}.union(*map(_descendants, cores))


def _descendants(pid: int) -> set[psutil.Process]:
    import psutil

    return set(psutil.Process(pid).children(recursive=True))


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill what still runs. psutil compares when a process started, so none is killed that got an old id since."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
