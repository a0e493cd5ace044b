"""A vLLM server of one's own: started, watched and stopped here, reached through a socket that nobody else can open.

A socket file and no port: a server takes orders, such as to load weights, from whoever reaches it, and everybody on a
machine reaches its ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from codctl.cod.engine import EngineError
from codctl.engines.vllm.guard import Guard, tell_of_self
from codctl.engines.vllm.http_backend import HttpBackend
from codctl.engines.vllm.settings import EngineSettings
from codctl.errors import BackendError, PreflightError

_LOOK_S = 0.2
_TERM_S, _KILL_S = 15.0, 10.0
_ROOT = Path(__file__).parents[3]  # where codctl is imported from
_TAIL = 4000
_OF_A_LEARNER = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


class Served(HttpBackend):
    """One `vllm serve` process with what it starts.

    Args:
        number: Among the replicas.
        settings: Of every replica.
        gpus: Places of its GPUs among those of this process; empty for all.
        guard: Ends it when this process dies.
        log: What it prints.
    """

    def __init__(self, number: int, settings: EngineSettings, gpus: tuple[int, ...], guard: Guard, log: Path) -> None:
        where = f" on GPU {', '.join(map(str, gpus))}" if gpus else ""
        super().__init__(f"vLLM engine {number}{where}", settings)
        self._gpus, self._guard, self._log = gpus, guard, log
        self._process: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None

    @property
    def pid(self) -> int:
        """Of the server, which leads its own group."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="codctl-"))  # open to this user alone
        socket = self._folder / "vllm.sock"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = await self._spawn(command(self._settings, socket), log)
        try:
            async with asyncio.timeout(self._settings.start_s):
                await self._wait_until_ready(socket)
        except TimeoutError:
            raise self._failed(f"was not ready after {self._settings.start_s:g} s", "a larger engine.start_s") from None

    async def ended(self) -> str:
        assert self._process is not None
        return f"ended with {_code(await self._process.wait())}; its log is {self._log}"

    async def stop(self, *, gently: bool = True) -> None:
        await self._disconnect()
        if self._process is not None:
            process, self._process = self._process, None
            await self._end(process, gently=gently)
            self._guard.release(process.pid)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _spawn(self, argv: list[str], log: IO[bytes]) -> asyncio.subprocess.Process:
        pipe = self._guard.start()
        return await asyncio.create_subprocess_exec(
            *argv,
            env={**environment(self._settings, self._gpus), "VLLM_SERVER_DEV_MODE": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: tell_of_self(pipe),
        )

    async def _wait_until_ready(self, socket: Path) -> None:
        assert self._process is not None
        while True:
            if self._process.returncode is not None:
                raise self._failed(f"ended with {_code(self._process.returncode)} while it started", "read the log")
            if socket.exists():
                with contextlib.suppress(EngineError):
                    await self._connect("http://vllm", str(socket))
                    return
            await asyncio.sleep(_LOOK_S)

    async def _end(self, process: asyncio.subprocess.Process, *, gently: bool) -> None:
        """End it, and whatever is left of its group."""
        for number, patience_s in ((signal.SIGTERM, _TERM_S if gently else 0), (signal.SIGKILL, _KILL_S)):
            if process.returncode is None and patience_s:
                _signal(process.pid, number)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await process.wait()
        _signal(process.pid, signal.SIGKILL)

    def _failed(self, what: str, hint: str) -> BackendError:
        return BackendError(f"{self.name} {what}: {last_error(self._log)}", where=str(self._log), hint=hint)


def command(settings: EngineSettings, socket: Path) -> list[str]:
    """The server's command line."""
    own = {
        "uds": str(socket),
        "served_model_name": "codctl",
        "enable_prompt_tokens_details": True,
        "disable_uvicorn_access_log": True,
        "uvicorn_log_level": "warning",
    }
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *_flags({**settings.options, **own})]


def environment(settings: EngineSettings, gpus: tuple[int, ...]) -> dict[str, str]:
    """Variables of a replica's processes; what the user has set comes first.

    Raises:
        PreflightError: A GPU is asked for that this process does not see.
    """
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if seen and gpus and max(gpus) >= len(seen):
        raise PreflightError(
            f"GPU {max(gpus)} is needed for sampling, but CUDA_VISIBLE_DEVICES shows {len(seen)}",
            where="cluster.gpus_per_node",
            hint=f"cluster.gpus_per_node={len(seen)}",
        )
    devices = {"CUDA_VISIBLE_DEVICES": ",".join(seen[i] if seen else str(i) for i in gpus)} if gpus else {}
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_LEARNER}
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **settings.environment,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60",
        **inherited,
        **devices,
        "PYTHONPATH": os.pathsep.join(paths),
    }


def last_error(log: Path) -> str:
    """The last line of a log that names an error, else its last line."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16 * _TAIL))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line and "Engine core initialization failed" not in line]
    return (errors or lines or ["it printed nothing"])[-1][-_TAIL:]


def _flags(options: dict[str, Any]) -> list[str]:
    found = []
    for name, value in options.items():
        found.append(f"--{'no-' if value is False else ''}{name.replace('_', '-')}")
        if not isinstance(value, bool):
            found.append(str(value))
    return found


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
