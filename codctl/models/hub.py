"""Models by hub id: found in the local cache, or fetched there, at the revision that the recipe names.

Only settings, tokenizer and safetensors are taken: never pickles, never code. A child process talks to the hub, since
this one stays offline. Gated models need `hf auth login` or HF_TOKEN; a recipe never holds a token.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from codctl.errors import PreflightError
from codctl.models.files import missing_weights
from codctl.models.hub_client import SETTINGS, WEIGHTS
from codctl.models.trinity_checkpoint import is_checkpoint, model_folder

CLIENT = "codctl.models.hub_client"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_ANSWER_S, _LOOK_S, _STALLED_S = 60.0, 10.0, 600.0
_MB = 10**6
_SLOWEST = 250_000  # bytes a second: an upload that is slower has stopped

Report = Callable[[int, int], None]  # MB fetched so far, MB in all
Waiting = Callable[[float, float], None]  # seconds so far, seconds at most


def is_hub_id(path: str) -> bool:
    """Whether a name such as Qwen/Qwen3-8B is meant; a folder that exists is always a folder."""
    return is_hub_name(path) and not Path(path).is_dir()


def is_hub_name(name: str) -> bool:
    """Whether a hub could have something of this name."""
    return bool(_HUB_ID.fullmatch(name))


def licence(path: str | None, revision: str | None = None) -> str:
    """The licence that a model's own card names; empty when it has none, or names none."""
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    folder = find(path, revision, weights=False) if path else None
    try:
        data = ModelCard.load(folder / "README.md").data if folder else None
    except (OSError, ValueError, YAMLError):
        return ""
    named = data and (data.get("license_name") if data.get("license") == "other" else data.get("license"))
    return str(named or "")


def find(path: str, revision: str | None = None, *, weights: bool = True) -> Path | None:
    """The folder of a model without any network: the path itself, or where the cache has the hub id.

    Of a checkpoint of Trinity-RFT it is the model inside.

    Args:
        path: Folder or hub id.
        revision: Commit, tag or branch of the hub id; None is `main`, as it was when it was fetched.
        weights: Whether its weights have to be there too.

    Returns:
        None for a hub id that is not cached whole. Any other folder is not looked into.

    Raises:
        PreflightError: A checkpoint of Trinity-RFT whose weights are pickled.
    """
    if not is_hub_id(path):
        folder = Path(path).expanduser()
        return model_folder(folder, weights=weights) if is_checkpoint(folder) else folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                path,
                revision=revision,
                allow_patterns=[*SETTINGS, *(WEIGHTS if weights else ())],
                local_files_only=True,
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):  # not there, or no name that the hub gives
        return None
    is_whole = (folder / "config.json").is_file() and not (weights and missing_weights(folder))
    return folder if is_whole else None


