"""Child processes: started in a session of their own, ended gently or by force, and never left behind.

A child that leads its own session also leads a process group, so one signal reaches all that it started. The group's id
is the leader's process id, which the kernel does not reuse before the leader is waited for; signals are sent only until
then. `python -m codctl.processes` is the guardian: it waits for the end of the process that started it, also by
SIGKILL, and then ends the children that this process had asked it to watch.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

import codctl
from codctl.errors import BackendError, CodctlError, PreflightError, RefusedError, StageError, UsageError

if TYPE_CHECKING:
    import psutil

_SIGNALLED = 128
_TERM_S, _KILL_S, _REST_S = 10.0, 10.0, 5.0
_LOOK_S = 0.02
_TAIL_BYTES = 8192
_SHOWN_LINES = 5
_ERRORS = {kind.exit_code: kind for kind in (UsageError, PreflightError, StageError, RefusedError, BackendError)}
_OF_A_JOB = {signal.SIGUSR2}  # schedulers warn every process of a job, but only the supervisor answers
_OF_A_TERMINAL = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


def home() -> Path:
    """Where codctl is imported from, now: a run goes on with a snapshot of it."""
    return Path(codctl.__file__).resolve().parents[1]


def python_path(code: Path | None = None, base: Mapping[str, str] = os.environ) -> str:
    """PYTHONPATH of a process that imports codctl from `code`; see `python_environment`."""
    return os.pathsep.join([str(code or home()), *filter(None, [base.get("PYTHONPATH")])])


def python_environment(code: Path | None = None, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which a Python process imports codctl from `code`.

    Args:
        code: The folder that holds the package; the one that this process imports from when left out.
        base: Further variables; those of this process when left out.
    """
    found = dict(os.environ if base is None else base)
    # Safe path: otherwise `-m` looks for codctl in the working directory first, which may be the checkout being edited.
    return {**found, "PYTHONPATH": python_path(code, found), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


class Pipes(NamedTuple):
    """Our ends of a child's streams; who takes them closes them."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]


class Child:
    """A running child, the leader of its own session and group, without a terminal.

    Args:
        process: The leader, started with `start_new_session`.
        on_exit: Called from another thread when the leader has ended.
    """

    def __init__(self, process: subprocess.Popen[bytes], on_exit: Callable[[], None] | None = None) -> None:
        self._process = process
        if on_exit is not None:
            threading.Thread(target=self._watch, args=(on_exit,), name=f"child-{process.pid}", daemon=True).start()

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path | None,
        grace_s: float | None,
        on_exit: Callable[[], None] | None = None,
    ) -> Self:
        """Start a child that reads nothing, and that a scheduler's SIGUSR2 does not reach.

        Args:
            argv: Its command line.
            env: Its whole environment.
            log: Where its output is appended; None for where this process writes.
            grace_s: Seconds between SIGTERM and SIGKILL when this process dies before it; with 0 it is killed at once,
                with None it outlives this process.
            on_exit: Called from another thread when it has ended.

        Raises:
            StageError: The log cannot be written, or the program cannot be started.
        """
        with _output(log) as file:
            process = _started(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=None if file is None else subprocess.STDOUT,
            )
        if grace_s is not None:
            watch(process.pid, grace_s)
        return cls(process, on_exit)

    @classmethod
    def piped(cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, grace_s: float) -> tuple[Self, Pipes]:
        """Start a child that this process talks to through pipes.

        Args:
            argv: Its command line.
            env: Its whole environment.
            cwd: Where it starts.
            grace_s: Seconds between SIGTERM and SIGKILL when this process dies before it; with 0 it is killed at once.

        Raises:
            StageError: The program cannot be started.
        """
        process = _started(
            argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        watch(process.pid, grace_s)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        return cls(process), Pipes(process.stdin, process.stdout, process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """The leader's exit code as a shell counts it, 128 + n for signal n; None while it runs.

        It does not reap, and unlike Popen.poll a signal handler that interrupts it may call it again.
        """
        if self._process.returncode is not None:
            return _as_shell(self._process.returncode)
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else _SIGNALLED + found.si_status

    def signal(self, number: int) -> None:
        """Send a signal to the leader and all that it started."""
        if self._process.returncode is None:
            signal_group(self.pid, number)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the leader, then kill what it has left in its group.

        Returns:
            Its exit code, as `exit_code`; None when it still runs after `timeout_s`.
        """
        deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        while self.exit_code() is None:
            if time.monotonic() >= deadline:
                return None
            time.sleep(_LOOK_S)
        if self._process.returncode is None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            unwatch(self.pid)
            _wait_for_group(self.pid)
        return self.exit_code()

    def end(self, patience_s: float = _TERM_S) -> int | None:
        """End it: SIGTERM and, after `patience_s` seconds, SIGKILL; with 0 SIGKILL at once.

        Returns:
            As `wait`; None when even SIGKILL did not end it in time.
        """
        if patience_s > 0:
            self.signal(signal.SIGTERM)
            if (code := self.wait(patience_s)) is not None:
                return code
        self.signal(signal.SIGKILL)
        return self.wait(_KILL_S)

    def release(self) -> None:
        """Let it go its own way. If this process lives on, it still collects the exit code."""
        unwatch(self.pid)
        threading.Thread(target=self._process.wait, name=f"released-{self.pid}", daemon=True).start()

    def _watch(self, on_exit: Callable[[], None]) -> None:
        with contextlib.suppress(ChildProcessError):  # it was reaped already
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        on_exit()


class Children:
    """Processes that succeed or fail together; leaving the `with` block kills what is left of them.

    Signal handlers may call `wait` and `stop` while either is running.

    Args:
        argv: The command line of each.
        environments: One process is started for each of these; all write where this process writes.
        grace_s: See `Child.start`.
    """

    def __init__(self, argv: Sequence[str], environments: Sequence[Mapping[str, str]], *, grace_s: float) -> None:
        self._argv, self._environments, self._grace_s = argv, environments, grace_s
        self._started: list[Child] = []

    def __enter__(self) -> Self:
        try:
            for environment in self._environments:
                self._started.append(Child.start(self._argv, env=environment, log=None, grace_s=self._grace_s))
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kill()

    def wait(self, deadline_s: float | None = None) -> int | None:
        """Wait until all have ended; the first that fails takes the others with it.

        Returns:
            0, or the first exit code that is not; None when the deadline passed.
        """
        deadline = time.monotonic() + (float("inf") if deadline_s is None else deadline_s)
        while True:
            codes = [child.exit_code() for child in self._started]
            failed = next((code for code in codes if code), 0)
            if failed:
                self.stop()
            if failed or None not in codes:
                return failed
            if time.monotonic() >= deadline:
                return None
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """End them: SIGTERM first, then SIGKILL."""
        for number, patience_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
            deadline = time.monotonic() + patience_s
            for child in self._started:
                if child.exit_code() is None:
                    child.signal(number)
            while any(child.exit_code() is None for child in self._started) and time.monotonic() < deadline:
                time.sleep(_LOOK_S)

    def _kill(self) -> None:
        for child in self._started:
            child.signal(signal.SIGKILL)
        for child in self._started:
            child.wait(_KILL_S)


def start_detached(
    argv: Sequence[str], *, env: Mapping[str, str], log: Path, is_up: Callable[[], bool], deadline_s: float = 60.0
) -> int:
    """Start a process that outlives this one and its terminal, and return once it is up.

    It keeps the working directory: relative paths in a recipe mean the same as in the foreground.

    Args:
        argv: Its command line.
        env: Its whole environment.
        log: Where its output is appended.
        is_up: Whether it does its work; asked several times a second.
        deadline_s: Seconds that it may take to be up.

    Returns:
        Its process id, also when it has ended already with exit code 0.

    Raises:
        CodctlError: It ended before it was up. The class goes by its exit code, the message by its log.
        StageError: It was not up in time, and was ended; or it cannot be started.
    """
    log = log.absolute()
    start = log.stat().st_size if log.is_file() else 0
    child = Child.start(argv, env=env, log=log, grace_s=None)
    deadline = time.monotonic() + deadline_s
    try:
        while not is_up():
            if child.exit_code() is not None:
                if is_up():
                    break
                if code := child.wait():
                    raise _ended_early(code, log, start)
                return child.pid
            if time.monotonic() >= deadline:
                raise _not_up(deadline_s, log, start)
            time.sleep(_LOOK_S)
    except BaseException:
        child.end()
        raise
    child.release()
    return child.pid


def _ended_early(code: int, log: Path, start: int) -> CodctlError:
    kind, lines = _ERRORS.get(code, StageError), last_lines(tail(log, start))
    for number in reversed(range(len(lines))):
        if lines[number].startswith("error: "):  # codctl's own message, with its hint on the next line
            hints = [line.removeprefix("→").strip() for line in lines[number + 1 :] if line.startswith("→")]
            return kind(lines[number].removeprefix("error: "), hint=(hints or [""])[0])
    message = " / ".join(lines[-_SHOWN_LINES:]) or f"the detached process ended with exit code {code}"
    return kind(message, where=str(log))


def _not_up(deadline_s: float, log: Path, start: int) -> StageError:
    output = " / ".join(last_lines(tail(log, start))[-_SHOWN_LINES:]) or "nothing"
    return StageError(
        f"the detached process did not start within {deadline_s:.0f} s and was ended; its output: {output}",
        where=str(log),
        hint="run the same command without --detach to see what happens",
    )


def tail(log: Path, start: int = 0) -> str:
    """The end of a log, from byte `start` on at the earliest; empty when it cannot be read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(start, size), size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def last_lines(text: str) -> list[str]:
    """The lines that are not blank, without the space around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def signal_group(leader: int, number: int) -> None:
    """Send a signal to a process group; one that was stopped is woken to answer SIGTERM."""
    # PermissionError: macOS says so when only ended processes are left in the group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
        if number == signal.SIGTERM:
            os.killpg(leader, signal.SIGCONT)


def signal_name(number: int) -> str:
    """SIGKILL for 9; empty for what is no signal with a name."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return ""


def is_alive(pid: int) -> bool:
    """Whether there is a process with this id on this machine, anybody's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def watch(pid: int, grace_s: float = 0.0) -> None:
    """Have a process, and the group that it leads, ended when this process dies, however it dies.

    `Child.start` does this for its own; call it for processes that a library has started.

    Args:
        pid: The process.
        grace_s: Seconds between SIGTERM and SIGKILL; with 0 it is killed at once.
    """
    _guardian.watch(pid, grace_s)


def unwatch(pid: int) -> None:
    """It has ended, and its id may come to mean another process."""
    _guardian.unwatch(pid)


class _Guardian:
    """This process's end of the pipe to its guardian, which is started for the first process to watch."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watched: dict[int, float] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def watch(self, pid: int, grace_s: float) -> None:
        with self._lock:
            self._watched[pid] = grace_s
            self._write(b"+%d %g\n" % (pid, grace_s))

    def unwatch(self, pid: int) -> None:
        with self._lock:
            if self._watched.pop(pid, None) is not None:
                self._write(b"-%d\n" % pid)

    def close(self) -> None:
        """At the end of this process: what is still watched is ended, and not waited for."""
        if self._process is not None:
            self._close_pipe()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0 if self._watched else _REST_S)
            self.forget()

    def forget(self) -> None:
        """In a fork: the guardian is the parent's, and must see the parent's end even if the fork lives on."""
        if self._process is not None:
            self._process.returncode = 0  # it is not waited for, and Popen need not warn
        self._close_pipe()
        self._lock, self._process = threading.RLock(), None
        self._watched.clear()

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = -1

    def _write(self, line: bytes) -> None:
        try:
            os.write(self._pipe, line)
        except OSError:  # not started yet, or killed
            self._start()
            os.write(self._pipe, b"".join(b"+%d %g\n" % one for one in self._watched.items()))

    def _start(self) -> None:
        self._close_pipe()
        if self._process is not None:
            self._process.wait()
        reading, self._pipe = os.pipe()
        try:
            with _blocked(_OF_A_TERMINAL):  # it inherits this: nothing but SIGKILL may end it before its work is done
                self._process = subprocess.Popen(
                    [sys.executable, "-W", "ignore", "-m", "codctl.processes"],
                    env=python_environment(),
                    stdin=reading,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        finally:
            os.close(reading)


_guardian = _Guardian()
atexit.register(_guardian.close)
os.register_at_fork(after_in_child=_guardian.forget)


def guard(lines: Iterable[bytes]) -> None:
    """The guardian's work.

    Args:
        lines: `+PID SECONDS` to watch a process and `-PID` to forget it; they end when the parent has died.
    """
    import psutil

    watched: dict[int, tuple[psutil.Process, float]] = {}
    for line in lines:
        number, *grace_s = line.split()
        if grace_s:
            with contextlib.suppress(psutil.NoSuchProcess):
                watched[int(number)] = psutil.Process(int(number)), float(grace_s[0])
        else:
            watched.pop(-int(number), None)
    begun = time.monotonic()
    for process, grace in watched.values():
        if grace and process.is_running():
            signal_group(process.pid, signal.SIGTERM)
    while watched:
        waited_s = time.monotonic() - begun
        for process, grace in list(watched.values()):
            if waited_s >= grace or not _is_at_work(process):
                _kill(process)
                del watched[process.pid]
        time.sleep(_LOOK_S)


def _is_at_work(process: psutil.Process) -> bool:
    """Whether it is more than an exit code, which a container's init may never collect."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return bool(process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    return False


def _kill(process: psutil.Process) -> None:
    """Kill a process and the group that it leads or has led, unless another process has got its id since."""
    import psutil

    if process.is_running() or not psutil.pid_exists(process.pid):
        signal_group(process.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.Error):
            process.kill()


def _wait_for_group(leader: int) -> None:
    """Until killed processes have let go of memory and GPUs."""
    deadline = time.monotonic() + _REST_S
    while _holds_any(leader) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def _holds_any(group: int) -> bool:
    """Whether a group holds a process that is at work."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(OSError):  # it has just ended
            if os.getpgid(process.pid) == group and _is_at_work(process):
                return True
    return False


def _as_shell(code: int) -> int:
    return code if code >= 0 else _SIGNALLED - code


def _started(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A process in a session of its own, that a scheduler's SIGUSR2 does not reach."""
    try:
        with _blocked(_OF_A_JOB):
            # Unbuffered, so that pipes hold nothing back. Callers build the command line themselves.
            return subprocess.Popen(argv, bufsize=0, start_new_session=True, **options)  # noqa: S603
    except OSError as error:
        raise StageError(f"cannot start a process: {error.strerror}", where=argv[0]) from error


@contextlib.contextmanager
def _output(log: Path | None) -> Iterator[int | None]:
    """A descriptor that appends to a log."""
    if log is None:
        yield None
        return
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab")
    except OSError as error:
        raise StageError(f"cannot write: {error.strerror}", where=str(log)) from error
    with file:
        yield file.fileno()


@contextlib.contextmanager
def _blocked(numbers: set[signal.Signals]) -> Iterator[None]:
    """Block signals in this thread; what it starts meanwhile inherits that, and what arrives is not lost here."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


if __name__ == "__main__":
    guard(sys.stdin.buffer)
