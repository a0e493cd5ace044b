"""`subprocess.Popen` without the seconds of importing torch: our processes are forked from one that has done so.

`install()` lets every `Popen` of a heavy program of ours (`_HEAVY`, `_SCRIPTS`), by a test or by codctl itself, take
this way; what is forked takes it too. It stays a real process, a child of whoever called `Popen`, with its own pid,
streams, environment and exit code: it can be killed, limited and waited for. What a fork cannot give is started as
ever: another interpreter or hash seed, variables that libraries read when they are imported, a preparation by
`preexec_fn`, or other code of codctl on PYTHONPATH than the one here.

`python forked.py FD` is the server: it reads one JSON request, with file descriptors, at a time from a socket, and
answers with a pid. Its child makes a grandchild and ends, and the grandchild goes to the caller, which is its nearest
ancestor that takes orphans (`prctl(2)`: PR_SET_CHILD_SUBREAPER) while it waits for the answer.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

_SUBREAPER, _NAME = 36, 15  # of prctl
SERVER_NAME = "fork-server"  # in /proc/PID/comm
_MAX_REQUEST = 1 << 20
_START_S = 600.0  # a second's work on an idle machine takes far longer on a full one
_HEAVY = ("codctl.cli.main", "codctl.jobs.worker", "codctl.jobs.job_entry", "codctl.tracking.sender")
_IMPORTED = (
    "torch", "transformers", "transformers.models.qwen3.modeling_qwen3", "trl", "trl.trainer.sft_trainer", "peft",
    "datasets", "tokenizers", "pyarrow.parquet", "safetensors.torch", "jinja2", "mlflow.tracking",
    "mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store", "sqlalchemy.dialects.sqlite", "alembic.command",
    "hydra", "hydra.utils", "hydra.core.plugins", "torch.utils.data", "transformers.trainer", "pandas", "submitit",
)  # fmt: skip
# What a run would set before its imports; in the server they come first.
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GOMP_SPINCOUNT": "0",
}
# Variables that are read once, by the interpreter or when a library is imported.
_READ_EARLY = (
    "CUDA_",
    "GOMP_",
    "HF_",
    "LANG",
    "LC_",
    "LD_",
    "MALLOC_",
    "MKL_",
    "OMP_",
    "PYTHON",
    "TRANSFORMERS_",
)
_READ_LATE = {"PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED"}
_HERE = Path(__file__).resolve()
_SCRIPTS = {
    str(_HERE.parents[1] / path)
    for path in (
        "experiments/bench/gpu.py",
        "experiments/bench/gpu_parts.py",
        "tests/durability/child.py",
        "tests/hostile/player.py",
        "tests/learner/worker.py",
        "tests/train/stopping.py",
    )
}
FRESH = {"CODCTL_TESTS_FRESH": "1"}  # in its environment: a process that is to import everything itself
_BASE: dict[str, str] = {}  # the environment of the server


class _Client:
    """The way to a server, of one process."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def spawn(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        message = json.dumps(request).encode()
        with self._lock, _taking_orphans():
            socket.send_fds(self._connection, [message], descriptors)
            answer = self._connection.recv(64)
        if not answer:
            raise OSError("the fork server is gone")
        return int(answer)


@contextlib.contextmanager
def _taking_orphans() -> Any:
    _prctl(_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_SUBREAPER, 0)


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


_client: _Client | None = None
_real_execute = subprocess.Popen._execute_child  # type: ignore[attr-defined]


def install() -> None:
    """Send heavy programs the short way from now on; the server starts with the first."""
    _BASE.update(os.environ)
    subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]


