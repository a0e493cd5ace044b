"""Write a safetensors file and hash it in one pass: what a checkpoint needs of tens of gigabytes.

The library writes such a file, but gives no hash of it, and to read it again takes as long as to write it. The bytes
are the library's own: the same order, header and padding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import torch

CHUNK = 16 << 20  # bytes between two looks at whether to go on
_NAMES = {  # in the order of the library, which puts the larger types first
    torch.int64: "I64",
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}
_ALIGNMENT = 8

GoOn = Callable[[], None]
"""Called after each chunk; raises when the writing is to end."""


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], go_on: GoOn = lambda: None) -> str:
    """Write a safetensors file; its SHA-256.

    Args:
        path: The file, which is replaced.
        tensors: Contiguous ones; those of a GPU are copied one after the other.
        go_on: See `GoOn`.
    """
    ranks = {dtype: place for place, dtype in enumerate(_NAMES)}
    order = sorted(tensors, key=lambda name: (ranks[tensors[name].dtype], name))
    with path.open("wb") as file:
        return _write(file, _content(tensors, order), go_on)


def copy_file(source: BinaryIO, path: Path, go_on: GoOn = lambda: None) -> str:
    """Copy what an open file holds; its SHA-256."""
    with path.open("wb") as file:
        return _write(file, iter(lambda: source.read(CHUNK), b""), go_on)


def _content(tensors: Mapping[str, torch.Tensor], order: list[str]) -> Iterator[bytes | memoryview]:
    about, end = {}, 0
    for name in order:
        tensor = tensors[name]
        first, end = end, end + tensor.nbytes
        about[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [first, end]}
    header = json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    yield len(header).to_bytes(8, "little") + header
    for name in order:
        data = tensors[name].cpu().reshape(-1).view(torch.uint8).numpy().data
        for first in range(0, len(data), CHUNK):
            yield data[first : first + CHUNK]


def _write(file: BinaryIO, content: Iterator[bytes | memoryview], go_on: GoOn) -> str:
    digest = hashlib.sha256()
    for chunk in content:
        file.write(chunk)
        digest.update(chunk)
        go_on()
    return digest.hexdigest()
