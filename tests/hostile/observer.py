"""Sees what a process and its children do to the world: by Python's audit hook, and by inotify what goes round it.

An audit hook cannot be taken away again, so it is installed in a process that ends with the case.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import stat
import struct
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]
_HUB = str(Path("~/.cache/huggingface").expanduser())  # `doctor` looks for the user's token
_SYSTEM = ("/bin", "/dev/null", "/dev/urandom", "/etc", "/lib", "/proc", "/run", "/sys", "/usr")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove": (0,), "os.rename": (0, 1), "os.rmdir": (0,), "os.mkdir": (0,), "os.link": (0, 1), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,), "os.mkfifo": (0,), "os.mknod": (0,),
}  # fmt: skip
_IN_ACCESS, _IN_MODIFY, _IN_OPEN, _IN_CREATE, _IN_DELETE, _IN_MOVED = 0x1, 0x2, 0x20, 0x100, 0x200, 0xC0
_IN_NONBLOCK = 0o4000


class Observer:
    """Writes down, a JSON line each, what this process should not have done.

    Args:
        log: Where to write.
        home: May be read and written, with all below it.
        ports: Loopback servers that may be talked to.
        programs: A folder of programs that may be started, beside our own.
    """

    def __init__(self, log: Path, home: Path, ports: Sequence[int], programs: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._home = str(home.resolve())
        self._ports, self._programs = tuple(ports), str(programs)
        library = (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), str(_REPOSITORY))
        self._readable = tuple({self._home, *_SYSTEM, _HUB, *library, *map(os.path.realpath, library)})
        self._inside = False  # the hook's own doings are none of the process's

    def install(self) -> None:
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        look = _LOOKS.get(event)
        if look is None or self._inside:
            return
        self._inside = True
        try:
            look(self, event, args)
        finally:
            self._inside = False

    def _note(self, what: str, about: object) -> None:
        os.write(self._log, json.dumps([what, str(about)[:400], f"by {_caller()}"]).encode() + b"\n")

    def _open(self, event: str, args: tuple[Any, ...]) -> None:
        path, _, flags = args
        if isinstance(path, int):
            return
        # With O_NOFOLLOW a link itself is opened, which fails.
        name = _beside(path) if flags & os.O_NOFOLLOW else _real(path)
        with contextlib.suppress(OSError):
            if (
                stat.S_ISFIFO(Path(name).stat(follow_symlinks=not flags & os.O_NOFOLLOW).st_mode)
                and not flags & os.O_NONBLOCK
            ):
                self._note("waits for a pipe", name)
                raise OSError(5, "a pipe")
        if name == "/dev/null" or name.startswith(("/dev/fd", "/dev/tty", "/dev/pts", "/dev/shm", "/proc/self")):
            return
        if flags & _WRITING:
            if not _is_below(name, (self._home,)):
                self._note("writes", name)
        elif not _is_below(name, self._readable):
            self._note("reads", name)

    def _list(self, event: str, args: tuple[Any, ...]) -> None:
        if args[0] is not None and not isinstance(args[0], int):
            name = _real(args[0])
            if not _is_below(name, self._readable) and name != "/":
                self._note("lists", name)

    def _change(self, event: str, args: tuple[Any, ...]) -> None:
        for at in _CHANGES[event]:
            if isinstance(args[at], int):
                continue
            name = _beside(args[at])
            if not _is_below(name, (self._home,)):
                self._note(event, name)

    def _start(self, event: str, args: tuple[Any, ...]) -> None:
        words = [os.fsdecode(word) for word in args[1]] if len(args) > 1 else [str(args[0])]
        program = os.fsdecode(args[0] or words[0])
        is_ours = program == sys.executable and words[1:2] in (["-m"], ["-c"])
        is_known = Path(program).name in _names(self._programs) or program in ("git", "nvidia-smi", "uname", "/bin/sh")
        if not is_ours and not is_known:
            self._note("starts", words)

    def _become(self, event: str, args: tuple[Any, ...]) -> None:
        self._note("becomes", args[1])
        raise PermissionError(1, "not here")

    def _kill(self, event: str, args: tuple[Any, ...]) -> None:
        pid, number = int(args[0]), int(args[1])
        if number and pid not in (0, os.getpid()) and not _is_child(abs(pid)):
            self._note(event, (pid, number))
            raise PermissionError(1, "not here")

    def _connect(self, event: str, args: tuple[Any, ...]) -> None:
        address = args[1]
        if isinstance(address, tuple) and not (address[0] in ("127.0.0.1", "::1") and address[1] in self._ports):
            self._note("connects", address)
            raise PermissionError(1, "not here")

    def _resolve(self, event: str, args: tuple[Any, ...]) -> None:
        if args[0] not in (None, "", "127.0.0.1", "::1", "localhost", b"localhost", b"127.0.0.1"):
            self._note("asks for the address of", args[0])
            raise OSError(-2, "no such name")

    def _database(self, event: str, args: tuple[Any, ...]) -> None:
        name = os.fsdecode(args[0])
        path = _real(name.removeprefix("file:").partition("?")[0])
        if name != ":memory:" and not _is_below(path, (self._home,)):
            self._note("opens the database", path)

    def _unpickle(self, event: str, args: tuple[Any, ...]) -> None:
        self._note("unpickles", args)


_LOOKS: dict[str, Callable[[Observer, str, tuple[Any, ...]], None]] = {
    "open": Observer._open,
    "os.listdir": Observer._list,
    "os.scandir": Observer._list,
    **dict.fromkeys(_CHANGES, Observer._change),
    "subprocess.Popen": Observer._start,
    "os.system": Observer._start,
    "os.posix_spawn": Observer._start,
    "os.exec": Observer._become,
    "os.kill": Observer._kill,
    "os.killpg": Observer._kill,
    "socket.connect": Observer._connect,
    "socket.getaddrinfo": Observer._resolve,
    "sqlite3.connect": Observer._database,
    "pickle.find_class": Observer._unpickle,
}


class Watch:
    """What any process does to the files of a folder, also by the calls of a C library."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None)
        self._descriptor = libc.inotify_init1(_IN_NONBLOCK)
        wanted = _IN_ACCESS | _IN_MODIFY | _IN_OPEN | _IN_CREATE | _IN_DELETE | _IN_MOVED
        self._folders = {}
        for one in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            self._folders[libc.inotify_add_watch(self._descriptor, bytes(one), wanted)] = one

    def touched(self) -> list[str]:
        """The files that were since the last time."""
        found = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, 1 << 16):
                at = 0
                while at < len(data):
                    watch, _, _, length = struct.unpack_from("iIII", data, at)
                    name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
                    found.add(str(self._folders[watch] / name))
                    at += 16 + length
        return sorted(found)


def _caller() -> str:
    """The innermost place in codctl that led here."""
    frame: Any = sys._getframe(1)
    while frame is not None and f"{_REPOSITORY}/codctl" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "a library"


def _real(path: Any) -> str:
    return os.path.realpath(os.fsdecode(path))


def _beside(path: Any) -> str:
    """Where a link itself lies, not where it leads."""
    absolute = Path(os.fsdecode(path)).absolute()
    return str(Path(_real(absolute.parent)) / absolute.name)


def _is_below(name: str, folders: Sequence[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def _names(folder: str) -> set[str]:
    return {entry.name for entry in os.scandir(folder)}


def _is_child(pid: int) -> bool:
    """Whether a process or the leader of a group descends from this one."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