def _execute_child(
    self: Any, args: Any, executable: Any, preexec_fn: Any, close_fds: bool, pass_fds: Any, cwd: Any, env: Any,
    startupinfo: Any, creationflags: Any, shell: bool,
    p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int, *more: Any,
) -> None:  # fmt: skip
    restore_signals, gid, gids, uid, umask, start_new_session, process_group = more
    is_plain = (preexec_fn, executable, gid, gids, uid, shell) == (None, None, None, None, None, False)
    is_plain = is_plain and (close_fds, restore_signals, umask, process_group) == (True, True, -1, -1)
    environment = dict(os.environ if env is None else env)
    argv = [] if isinstance(args, str | bytes | os.PathLike) else [os.fsdecode(word) for word in args]
    if not is_plain or (cwd and not Path(cwd).is_dir()) or not _can_be_forked(argv, environment):
        _real_execute(
            self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
            p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *more,
        )  # fmt: skip
        return
    streams = [0 if p2cread == -1 else p2cread, 1 if c2pwrite == -1 else c2pwrite, 2 if errwrite == -1 else errwrite]
    request = {
        "argv": argv[1:],
        "env": environment,
        "cwd": os.fsdecode(cwd or Path.cwd()),
        "session": start_new_session,
        "descriptors": [0, 1, 2, *pass_fds],
        "umask": _umask(),
    }
    self.pid = _here().spawn(request, [*streams, *pass_fds])
    self._child_created = True
    self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def _umask() -> int:
    found = os.umask(0o077)
    os.umask(found)
    return found


def _can_be_forked(argv: Sequence[str], environment: Mapping[str, str]) -> bool:
    if not argv or argv[0] != sys.executable or not _program(argv[1:]) or environment.keys() & FRESH.keys():
        return False
    early = {name for name in {*environment, *_BASE} if name.startswith(_READ_EARLY)} - _READ_LATE
    is_same = all(environment.get(name, _QUIET.get(name)) == _BASE.get(name, _QUIET.get(name)) for name in early)
    return is_same and _has_our_code(environment)


def _program(words: Sequence[str]) -> str:
    """The heavy module or script of ours that is to run; otherwise nothing."""
    if list(words[:2]) == ["-W", "ignore"]:
        words = words[2:]
    if len(words) > 1 and words[0] == "-m" and words[1] in _HEAVY:
        return words[1]
    if words and words[0] in _SCRIPTS:
        return words[0]
    return ""


def _has_our_code(environment: Mapping[str, str]) -> bool:
    """Whether the codctl that the process would import is the same as here, in place or copied."""
    from codctl.runs import code

    for folder in filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)):
        if (Path(folder) / "codctl").is_dir():
            package = Path(folder).resolve() / "codctl"
            return package == code._PACKAGE.resolve() or code._digest(package) == code.digest()
    return True


def _here() -> _Client:
    global _client
    if _client is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, str(_HERE), str(theirs.fileno())],
                env={**_BASE, **_QUIET}, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
        atexit.register(_end, ours, process)
        ours.settimeout(_START_S)
        assert ours.recv(64) == b"ready", "the fork server does not start"
        _client = _Client(ours)
    return _client


