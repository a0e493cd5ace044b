"""Every way in which a run's folder may lie: each file of it damaged, each field of it replaced.

A case is one change to one file. Whoever sends a folder can seal it again, so COMPLETE.json follows the change.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

_COMPLETE = "COMPLETE.json"
_RAW = "@@raw@@"
_DEEP, _DIGITS, _LONG = 100_000, 5_000, 200_000
_HUGE = 6 << 30  # bytes, most of them a hole


@dataclass(frozen=True)
class Traps:
    """What lies outside the run's folder, for a run's files to point at.

    Attributes:
        folder: Nothing in it may be read, written or executed.
        file: One of its files, which looks like any of a run.
        mark: Appears when a canary is executed.
        url: A server of a stranger.
        pid: A process of somebody else.
        job: A job of somebody else.
    """

    folder: Path
    file: Path
    mark: Path
    url: str
    pid: int
    job: str


@dataclass(frozen=True)
class Case:
    """One change.

    Attributes:
        file: The changed file, below the runs folder.
        keys: The way to the changed field; none for a change of the whole file.
        change: Its name.
    """

    file: str
    keys: tuple[str | int, ...]
    change: str

    @property
    def name(self) -> str:
        return (
            f"{self.file}:{'.'.join(map(str, self.keys))}={self.change}" if self.keys else f"{self.file} {self.change}"
        )

    @property
    def target(self) -> str:
        """What to call the changed thing on the command line: a run, a sweep, or an evaluation's name."""
        first, *rest = self.file.split("/")
        if first == "sweeps":
            return "/".join((rest[0], rest[2])) if rest[1] == "trials" else rest[0]
        return rest[0] if first == "evaluations" else first


# What a field is replaced by. Raw texts stand in the file as they are.
VALUES: dict[str, Callable[[Traps, Path], Any]] = {
    "absolute path": lambda traps, _: str(traps.folder),
    "absolute file": lambda traps, _: str(traps.file),
    "parent path": lambda traps, folder: os.path.relpath(traps.folder, folder),
    "parent file": lambda traps, folder: os.path.relpath(traps.file, folder),
    "here": lambda *_: ".",
    "above": lambda *_: "../../../..",
    "command": lambda traps, _: f"$(touch {traps.mark}); `touch {traps.mark}`; |touch {traps.mark}",
    "option": lambda *_: "--user=root",
    "other run": lambda *_: "other",
    "job": lambda traps, _: traps.job,
    "jobs": lambda traps, _: [traps.job, f"{traps.job}+0", "--user=root"],
    "process": lambda traps, _: traps.pid,
    "host": lambda *_: socket.gethostname(),
    "url": lambda traps, _: traps.url,
    "foreign url": lambda *_: "http://stranger.invalid:9/mlflow",
    "file url": lambda traps, _: f"file://{traps.folder}",
    "database url": lambda traps, _: f"sqlite:///{traps.folder}/mlflow.db",
    "text": lambda *_: "x",
    "empty text": lambda *_: "",
    "number": lambda *_: 7,
    "negative": lambda *_: -1,
    "fraction": lambda *_: 0.5,
    "list": lambda *_: [],
    "nested list": lambda *_: [[1, [None]], {"a": 1}],
    "object": lambda *_: {},
    "true": lambda *_: True,
    "null": lambda *_: None,
    "control characters": lambda *_: "\x1b[2J\x1b]0;owned\x07\r\x00\x9b",
    "bidirectional": lambda *_: "\u202egnp.exe\u2066",
    "long text": lambda *_: "x" * _LONG,
    "large number": lambda *_: 10**30,
    "lone surrogate": lambda *_: _raw('"\\ud800"'),
    "nan": lambda *_: _raw("NaN"),
    "infinity": lambda *_: _raw("-Infinity"),
    "overflow": lambda *_: _raw("1e999"),
    "digits": lambda *_: _raw("9" * _DIGITS),
    "deep object": lambda *_: _raw('{"a":' * _DEEP + "1" + "}" * _DEEP),
    "deep list": lambda *_: _raw("[" * 900 + "]" * 900),
    "twice": lambda *_: _raw('1, "schema": 1, "schema": 2'),
    "missing": lambda *_: _raw(""),
}


def _raw(text: str) -> str:
    return _RAW + text


def _rewrite(path: Path, data: bytes) -> None:
    path.unlink()  # it may be a link to the original
    path.write_bytes(data)


