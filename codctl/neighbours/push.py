"""A finished model to a model hub: what is uploaded, what is not, and the upload itself.

Only what makes a model is uploaded: settings, tokenizer, safetensors, model card, licence; no pickles, logs or links. A
child process talks to the hub, as in `codctl.models.hub`: the user's own token stays with it.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from codctl.errors import BackendError, PreflightError, RefusedError, UsageError
from codctl.files import reader
from codctl.models import hub
from codctl.models.files import missing_weights
from codctl.models.hub_client import SETTINGS, WEIGHTS
from codctl.runs.directory import RunDirectory
from codctl.sessions.mask import Mask
from codctl.train.saved_models import NEWEST, choose, lay_out

_ADAPTER = "adapter_config.json"
_BASE = "base_model_name_or_path"
_MEANT = (*SETTINGS, *WEIGHTS, "codctl.json", _ADAPTER, "adapter_model.safetensors", "LICENSE*", "NOTICE*")
_TEXTS = ("*.json", "*.md", "*.jinja", "LICENSE*", "NOTICE*")
_VOCABULARY = ("tokenizer.json", "vocab.json", "added_tokens.json")  # holds words of all kinds
_PRIVATE = ("key", "home")
_MOST_TEXT = 1 << 20


@dataclass(frozen=True)
class Parcel:
    """What is uploaded.

    Attributes:
        folder: The model's.
        files: Name and bytes of each file, by name.
        left_out: What else is in the folder.
        notes: What a person should know before.
    """

    folder: Path
    files: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(size for _, size in self.files)


def folder_of(run: RunDirectory, step: str, temp: Path) -> Path:
    """The folder of a run's saved model; a checkpoint is laid out as one, with its card.

    Raises:
        StageError: The run has saved none.
        UsageError: It has no such model.
    """
    from codctl.models.load import load_tokenizer
    from codctl.train.export import describe

    config = run.config()
    saved = choose(run, config, step or NEWEST)
    if not saved.checkpoint:
        return saved.folder
    folder = temp / "model"
    lay_out(saved, config, folder)
    describe(run, config, load_tokenizer(folder), folder)
    return folder


def parcel(folder: Path, temp: Path, base: str | None = None) -> Parcel:
    """What of a model folder is uploaded.

    Args:
        folder: A model's or an adapter's.
        temp: Where changed copies are made.
        base: What the hub calls an adapter's base model.

    Raises:
        PreflightError: It holds no whole model.
        RefusedError: A file says something private.
        UsageError: `base` does not fit.
    """
    if not folder.is_dir():
        raise UsageError("there is no such folder, and no run of this name", where=str(folder))
    here = sorted(folder.iterdir())
    meant = [path for path in here if _is_meant(path)]
    names = {path.name for path in meant}
    is_adapter = _ADAPTER in names
    if not is_adapter and ("config.json" not in names or missing_weights(folder)):
        raise PreflightError("the folder holds no whole model with safetensors", where=str(folder))
    if is_adapter and "adapter_model.safetensors" not in names:
        raise PreflightError("the adapter has no adapter_model.safetensors", where=str(folder))
    notes = [] if "README.md" in names else ["there is no model card (README.md)"]
    if is_adapter:
        folder = _with_base(meant, folder, temp, base)
        meant = sorted(folder.iterdir())
    elif base:
        raise UsageError("only an adapter has a base model to name", where="--base")
    for path in meant:
        _refuse_private(path)
    return Parcel(
        folder,
        tuple((path.name, path.stat().st_size) for path in meant),
        tuple(path.name + "/" * path.is_dir() for path in here if path.name not in names),
        tuple(notes),
    )


def push(
    what: Parcel, repo: str, *, private: bool, endpoint: str | None, message: str, waiting: hub.Waiting
) -> dict[str, Any]:
    """Upload a parcel as one commit; the repository is made where it does not exist.

    Args:
        what: What is uploaded.
        repo: OWNER/NAME.
        private: Only the owner may see it. An existing public one is refused then.
        endpoint: Of another hub than the user's usual one.
        message: Of the commit.
        waiting: Told now and then how long it takes.

    Returns:
        `url` of the commit, and whether the repository is `new`.

    Raises:
        UsageError: Name or address cannot be.
        BackendError: The hub does not take it.
    """
    check_target(repo, endpoint)
    order = {
        "repo": repo,
        "private": private,
        "endpoint": endpoint,
        "message": message,
        "files": [[name, str(what.folder / name)] for name, _ in what.files],
    }
    answer, problem = hub.push(order, what.size, waiting)
    if problem:
        raise BackendError(
            f"the hub does not take it: {problem}",
            where=endpoint or "the hub",
            hint="hf auth login, or HF_TOKEN; what was uploaded is in no commit",
        )
    found: dict[str, Any] = json.loads(answer)
    return found


def check_target(repo: str, endpoint: str | None) -> None:
    """Make sure that a token is sent to nobody who listens.

    Raises:
        UsageError: The name is none, or the address is neither https nor on this machine.
    """
    if not hub.is_hub_name(repo):
        raise UsageError(f"expected OWNER/NAME, got {repo!r}", where="REPO")
    if endpoint is None:
        return
    parts = urlsplit(endpoint)
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        raise UsageError(
            "expected an https address without a password: your token is sent there", where="--endpoint-url"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_meant(path: Path) -> bool:
    is_file = path.is_file() and not path.is_symlink()
    return is_file and any(fnmatch(path.name, pattern) for pattern in _MEANT)


def _with_base(meant: list[Path], folder: Path, temp: Path, base: str | None) -> Path:
    """The adapter's folder; a copy where the name of its base has to be changed."""
    settings = reader.read_as(folder / _ADAPTER, dict) or {}
    named = str(settings.get(_BASE) or "")
    if base is None:
        if named.startswith(("/", ".", "~")) or "\\" in named:
            raise RefusedError(
                f"{_ADAPTER} names a folder of this machine as its base model",
                where=str(folder / _ADAPTER),
                hint="--base OWNER/NAME says what the hub calls it",
            )
        return folder
    if not hub.is_hub_name(base):
        raise UsageError(f"expected OWNER/NAME, got {base!r}", where="--base")
    copy = temp / "adapter"
    copy.mkdir(parents=True)
    for path in meant:
        shutil.copyfile(path, copy / path.name)
    (copy / _ADAPTER).write_text(json.dumps({**settings, _BASE: base}, indent=2, sort_keys=True) + "\n")
    return copy


def _refuse_private(path: Path) -> None:
    for kind in _private(path):
        what = "a key or password" if kind == "key" else "a person's home folder"
        raise RefusedError(
            f"{path.name} seems to hold {what}",
            where=str(path),
            hint="take it out of a copy of the folder, and push that",
        )


def _private(path: Path) -> Iterator[str]:
    if path.name in _VOCABULARY or not any(fnmatch(path.name, pattern) for pattern in _TEXTS):
        return
    mask = Mask()
    mask.text(path.read_text(encoding="utf-8", errors="replace")[:_MOST_TEXT])
    yield from (kind for kind in _PRIVATE if mask.counts[kind])