def _end(connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
    connection.close()
    process.wait(60)


def main() -> NoReturn:
    """Be the server of whoever holds the other end of the socket."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    sys.path.pop(0)  # where this script lies
    _BASE.update(os.environ)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _IMPORTED:
            importlib.import_module(name)
        import codctl

        for module in pkgutil.walk_packages(codctl.__path__, "codctl."):
            with contextlib.suppress(ImportError):  # what the vllm extra would bring
                importlib.import_module(module.name)
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    names -= {Path("/proc/self/comm").read_text().strip(), "jemalloc_bg_thd"}  # jemalloc minds forks itself
    assert not names, f"threads do not survive a fork: {names}"
    connection.send(b"ready")
    _serve(connection)


def _serve(connection: socket.socket) -> NoReturn:
    _prctl(_NAME, SERVER_NAME.encode())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # they are for our children; we end with the one who asks
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _MAX_REQUEST, 250)
        if not message:
            os._exit(0)  # taking all those modules down in order takes longer than bringing them up
        connection.send(str(_start(connection, json.loads(message), descriptors)).encode())
        for descriptor in descriptors:
            os.close(descriptor)


def _start(connection: socket.socket, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
    told, telling = os.pipe()
    gate, opening = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid:
            os.write(telling, str(pid).encode())
            os._exit(0)
        os.close(told), os.close(telling), os.close(opening)
        os.read(gate, 1)  # until the caller is our parent
        os.close(gate)
        _be(connection, request, descriptors)
    os.close(telling), os.close(gate)
    pid = int(os.read(told, 64))
    os.close(told)
    os.waitpid(between, 0)
    os.close(opening)
    return pid


def _be(connection: socket.socket, request: Mapping[str, Any], descriptors: Sequence[int]) -> NoReturn:
    """In the new process: become what was asked for."""
    code = 1
    try:
        connection.close()
        _prctl(_NAME, b"python")  # the server's own name is for the server alone
        if request["session"]:
            os.setsid()
        _let_it_fork(request["descriptors"], descriptors)
        _take_streams(request["descriptors"], descriptors)
        _take_surroundings(request)
        code = _run(request["argv"])
    except BaseException:  # noqa: BLE001  the parent sees the code and the text
        traceback.print_exc()
    finally:
        os._exit(code)


def _let_it_fork(wanted: Sequence[int], descriptors: Sequence[int]) -> None:
    """Give this process a server of its own, which knows nothing of what it will do."""
    global _client
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        for descriptor in descriptors:
            os.close(descriptor)
        _serve(theirs)
    theirs.close()
    above = max([*wanted, *descriptors]) + 100  # where no stream will come to lie
    _client = _Client(socket.socket(fileno=fcntl.fcntl(ours.detach(), fcntl.F_DUPFD_CLOEXEC, above)))
    subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]


def _take_streams(wanted: Sequence[int], descriptors: Sequence[int]) -> None:
    above = max([*wanted, *descriptors]) + 1
    kept = [os.dup2(descriptor, above + place) for place, descriptor in enumerate(descriptors)]
    for descriptor in descriptors:
        os.close(descriptor)
    for number, descriptor in zip(wanted, kept, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)


def _take_surroundings(request: Mapping[str, Any]) -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not None:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as Python starts with
        signal.signal(number, signal.SIG_IGN)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = _stream(1, "strict", unbuffered)
    sys.stderr = sys.__stderr__ = _stream(2, "backslashreplace", unbuffered)
    sys.stderr.reconfigure(line_buffering=True)
    paths = [str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = paths if os.environ.get("PYTHONSAFEPATH") else [str(Path.cwd()), *paths]


def _stream(number: int, errors: str, unbuffered: bool) -> io.TextIOWrapper:
    raw = os.fdopen(number, "wb", 0 if unbuffered else -1, closefd=False)
    return io.TextIOWrapper(
        raw, encoding="utf-8", errors=errors, write_through=unbuffered, line_buffering=os.isatty(number)
    )


def _run(words: Sequence[str]) -> int:
    """As the interpreter would: run, then end threads, exit functions and streams in order."""
    if words[0] == "-W":
        warnings.simplefilter("ignore")
    options = 2 if words[0] == "-W" else 0
    is_module = words[options] == "-m"
    name, *sys.argv[1:] = words[options + is_module :]
    sys.argv[0] = name
    code = 0
    try:
        if is_module:
            sys.modules.pop(name, None)
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            if not os.environ.get("PYTHONSAFEPATH"):
                sys.path[0] = str(Path(name).parent)
            runpy.run_path(name, run_name="__main__")
    except SystemExit as stop:
        code = _code_of(stop)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:  # noqa: BLE001  told as the interpreter tells it
        traceback.print_exc()
        code = 1
    with contextlib.suppress(BaseException):
        threading._shutdown()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        code = 120
        with contextlib.suppress(OSError):
            sys.stderr.write(f"Exception ignored in: {sys.stdout!r}\n{type(error).__name__}: {error}\n")
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code


def _code_of(stop: SystemExit) -> int:
    if stop.code is None or isinstance(stop.code, int):
        return (stop.code or 0) & 0xFF
    sys.stderr.write(f"{stop.code}\n")
    return 1


if __name__ == "__main__":
    sys.modules["tests.forked"] = sys.modules["__main__"]  # one module, also for what is forked
    main()
