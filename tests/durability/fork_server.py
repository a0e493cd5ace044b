"""Processes that run `codctl …` without the seconds of importing torch: forked from one that has imported it already.

They are real processes, with their own pid, which can be killed, limited and waited for. `ForkServer` is the handle;
`python fork_server.py` is the server, which reads one JSON request a line and answers each with one line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# What the run would set before its imports; here they come first.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
_START_DEADLINE_S = 600.0  # a second's work on an idle machine takes far longer on a full one
_HEAVY = (
    "torch", "transformers", "transformers.models.qwen3.modeling_qwen3", "trl", "trl.trainer.sft_trainer", "peft",
    "datasets", "tokenizers", "pyarrow.parquet", "safetensors.torch", "jinja2", "mlflow.tracking",
    "mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store", "sqlalchemy.dialects.sqlite", "alembic.command",
    "hydra", "hydra.utils", "hydra.core.plugins", "torch.utils.data", "transformers.trainer", "pandas",
)  # fmt: skip


class Child:
    """A forked process.

    Args:
        pid: Its id.
        out: Where its stdout goes.
        err: Where its stderr goes.
    """

    def __init__(self, server: ForkServer, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._server, self._out, self._err = server, out, err
        self._descriptor = os.pidfd_open(pid)  # the server reaps it only when asked, so the pid cannot be another's
        self._code: int | None = None

    def has_ended(self, timeout_s: float = 0.0) -> bool:
        """Whether it has ended, waiting for that a while."""
        return self._code is not None or bool(select.select([self._descriptor], [], [], timeout_s)[0])

    def send(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self.code(deadline_s=60)

    def code(self, deadline_s: float) -> int:
        """The exit code (−9 after SIGKILL); a process that outlasts the deadline is killed and reported."""
        if self._code is None:
            late = not self.has_ended(deadline_s)
            if late:
                self.send(signal.SIGKILL)
            self._code = int(self._server.ask({"wait": self.pid}))
            os.close(self._descriptor)
            assert not late, f"process {self.pid} outlasted {deadline_s:g} s: {self.err()}"
        return self._code

    def out(self) -> str:
        return self._out.read_text(errors="replace")

    def err(self) -> str:
        return self._err.read_text(errors="replace")


class ForkServer:
    """A server process and what can be asked of it; use it in a `with` block.

    Args:
        folder: For the output of its children.
        env: Environment of all children, beside the present one.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, **QUIET, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._read(_START_DEADLINE_S)  # it says that it is ready
        except BaseException:
            self._process.kill()
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # it kills its children and ends
        self._process.wait(60)
        self._process.stdout.close()

    def start(self, *argv: str, **how: Any) -> Child:
        """Start `codctl ARGV`; `how` is `env` (more environment), `fsize` (bytes), `before` ([file, function, …])."""
        return self._start({"argv": list(argv), **how})

    def run(self, *argv: str, deadline_s: float = 300.0, **how: Any) -> Child:
        """The same, and wait for its end."""
        child = self.start(*argv, **how)
        child.code(deadline_s)
        return child

    def call(self, file: Path, function: str, *arguments: Any, deadline_s: float = 120.0) -> Any:
        """What a function of a file returns in a process of its own, as JSON carries it."""
        child = self._start({"call": [str(file), function, *arguments]})
        assert child.code(deadline_s) == 0, child.err()
        return json.loads(child.out())

    def ask(self, request: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read(60)

    def _start(self, request: Mapping[str, Any]) -> Child:
        self._count += 1
        out, err = (self._folder / f"{self._count:04d}.{end}" for end in ("out", "err"))
        return Child(self, int(self.ask({**request, "out": str(out), "err": str(err)})), out, err)

    def _read(self, deadline_s: float) -> Any:
        assert self._process.stdout is not None
        ready = select.select([self._process.stdout], [], [], deadline_s)[0]
        assert ready, f"the fork server said nothing for {deadline_s:g} s"
        return json.loads(self._process.stdout.readline())


def function_of(file: str, name: str) -> Any:
    """A function of a file that is no part of a package."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)
    spec.loader.exec_module(module)
    return getattr(module, name)


def _serve() -> None:
    _import_everything()
    names = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    names -= {Path("/proc/self/comm").read_text().strip(), "jemalloc_bg_thd"}  # jemalloc minds forks itself
    assert not names, f"threads do not survive a fork: {names}"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the harness, which closes our stdin
    pids: set[int] = set()
    _answer("ready")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pids.discard(request["wait"])
            _answer(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]))
            continue
        pid = os.fork()
        if pid == 0:
            _child(request)
        pids.add(pid)
        _answer(pid)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)  # taking all those modules down in order takes longer than bringing them up


def _answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _import_everything() -> None:
    import pkgutil
    import warnings

    import codctl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _HEAVY:
            importlib.import_module(name)
        for module in pkgutil.walk_packages(codctl.__path__, "codctl."):
            with contextlib.suppress(ImportError):  # what the vllm extra would bring
                importlib.import_module(module.name)


def _child(request: Mapping[str, Any]) -> None:
    """In the child: never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, path in ((1, request["out"]), (2, request["err"])):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(descriptor, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        code = _do(request)
    except BaseException:  # noqa: BLE001  the parent sees the code and the text
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def _do(request: Mapping[str, Any]) -> int:
    os.environ.update(request.get("env", {}))
    if "call" in request:
        file, name, *arguments = request["call"]
        json.dump(function_of(file, name)(*arguments), sys.stdout)
        return 0
    if limit := request.get("fsize"):
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python starts with
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if before := request.get("before"):
        function_of(before[0], before[1])(*before[2:])
    return _codctl(request["argv"])


def _codctl(argv: Sequence[str]) -> int:
    sys.argv = ["codctl", *argv]
    from codctl.cli.main import run

    return run(argv)


if __name__ == "__main__":
    _serve()
