"""A vLLM server that codctl starts, watches and stops, reached through a socket file that only this user can open.

A socket file and no port: a server takes orders, such as to load weights, from all who reach it, and every user of
a machine reaches its ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from codctl.cod.engine import EngineError
from codctl.engines.vllm.http_backend import HttpBackend
from codctl.engines.vllm.settings import EngineSettings
from codctl.errors import BackendError, PreflightError
from codctl.processes import Child, python_path, signal_name

_LOOK_S = 0.2
_TERM_S = 15.0
_TAIL = 4000
_OF_A_LEARNER = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


class Served(HttpBackend):
    """One `vllm serve` process with what it starts.

    Args:
        number: Among the replicas.
        settings: Of every replica.
        gpus: Places of its GPUs among those of this process; empty for all.
        log: What it prints.
    """

    def __init__(self, number: int, settings: EngineSettings, gpus: tuple[int, ...], log: Path) -> None:
        where = f" on GPU {', '.join(map(str, gpus))}" if gpus else ""
        super().__init__(f"vLLM engine {number}{where}", settings)
        self._gpus, self._log = gpus, log
        self._process: Child | None = None
        self._has_ended = asyncio.Event()
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
        self._has_ended = has_ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._process = Child.start(
            command(self._settings, socket),
            env={**environment(self._settings, self._gpus), "VLLM_SERVER_DEV_MODE": "1"},
            log=self._log,
            grace_s=0,
            on_exit=lambda: _tell(loop, has_ended),
        )
        try:
            async with asyncio.timeout(self._settings.start_s):
                await self._wait_until_ready(socket)
        except TimeoutError:
            raise self._failed(f"was not ready after {self._settings.start_s:g} s", "a larger engine.start_s") from None

    async def ended(self) -> str:
        assert self._process is not None
        process = self._process
        await self._has_ended.wait()
        return f"ended with {_code(process.exit_code())}; its log is {self._log}"

    async def stop(self, *, gently: bool = True) -> None:
        await self._disconnect()
        if self._process is not None:
            process, self._process = self._process, None
            await asyncio.to_thread(process.end, _TERM_S if gently else 0)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def _wait_until_ready(self, socket: Path) -> None:
        assert self._process is not None
        while True:
            if (code := self._process.exit_code()) is not None:
                raise self._failed(f"ended with {_code(code)} while it started", "read the log")
            if socket.exists():
                with contextlib.suppress(EngineError):
                    await self._connect("http://vllm", str(socket))
                    return
            await asyncio.sleep(_LOOK_S)

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
    return {
        **settings.environment,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "60",
        **inherited,
        **devices,
        "PYTHONPATH": python_path(),
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


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """From another thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits
        loop.call_soon_threadsafe(event.set)


def _code(code: int | None) -> str:
    """As a shell counts: above 128 stands a signal."""
    name = "" if code is None else signal_name(code - 128)
    return name or f"exit code {code}"
