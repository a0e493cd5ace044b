"""The first process of a sandbox: makes the machine small, starts a program in it, and ends with it.

It runs on its own (`python -I -S inside.py PLAN`), in namespaces that `unshare` has made, and imports nothing of
codctl. PLAN is a JSON object: `writable` (folders, the only ones that can be written), `covered` (folders that are
shown empty), `kept` (what is shown in them after all), `port` and `socket` (where the program finds its model, and
where that is reached), `argv` and `cwd`.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
MS_BIND, MS_REC, MS_NOSUID, MS_NODEV = 4096, 16384, 2, 4
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, RDONLY = 442, -100, 0x8000, 1
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
MOST_CAPABILITIES, CAPABILITY_VERSION_3 = 64, 0x20080522


def check(code: int, what: str) -> None:
    if code < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    code = LIBC.mount(source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)
    check(code, f"mount {target}")


def set_read_only(path: str, is_read_only: bool, flags: int = 0) -> None:
    """Of a mount, and with AT_RECURSIVE of all below it."""
    attributes = struct.pack("=QQQQ", RDONLY * is_read_only, RDONLY * (not is_read_only), 0, 0)
    code = LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, len(attributes))
    check(code, f"mount_setattr {path}")


def cover(folder: str, kept: list[str]) -> None:
    """Put an empty folder over one, and show in it what is kept."""
    below = [Path(path) for path in kept if path.startswith(f"{folder}/") and Path(path).exists()]
    held = [(path, path.is_dir(), os.open(path, os.O_PATH)) for path in below]
    mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for path, is_folder, descriptor in held:
        (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
        if not is_folder:
            path.touch()
        mount(f"/proc/self/fd/{descriptor}", str(path), flags=MS_BIND | MS_REC)
        os.close(descriptor)


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def give_up_privileges() -> None:
    """All that the namespaces have given, for good."""
    check(LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities")
    for number in range(MOST_CAPABILITIES):
        LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # numbers that the kernel does not know are refused
    check(LIBC.capset(struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24)), "capabilities")
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


async def bridge(port: int, path: str, is_ready: int) -> None:
    """Pipe connections to a port of this sandbox to a socket in the file system."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, model = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, model), copy(there, writer))
        writer.close()
        model.close()

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    os.close(is_ready)
    await server.serve_forever()


def fork(work) -> int:  # type: ignore[no-untyped-def]
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:  # noqa: BLE001  a fork must not go on with what its parent does
        os.write(2, f"codctl's sandbox: {error}\n".encode())
    os._exit(71)


def main() -> None:
    plan = json.loads(sys.argv[1])
    kept = [*plan["writable"], *plan["kept"]]
    covered = []
    for folder in plan["covered"]:
        if Path(folder).is_dir():  # and not below one that is covered already
            cover(folder, kept)
            covered.append(folder)
    for folder in plan["writable"]:
        mount(folder, folder, flags=MS_BIND | MS_REC)
    set_read_only("/", True, AT_RECURSIVE)
    for folder in (*plan["writable"], *covered):
        set_read_only(folder, False)
    raise_loopback()
    waiting, is_ready = os.pipe()
    fork(lambda: asyncio.run(bridge(plan["port"], plan["socket"], is_ready)))
    os.close(is_ready)
    os.read(waiting, 1)  # until the bridge stands
    os.close(waiting)

    def start() -> None:
        give_up_privileges()
        os.chdir(plan["cwd"])
        os.execvp(plan["argv"][0], plan["argv"])  # noqa: S606  there is no shell

    program = fork(start)
    while True:  # as the first process it also inherits what others leave
        ended, status = os.wait()
        if ended == program:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