def located(path: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """As `find`, for a caller that cannot go on without it.

    Raises:
        PreflightError: The hub id is not cached; names the command that fetches it.
    """
    found = find(path, revision, weights=weights)
    if found is None:
        raise _not_here(path, revision, only="" if weights else " --include '*.json'")
    return found


def check_reachable(path: str, revision: str | None = None) -> None:
    """Make sure that a hub id is cached or can be fetched.

    Raises:
        PreflightError: Neither, and why.
    """
    if find(path, revision) is None:
        _missing_bytes(path, revision)


def fetch(path: str, revision: str | None, report: Report) -> Path:
    """Bring a hub id into the cache; what is there already is not fetched again.

    Args:
        path: Hub id.
        revision: Commit, tag or branch.
        report: Told now and then how far it is; an exception of its ends the download.

    Raises:
        PreflightError: The hub does not give it, or nothing has come for ten minutes.
    """
    total = _missing_bytes(path, revision)
    before = held = _cached_bytes(path)
    grown_s = time.monotonic()

    def look() -> None:
        nonlocal held, grown_s
        now_s, now = time.monotonic(), _cached_bytes(path)
        if now != held:
            held, grown_s = now, now_s
        elif now_s - grown_s > _STALLED_S:
            raise _not_here(path, revision, f"; nothing has come for {_STALLED_S / 60:.0f} minutes")
        report(max(0, now - before) // _MB, max(total // _MB, 1))

    with _client("fetch", path, revision) as child:
        _, errors = _watched(child, look)
    if child.returncode:
        raise _not_here(path, revision, f"; the hub: {_last_line(errors)}")
    return located(path, revision)


def push(order: Mapping[str, Any], size: int, waiting: Waiting) -> tuple[str, str]:
    """Upload files; what the client says of it as JSON, or what went wrong.

    Args:
        order: As `codctl.models.hub_client` takes it.
        size: Bytes of all files.
        waiting: Told now and then how long it takes; an exception of its ends the upload.

    Raises:
        PreflightError: The user keeps everything offline.
    """
    if _is_offline_wished():
        raise PreflightError("HF_HUB_OFFLINE=1 forbids talking to the hub", hint="unset HF_HUB_OFFLINE")
    begun_s, most_s = time.monotonic(), _ANSWER_S + size / _SLOWEST

    def look() -> None:
        passed_s = time.monotonic() - begun_s
        if passed_s > most_s:
            raise TimeoutError
        waiting(passed_s, most_s)

    try:
        with _child("push") as child:
            said, errors = _watched(child, look, json.dumps(order))
    except TimeoutError:
        return "", f"it has not ended in {most_s / 60:.0f} minutes"
    return (_last_line(said), "") if child.returncode == 0 else ("", _last_line(errors))


def stay_offline() -> None:
    """Let nothing in this process ask the hub by itself; `fetch` still may, unless the user has said otherwise."""
    _is_offline_wished()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


@cache
def _is_offline_wished() -> bool:
    """Whether the user keeps everything offline; asked before codctl itself sets the same variable."""
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in _OFFLINE)


def _missing_bytes(path: str, revision: str | None) -> int:
    """What there is to fetch, by asking the hub."""
    if _is_offline_wished():
        raise _not_here(path, revision, "; HF_HUB_OFFLINE=1 forbids asking the hub")
    with _client("ask", path, revision) as child:
        answer = _ended(child, _ANSWER_S)
        if answer is None:
            child.kill()
            raise _not_here(path, revision, f"; the hub did not answer in {_ANSWER_S:.0f} s")
    if child.returncode:
        raise _not_here(path, revision, f"; the hub: {_last_line(answer[1])}")
    return int(_last_line(answer[0]))


def _not_here(path: str, revision: str | None, why: str = "", only: str = "") -> PreflightError:
    at = f" --revision {revision}" if revision else ""
    return PreflightError(
        f"there is no folder {path}, and the cache of hub models does not hold it{why}",
        where="model.path",
        hint=f"hf download {path}{at}{only}",
    )


def _client(what: str, path: str, revision: str | None) -> subprocess.Popen[str]:
    from huggingface_hub import constants

    return _child(what, path, revision or "main", str(constants.HF_HUB_CACHE))


def _child(*arguments: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OFFLINE}
    return subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-m", CLIENT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    )


def _watched(child: subprocess.Popen[str], look: Callable[[], None], told: str | None = None) -> tuple[str, str]:
    """What a child has written when it has ended.

    Args:
        child: It.
        look: Called every few seconds until then; an exception of its ends the child.
        told: What the child reads.
    """
    try:
        ended = _ended(child, _LOOK_S, told)
        while ended is None:
            look()
            ended = _ended(child, _LOOK_S)
    except BaseException:
        child.kill()
        raise
    return ended


def _ended(child: subprocess.Popen[str], timeout_s: float, told: str | None = None) -> tuple[str, str] | None:
    """What it has written, when it ends in time; the first time it can be told something."""
    try:
        return child.communicate(told, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None


def _cached_bytes(path: str) -> int:
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{path.replace('/', '--')}" / "blobs"
    total = 0
    for file in blobs.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # whole by now, under another name
            total += file.stat().st_size
    return total


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing"
