"""What the files of a model folder say before anything is loaded: settings, and name, type and shape of each tensor.

A model folder may come from anywhere. Its files are data: they name no file outside the folder, and nothing is
unpickled. Only the headers of safetensors files are read here, so that a large model takes no longer than a small one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.errors import CodctlError, PreflightError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MOST_BYTES = 64 << 20  # of a file with settings
_POINTER = b"version https://git-lfs.github.com/"
_POINTER_BYTES = 1024
_ADVICE = ("; use sys.set_int", " [type=", " For further information")
_AGAIN = "the download was cut off or the file was changed: fetch it again"


@dataclass(frozen=True)
class Tensor:
    """What a safetensors header says about a tensor.

    Attributes:
        dtype: As safetensors names it, such as BF16.
        shape: Its dimensions.
        file: Where it lies.
    """

    dtype: str
    shape: tuple[int, ...]
    file: Path


@contextmanager
def understood(what: str, where: Path, hint: str = "") -> Iterator[None]:
    """Turn whatever a library says about a foreign file into one message.

    Args:
        what: Cannot be done, as the beginning of a sentence.
        where: File or folder.
        hint: What to do.

    Raises:
        PreflightError: The library raised anything.
    """
    try:
        yield
    except CodctlError:
        raise
    except Exception as error:  # damaged files bring errors of any type out of transformers, PEFT and tokenizers
        raise PreflightError(f"{what}: {reason(error)}", where=str(where), hint=hint) from error


def reason(error: BaseException) -> str:
    """An error of a library in a line."""
    text = " ".join(str(error).split())
    for advice in _ADVICE:  # for programmers
        text = text.partition(advice)[0]
    text = text[:300]
    if isinstance(error, KeyError):
        return f"unknown or missing name {text}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    is_sentence = text and not isinstance(error, (TypeError, AttributeError, LookupError, AssertionError))
    return text if is_sentence else f"{type(error).__name__}{': ' if text else ''}{text}"


def read_settings(path: Path) -> dict[str, Any]:
    """The JSON object of a file.

    Raises:
        PreflightError: It cannot be read, or holds something else.
    """
    what = f"{path.name} cannot be read"
    with understood(what, path.parent, _AGAIN):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
        found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise PreflightError(
            f"{what}: expected a JSON object, it holds {_kind(found)}", where=str(path.parent), hint=_AGAIN
        )
    return found


def check_files(folder: Path) -> None:
    """Refuse files that are no files, and those that stand for one which was not fetched.

    Raises:
        PreflightError: Names the file.
    """
    with understood("the folder cannot be read", folder):
        found = sorted(folder.iterdir())
    for path in found:
        if path.is_symlink() and not path.exists():
            raise PreflightError(
                f"{path.name} is a link to a file that is not there",
                where=str(folder),
                hint="fetch the model again, or copy it with its files (cp -rL)",
            )
        if not path.is_file() and not path.is_dir():
            raise PreflightError(f"{path.name} is no ordinary file", where=str(folder), hint="remove it")
        if path.is_file() and path.stat().st_size <= _POINTER_BYTES and _begins_as_pointer(path):
            raise PreflightError(
                f"{path.name} is a Git LFS pointer, not the file itself",
                where=str(folder),
                hint="git lfs pull in that folder, or hf download",
            )


def missing_weights(folder: Path) -> list[str]:
    """Weight files that a folder should have and has not; `model.safetensors` when it has none at all.

    Raises:
        PreflightError: Its index cannot be read, or names files that are not loaded.
    """
    if (folder / WEIGHTS).is_file():
        return []
    if not (folder / INDEX).is_file():
        return [WEIGHTS]
    return [name for name in sorted(set(weight_map(folder).values())) if not (folder / name).is_file()]


def weight_map(folder: Path) -> dict[str, str]:
    """The shard of each tensor, by the folder's index.

    Raises:
        PreflightError: The index is damaged, or names a file outside the folder or one that is not safetensors.
    """
    found = read_settings(folder / INDEX).get("weight_map")
    is_map = isinstance(found, dict) and found and all(isinstance(name, str) for name in found.values())
    if not is_map:
        raise PreflightError(f"{INDEX} has no weight_map that names files", where=str(folder), hint=_AGAIN)
    assert isinstance(found, dict)
    for name in sorted(set(found.values())):
        if Path(name).name != name or "\\" in name or "\0" in name:
            raise PreflightError(f"{INDEX} names {name!r}, which is not in the folder", where=str(folder))
        if not name.endswith(".safetensors"):
            raise PreflightError(
                f"{INDEX} names {name!r}: only safetensors are loaded, never pickles",
                where=str(folder),
                hint="save it with model.save_pretrained(folder)",
            )
    return found


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a model folder.

    Raises:
        PreflightError: A file is damaged, or files and index disagree.
    """
    if (folder / WEIGHTS).is_file():
        return read_header(folder / WEIGHTS)
    named = weight_map(folder)
    found: dict[str, Tensor] = {}
    for shard in sorted(set(named.values())):
        for name, tensor in read_header(folder / shard).items():
            if name in found:
                raise _misfit(folder, f"{name} is in {found[name].file.name} and in {shard}")
            found[name] = tensor
    if odd := sorted(set(named) ^ set(found)):
        place = (
            f"names {odd[0]}, which no shard has" if odd[0] in named else f"does not name {odd[0]}, which a shard has"
        )
        raise _misfit(folder, f"the index {place}{_more(odd)}")
    for name, shard in named.items():
        if found[name].file.name != shard:
            raise _misfit(folder, f"{name} is not in {shard} but in {found[name].file.name}")
    return found


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file.

    Raises:
        PreflightError: It is damaged or empty.
    """
    from safetensors import safe_open

    if not path.stat().st_size:
        raise PreflightError(f"{path.name} is empty", where=str(path.parent), hint=_AGAIN)
    found = {}
    with (
        understood(f"{path.name} is damaged or no safetensors file", path.parent, _AGAIN),
        safe_open(path, "np") as file,
    ):
        for name in file.keys():  # noqa: SIM118  no mapping
            piece = file.get_slice(name)
            found[name] = Tensor(str(piece.get_dtype()), tuple(piece.get_shape()), path)
    if not found:
        raise PreflightError(f"{path.name} has no tensors", where=str(path.parent), hint=_AGAIN)
    return found


def _begins_as_pointer(path: Path) -> bool:
    with understood(f"{path.name} cannot be read", path), path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def _misfit(folder: Path, why: str) -> PreflightError:
    return PreflightError(f"the shards of the model do not fit together: {why}", where=str(folder), hint=_AGAIN)


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
