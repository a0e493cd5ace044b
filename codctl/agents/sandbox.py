"""A sandbox for an agent program, of the kernel's namespaces: no network, no other processes, few files.

Inside there is only loopback, and on it only the model. The program sees its own processes alone, and so no memory and
no environment of codctl's. It can write nowhere but in its own folders. Temporary folders, the user's home, codctl and
what the evaluation keeps are shown empty, but for what the program needs to run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from codctl.agents.program import Launch, Places
from codctl.agents.setup import Sandbox
from codctl.agents.world_server import RELAY
from codctl.errors import PreflightError

_INSIDE = Path(__file__).with_name("inside.py")
_PACKAGE = Path(__file__).parents[1]
_NAMESPACES = ("--user", "--map-current-user", "--keep-caps", "--mount", "--mount-proc", "--pid", "--net", "--ipc")
_UNSHARE = ("unshare", *_NAMESPACES, "--fork", "--kill-child", "--")
_ALWAYS_COVERED = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108  covered, not used
_TRIED_S = 30.0
_CHUNK = 1 << 16


def surroundings(
    sandbox: Sandbox, launch: Launch, places: Places, model_url: str, hidden: Sequence[Path]
) -> AbstractAsyncContextManager[Launch]:
    """Where a program runs: the launch as it is, or the same program in a sandbox (`shut_in`)."""
    return nullcontext(launch) if sandbox == "none" else shut_in(launch, places, model_url, hidden)


@asynccontextmanager
async def shut_in(launch: Launch, places: Places, model_url: str, hidden: Sequence[Path]) -> AsyncIterator[Launch]:
    """A launch of the same program in a sandbox, which reaches the model while the block lasts.

    Args:
        launch: The program.
        places: Where it may write.
        model_url: Where it finds the model, on this machine's loopback; the address is the same inside.
        hidden: Further folders that it must not see.
    """
    port, path = urlsplit(model_url).port, places.temp / "model.sock"
    pipes: set[asyncio.Task[Any]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            pipes.add(task)
        with suppress(OSError, asyncio.CancelledError):
            there, model = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.gather(_copy(reader, model), _copy(there, writer))
            finally:
                model.close()
        writer.close()

    server = await asyncio.start_unix_server(connect, path, start_serving=False)
    try:
        path.chmod(0o600)
        await server.start_serving()
        plan = _plan(launch, [places.home, places.work, places.temp], hidden) | {"port": port, "socket": str(path)}
        yield replace(launch, argv=_argv(plan))
    finally:
        server.close()
        for pipe in pipes:
            pipe.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)
        path.unlink(missing_ok=True)


def check_sandbox() -> None:
    """Try a sandbox on a program that does nothing.

    Raises:
        PreflightError: This machine lets this user have none; says why.
    """
    with tempfile.TemporaryDirectory(prefix="codctl-") as root:
        launch = Launch(("true",), {"PATH": os.environ.get("PATH", os.defpath)}, Path(root))
        plan = _plan(launch, [Path(root)], ()) | {"port": 1, "socket": f"{root}/none"}
        try:
            tried = subprocess.run(  # noqa: S603  a fixed command line
                _argv(plan), env=dict(launch.env), capture_output=True, text=True, timeout=_TRIED_S, check=False
            )
            problem = "" if tried.returncode == 0 else " ".join(tried.stderr.split()) or f"exit code {tried.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
    if problem:
        raise PreflightError(
            f"this machine makes no sandbox for agent programs: {problem}",
            hint="Linux with user namespaces and util-linux are needed; in a container, run codctl outside of it; "
            "or --agent-sandbox none",
        )


def _argv(plan: dict[str, Any]) -> tuple[str, ...]:
    return (*_UNSHARE, sys.executable, "-I", "-S", str(_INSIDE), json.dumps(plan))


def _plan(launch: Launch, writable: Sequence[Path], hidden: Sequence[Path]) -> dict[str, Any]:
    """What `inside.py` is told."""
    covered = [*map(Path, _ALWAYS_COVERED), Path(tempfile.gettempdir()), Path.home(), *hidden, _PACKAGE]
    kept = [RELAY, Path(sys.prefix), Path(sys.base_prefix), *_needed(launch)]
    return {
        "writable": [str(folder.resolve()) for folder in writable],
        "covered": list(dict.fromkeys(str(folder.resolve()) for folder in covered)),
        "kept": list(dict.fromkeys(str(path.resolve()) for path in kept)),
        "argv": launch.argv,
        "cwd": str(launch.cwd),
    }


def _needed(launch: Launch) -> Iterator[Path]:
    """What a program needs of folders that are covered: where it is installed, and where its interpreters are."""
    path = launch.env.get("PATH", os.defpath)
    yield from map(Path, path.split(os.pathsep))
    found = shutil.which(launch.argv[0], path=path)
    for program in [Path(found), Path(found).resolve()] if found else []:
        yield _installed(program)
        with suppress(OSError):
            settings = (_installed(program) / "pyvenv.cfg").read_text().splitlines()
            yield from (Path(line.partition("=")[2].strip()).resolve().parent for line in settings if "home" in line)
    for name in ("node", "python3"):
        if interpreter := shutil.which(name, path=path):
            yield _installed(Path(interpreter).resolve())


def _installed(program: Path) -> Path:
    """The folder that an executable was installed into, with all that came with it; never a whole home."""
    for folder in program.parents:
        if folder.name == "node_modules":
            return folder.parent
    folder = program.parent.parent if program.parent.name == "bin" else program.parent
    home = Path.home()
    return program if folder in (home, home / ".local", Path("/")) else folder


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()
