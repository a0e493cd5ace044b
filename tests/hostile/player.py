"""Plays every command line on hostile folders, each folder in a process of its own that is watched.

`python player.py PLAN.json` reads what to do (`Plan`) and writes a JSON line for each fault found.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import typer.main

from tests import forked
from tests.hostile import base, commands, mutations
from tests.hostile.mutations import Case, Traps
from tests.hostile.observer import Observer, Watch

_LIMIT_S = 90.0  # for one command on a busy machine
_MEMORY = 6 << 30
_CODES = {0, 1, 2, 3, 4, 5, 6, 7, 130}
SECRET = "company-secret"
_CLIENTS = ("sacct", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
_CLIENT = """\
#!/bin/sh
echo "${0##*/} $*" >> LOG
[ "${0##*/}" = squeue ] || exit 0
for word; do case $word in --format=*) format=${word#--format=};; esac; done
echo "$format" | sed "s/%[iAF]/JOB/; s/%T/RUNNING/; s/%r/None/; s/%N/node1/; s/%j/other-work/
s/%u/$(id -un)/; s/%U/$(id -u)/; s,%Z,/elsewhere,; s,%o,/elsewhere/run.sh,; s/%k/(null)/"
"""
_CANARY = "import pathlib\npathlib.Path(MARK).write_text('ran')\n"
_OTHER_REASONS = ("got no reply",)  # so small a model demonstrates nothing
# What these say of other runs must not depend on a damaged one.
_TELLS_ALL = ("runs list --all --json", "status --json")


@dataclass(frozen=True)
class Plan:
    """What a player is given.

    Attributes:
        source: The home with the runs that hostile ones are made from.
        work: A folder of its own.
        cases: File, keys and change of each.
        faults: Where to write what was found.
    """

    source: Path
    work: Path
    cases: list[Case]
    faults: Path

    @classmethod
    def read(cls, path: Path) -> Plan:
        content = json.loads(path.read_text())
        cases = [Case(file, tuple(keys), change) for file, keys, change in content["cases"]]
        return cls(Path(content["source"]), Path(content["work"]), cases, Path(content["faults"]))

    def write(self, path: Path) -> None:
        cases = [[case.file, case.keys, case.change] for case in self.cases]
        content = {"source": str(self.source), "work": str(self.work), "cases": cases, "faults": str(self.faults)}
        path.write_text(json.dumps(content))


class Stage:
    """The surroundings of all cases: traps, a stranger's server, SLURM's clients, somebody else's process."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.programs, self.calls, self.requests = work / "programs", work / "calls", work / "requests"
        self._bystander = subprocess.Popen(["sleep", "36000"])
        self._server, port = _serve(self.requests)
        self.port = port
        outside = work / "outside"
        self.traps = Traps(
            outside, outside / "secret.json", work / "mark", f"http://127.0.0.1:{port}", self._bystander.pid, base.JOB
        )
        self._make()
        self._watch = Watch(outside)

    def _make(self) -> None:
        self.programs.mkdir(parents=True)
        self.calls.touch()
        self.requests.touch()
        for name in _CLIENTS:
            path = self.programs / name
            path.write_text(_CLIENT.replace("LOG", str(self.calls)).replace("JOB", base.JOB))
            path.chmod(0o755)
        outside = self.traps.folder
        outside.mkdir()
        self.traps.file.write_text(json.dumps({"schema": 1, "password": SECRET, "name": "outside"}))
        for name in ("manifest.json", "sweep.json", "config.json", "result.json", "metrics.jsonl", "log.txt"):
            shutil.copy(self.traps.file, outside / name)
        for place in (outside, outside / "trials"):
            package = place / ".code" / "0123456789abcdef" / "codctl"
            package.mkdir(parents=True)
            (package / "__init__.py").write_text(_CANARY.replace("MARK", repr(str(self.traps.mark))))

    def faults(self) -> Iterator[str]:
        """What happened to the surroundings since the last time."""
        for name in self._watch.touched():
            yield f"touched outside: {name}"
        if self.traps.mark.exists():
            yield "a canary was executed"
            self.traps.mark.unlink()
        if self._bystander.poll() is not None:
            yield "somebody else's process was ended"
        for line in _taken(self.calls):
            if line.split()[0] not in ("squeue", "sacct", "sinfo") or not _is_plain(line):
                yield f"SLURM was asked: {line[:200]}"
        for line in _taken(self.requests):
            if "authorization" in line.lower():
                yield f"a stranger was given credentials: {line[:200]}"

    def end(self) -> None:
        self._bystander.kill()
        os.kill(self._server, signal.SIGKILL)
        os.waitpid(self._server, 0)
        self._bystander.wait()


def main() -> None:
    plan = Plan.read(Path(sys.argv[1]))
    plan.work.mkdir(parents=True, exist_ok=True)
    stage = Stage(plan.work)
    names = base.evaluations(plan.source)
    try:
        with plan.faults.open("a") as out:
            for number, case in enumerate(plan.cases):
                started = time.monotonic()
                for command, fault in play(case, plan, stage, names, number):
                    out.write(json.dumps({"case": case.name, "command": command, "fault": fault}) + "\n")
                out.write(json.dumps({"case": case.name, "seconds": round(time.monotonic() - started, 1)}) + "\n")
                out.flush()
    finally:
        stage.end()


def play(case: Case, plan: Plan, stage: Stage, evaluations: list[str], number: int) -> Iterator[tuple[str, str]]:
    """One hostile folder; each fault with the command that showed it."""
    home = plan.work / f"home-{number}"
    base.copy(plan.source, home)
    mutations.apply(case, home / "runs", stage.traps)
    before = _digests(home / "runs" / base.BYSTANDER)
    todo = list(_lines(case, evaluations))
    record, seen = home.with_suffix(".record"), home.with_suffix(".seen")
    while todo:
        done, problem = _in_child(todo, home, stage, record, seen)
        for entry in done:
            yield from ((entry["line"], fault) for fault in _faults(entry, case))
        todo = todo[len(done) :]
        if problem:
            yield " ".join(todo[0]) if todo else "at the end", problem
            todo = todo[1:]
        for event in _taken(seen):
            yield "", " ".join(json.loads(event))
        for fault in stage.faults():
            yield "", fault
    if before != _digests(home / "runs" / base.BYSTANDER):
        yield "", "a run that nobody named was changed"
    for path in (record, seen):
        path.unlink(missing_ok=True)
    shutil.rmtree(home)


def _lines(case: Case, evaluations: list[str]) -> Iterator[list[str]]:
    target, kind = case.target, case.file.split("/")[0]
    run = target if kind not in ("sweeps", "evaluations") else "micro"
    sweep = base.SWEEP
    if kind == "sweeps" and "/" in target:
        run, sweep = target, target.partition("/")[0]
    elif kind == "sweeps":
        run = f"{target}/{base.TRIAL}"
    name = target if kind == "evaluations" else evaluations[0]
    other = next(one for one in evaluations if one != name)
    return commands.lines(run, sweep, name, other, zlib.crc32(case.name.encode()))


def _in_child(
    todo: list[list[str]], home: Path, stage: Stage, record: Path, seen: Path
) -> tuple[list[dict[str, Any]], str]:
    """Run command lines in a forked process; what those did that ended, and why the next did not."""
    record.write_text("")
    pid = os.fork()
    if pid == 0:
        try:
            _be(todo, home, stage, record, seen)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        os._exit(0)
    done: list[dict[str, Any]] = []
    changed = time.monotonic()
    problem = ""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        entries = [json.loads(line) for line in record.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if len(entries) > len(done):
            done, changed = entries, time.monotonic()
        if ended:
            problem = f"ended with status {status}" if len(done) < len(todo) else ""
            break
        if time.monotonic() - changed > _LIMIT_S:
            problem = f"did not end within {_LIMIT_S:.0f} s"
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if not ended:
        os.waitpid(pid, 0)
    return done, problem


def _be(todo: list[list[str]], home: Path, stage: Stage, record: Path, seen: Path) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    os.chdir(home)
    tempfile.tempdir = None  # it was looked up in the parent
    os.environ |= {
        "PATH": f"{stage.programs}:{os.environ['PATH']}",
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": SECRET,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    }
    typer.main.get_command = functools.cache(typer.main.get_command)  # the same tree for all lines
    with record.open("a") as out:
        Observer(seen, home, [stage.port], stage.programs).install()
        forked._let_it_fork([2], [])  # what a command starts is watched as well
        for words in todo:
            out.write(json.dumps(_run(words)) + "\n")
            out.flush()


def _run(words: list[str]) -> dict[str, Any]:
    from codctl.cli.main import run

    printed, said, started = io.StringIO(), io.StringIO(), time.monotonic()
    escaped = ""
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            code = run(words)
        except BaseException as error:  # noqa: BLE001
            code, escaped = -1, f"{type(error).__name__}: {error}"
        try:
            commands.complete(words[:-1])
        except BaseException as error:  # noqa: BLE001
            escaped = f"completion: {type(error).__name__}: {error}"
    return {
        "line": " ".join(words),
        "code": code,
        "out": printed.getvalue(),
        "err": said.getvalue(),
        "escaped": escaped,
        "seconds": round(time.monotonic() - started, 1),
    }


def _faults(entry: dict[str, Any], case: Case) -> Iterator[str]:
    said = entry["err"] + entry["out"]
    if entry["escaped"]:
        yield f"escaped: {entry['escaped'][:300]}"
    if "Traceback (most recent call last)" in said:
        yield "traceback: " + _in_short(said)
    elif entry["code"] == 1:
        yield f"unexpected: {said[-300:]}"
    if entry["code"] not in _CODES:
        yield f"exit code {entry['code']}"
    if SECRET in said:
        yield "shows what a file outside holds"
    if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", said.replace("\r\n", "\n")):
        yield "a control character reaches the terminal"
    if entry["code"] and not any(name in said for name in (*_names(case), *entry["line"].split(), *_OTHER_REASONS)):
        yield f"the message does not say where: {said[-300:]}"
    if entry["line"] in _TELLS_ALL:
        others = {"half", "micro", base.BYSTANDER} - {case.target}
        missing = [name for name in sorted(others) if f'"{name}"' not in entry["out"]]
        if entry["code"] or missing:
            yield f"one damaged run hides others: exit code {entry['code']}, missing {missing}: {said[-200:]}"


def _names(case: Case) -> set[str]:
    return {Path(case.file).name, case.target, *Path(case.file).parts[:2], *map(str, case.keys)}


def _in_short(said: str) -> str:
    lines = [line.strip() for line in said[said.index("Traceback") :].splitlines() if line.strip()]
    places = [line for line in lines if line.startswith("File ") and "codctl" in line]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Warning)?: |\w+Error$", line)]
    return f"{(errors or lines)[-1][:200]} at {places[-1] if places else '?'}"


def _digests(folder: Path) -> dict[str, str]:
    import hashlib

    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("mlflow")
    }


def _taken(path: Path) -> list[str]:
    """The lines of a file, which is emptied."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    os.truncate(path, 0)
    return lines


def _is_plain(line: str) -> bool:
    """Whether a question to SLURM names jobs by numbers alone."""
    _, _, jobs = line.rpartition(" ")
    return bool(re.fullmatch(r"(--jobs=)?[\d,_]*", jobs)) or "--version" in line


def _serve(requests: Path) -> tuple[int, int]:
    """A stranger's server in a process of its own: it answers 404 and writes down what it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            with requests.open("a") as out:
                out.write(f"{self.requestline} {dict(self.headers)}\n")
            self.send_error(404)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    pid = os.fork()
    if pid == 0:
        try:
            server.serve_forever()
        finally:
            os._exit(0)
    port = server.server_address[1]
    server.socket.close()
    return pid, int(port)


if __name__ == "__main__":
    main()