def _instead(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # its name has to be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    path.write_bytes(b'{"schema": 1, "a": "')
    os.truncate(path, _HUGE)


def _sibling(path: Path) -> Path:
    others = sorted(one for one in path.parent.iterdir() if one.is_file() and one.name != path.name)
    return others[0] if others else path


FILES: dict[str, Callable[[Path, Traps], None]] = {
    "is gone": lambda path, _: path.unlink(),
    "is empty": lambda path, _: _rewrite(path, b""),
    "is cut": lambda path, _: _rewrite(path, path.read_bytes()[: path.stat().st_size // 2]),
    "is another file": lambda path, _: _rewrite(path, _sibling(path).read_bytes()),
    "is binary": lambda path, _: _rewrite(path, Random(0).randbytes(4096)),
    "is UTF-16": lambda path, _: _rewrite(path, path.read_bytes().decode("latin-1").encode("utf-16")),
    "is latin-1": lambda path, _: _rewrite(path, b'{"schema": 1, "name": "\xe4\xff"}\n'),
    "is a list": lambda path, _: _rewrite(path, b"[1, 2]\n"),
    "is a number": lambda path, _: _rewrite(path, b"1"),
    "is an empty object": lambda path, _: _rewrite(path, b"{}\n"),
    "is deep": lambda path, _: _rewrite(path, b'{"a":' * _DEEP + b"1" + b"}" * _DEEP),
    "is deep lists": lambda path, _: _rewrite(path, b"[" * _DEEP),
    "has digits": lambda path, _: _rewrite(path, b'{"schema": ' + b"9" * _DIGITS + b"}"),
    "is huge": lambda path, _: _instead(path, _sparse),
    "is endless": lambda path, _: _instead(path, lambda it: it.symlink_to("/dev/zero")),
    "is a link outside": lambda path, traps: _instead(path, lambda it: it.symlink_to(traps.file)),
    "is a relative link outside": lambda path, traps: _instead(
        path, lambda it: it.symlink_to(os.path.relpath(traps.file, path.parent))
    ),
    "is a link to a folder": lambda path, traps: _instead(path, lambda it: it.symlink_to(traps.folder)),
    "is a loop": lambda path, _: _instead(path, lambda it: it.symlink_to(it.name)),
    "is a pipe": lambda path, _: _instead(path, os.mkfifo),
    "is a socket": lambda path, _: _instead(path, _socket),
    "is a folder": lambda path, _: _instead(path, Path.mkdir),
    "is unreadable": lambda path, _: path.chmod(0),  # not for root
}


def all_cases(runs: Path) -> list[Case]:
    """Every change to every file, in a fixed order."""
    return [case for file in _files(runs) for case in _cases(runs, file)]


def choose(runs: Path, number: int, seed: int = 0) -> list[Case]:
    """So many cases: all files in turn, and of each file all changes in turn."""
    rng = Random(seed)
    by_file = [list(_cases(runs, file)) for file in _files(runs)]
    for cases in by_file:
        rng.shuffle(cases)
    rng.shuffle(by_file)
    found: list[Case] = []
    seen: dict[str, int] = {}
    while len(found) < number and any(by_file):
        for cases in filter(None, by_file):
            # The changes that were used least come first, so that a small choice has as many of them as it can.
            best = min(range(len(cases)), key=lambda at: seen.get(cases[at].change, 0))
            case = cases.pop(best)
            seen[case.change] = seen.get(case.change, 0) + 1
            found.append(case)
    return found[:number]


def apply(case: Case, runs: Path, traps: Traps) -> None:
    """Make the change in a copy."""
    path = runs / case.file
    if case.keys:
        _replace_field(path, case.keys, VALUES[case.change](traps, path.parent))
    else:
        FILES[case.change](path, traps)
    if path.name != _COMPLETE:
        _seal_again(path, runs)


def _files(runs: Path) -> list[str]:
    """The files of runs, trials, sweeps and evaluations that are changed; of equal ones, those of one run."""
    found = []
    for path in sorted(runs.rglob("*")):
        parts = path.relative_to(runs).parts
        if path.is_file() and not parts[0].startswith((".", "mlflow", "other")) and path.name != "mlflow.lock":
            is_twin = parts[0] == "micro" and "stages" not in parts and "attempts" not in parts
            is_twin = is_twin or (parts[0] == "half" and "stages" in parts and parts[2] in ("model", "warm_start"))
            is_twin = is_twin or (parts[0] == "sweeps" and "stages" in parts)
            is_twin = is_twin or (parts[0] == "evaluations" and parts[1] != min(_names(runs / "evaluations")))
            if not is_twin or path.name in ("manifest.json", "mlflow.json"):
                found.append("/".join(parts))
    return found


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _cases(runs: Path, file: str) -> Iterator[Case]:
    for change in FILES:
        if change != "is unreadable" or os.geteuid() != 0:
            yield Case(file, (), change)
    path = runs / file
    if path.suffix in (".json", ".jsonl"):
        content = _load(path)
        for keys in _fields(content):
            for change in VALUES:
                yield Case(file, keys, change)


def _load(path: Path) -> Any:
    text = path.read_text()
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def _fields(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Each object and value in it; of lists the first and the last."""
    if keys:
        yield keys
    if len(keys) > 5:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _fields(inner, (*keys, key))
    elif isinstance(value, list):
        for at in sorted({0, len(value) - 1} if value else ()):
            yield from _fields(value[at], (*keys, at))


def _replace_field(path: Path, keys: Sequence[str | int], value: Any) -> None:
    content = _load(path)
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value == _RAW:
        del place[keys[-1]]
        value = None
    else:
        place[keys[-1]] = _RAW if isinstance(value, str) and value.startswith(_RAW) else value
    texts = [json.dumps(one) for one in content] if path.suffix == ".jsonl" else [json.dumps(content, indent=2)]
    text = "\n".join(texts) + "\n"
    if isinstance(value, str) and value.startswith(_RAW):
        text = text.replace(json.dumps(_RAW), value.removeprefix(_RAW))
    _rewrite(path, text.encode())


def _seal_again(changed: Path, runs: Path) -> None:
    for folder in changed.relative_to(runs).parents:
        complete = runs / folder / _COMPLETE
        if not complete.is_file():
            continue
        content = json.loads(complete.read_text())
        for entry in content["files"]:
            file = complete.parent / entry["path"]
            if file == changed and file.is_file() and 0 < file.stat().st_size < 1 << 20 and not file.is_symlink():
                data = file.read_bytes()
                entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        body = {key: value for key, value in content.items() if key != "sha256"}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
        _rewrite(complete, json.dumps({**body, "sha256": digest}).encode())
