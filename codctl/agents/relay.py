"""Pipes lines between standard input and output and a Unix socket: all that an agent program starts of the world.

It runs on its own (`python -I -S relay.py SOCKET`) and imports nothing of codctl, so nothing hidden is in its memory,
its arguments or its environment.
"""

import os
import socket
import sys
import threading


def copy(source: int, target: int) -> None:
    while data := os.read(source, 65536):
        while data:
            data = data[os.write(target, data) :]


def main() -> None:
    with socket.socket(socket.AF_UNIX) as world:
        world.connect(sys.argv[1])
        threading.Thread(target=copy, args=(world.fileno(), 1), daemon=True).start()
        copy(0, world.fileno())


if __name__ == "__main__":
    main()
