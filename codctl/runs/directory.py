"""A run's directory: what lies where, who may use it, and how it stands. Files on disk are the truth. Stdlib only."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import PreflightError, RefusedError, StageError, UsageError
from codctl.files import atomic, lock, reader
from codctl.log import log
from codctl.runs import attempt, code, heartbeat, machine, manifest, place, stop
from codctl.runs.layout import Layout
from codctl.runs.progress_mark import mark

if TYPE_CHECKING:
    from codctl.config.schema import Config
    from codctl.files.records import Attempt, Dispatch, Frozen, Heartbeat, Manifest, Sweep


SWEEPS, TRIALS = "sweeps", "trials"
_LINKS_OF_SUBMITIT = "slurm/.submission_file_*.sh"  # left behind by earlier versions; only sbatch has read them
# What only the holder of the lock writes; beside it others may be writing, a request to stop for one.
_FOLDERS_OF_ATTEMPTS = ("stages", "suites", "attempts")
_FILES_OF_ATTEMPTS = ("heartbeat.json", "metrics.jsonl", "report.html")


class RunDirectory(Layout):
    """One run on disk.

    Args:
        path: The run's folder, which must hold a manifest.
        new_config: Frozen config to store when the next attempt starts (the same training).
    """

    def __init__(self, path: Path, *, new_config: dict[str, Any] | None = None) -> None:
        super().__init__(path)
        self._new_config = new_config
        self.beat: heartbeat.Beat | None = None  # of an attempt that this object has started
        self._held: lock.RunLock | None = None  # by such an attempt

    @classmethod
    def create_or_continue(
        cls,
        runs_dir: Path,
        config: Config,
        *,
        recipe: str,
        command: Sequence[str],
        fresh: bool = False,
        sweep: Path | None = None,
        durable: bool = True,
        extend: bool = False,
    ) -> RunDirectory:
        """Make the run's directory, or return the one that the same config made before.

        Args:
            runs_dir: Where runs live.
            config: The run's config; its name is the folder's name.
            recipe: The recipe as the user named it.
            command: The command line, for reproduction.
            fresh: Move an existing directory aside to `<name>.old-<n>` and start anew.
            sweep: Folder of the sweep that it is a trial of; the run then lies below it.
            durable: Survive a power cut now; who makes a thousand may see to it once for all (`os.sync`).
            extend: Accept that other `train.steps` move the learning rate of a run that has begun.

        Raises:
            RefusedError: A live process uses it, or it belongs to a config that learns something else.
            PreflightError: It cannot be written.
        """
        from codctl.config.freeze import digest, frozen_file

        path = (sweep / TRIALS if sweep else runs_dir) / config.name
        if fresh:
            move_aside(path)
        frozen = frozen_file(config)
        content = manifest.new(
            name=config.name,
            recipe=recipe,
            command=command,
            digest=digest(config),
            root=os.path.relpath(runs_dir, path),
            sweep=os.path.relpath(sweep, path) if sweep else None,
        )
        with atomic.storage_errors(path, PreflightError):
            if create(path, content, frozen, durable=durable):
                return cls(path)
        run = cls.open(path)
        run._refuse_other_config(config, extend=extend)
        if lock.is_locked(run.lock_path):
            raise lock.in_use(run.lock_path)
        if not os.access(path, os.W_OK):
            raise PreflightError("cannot write: no permission to write", where=str(path), hint="change its permissions")
        return cls(path, new_config=frozen)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run in `path`.

        Raises:
            UsageError: There is none, it is a trial that is a link, or it holds links, through which files elsewhere
                would be read and written.
        """
        run = cls(path)
        if is_linked_trial(path):
            raise UsageError(
                "the trial is a link, and links in a sweep are not followed",
                where=str(path),
                hint="give the folder that it points to",
            )
        run.manifest()
        if link := reader.first_link(path, besides=_LINKS_OF_SUBMITIT):
            raise UsageError(
                f"{link.relative_to(path)} is a link or no regular file, and a run holds only files and folders",
                where=str(path),
                hint=f"rm {shlex.quote(str(link))}",
            )
        return run

    @property
    def title(self) -> str:
        """What to call it on the command line: its name, of a trial after its sweep's."""
        sweep = self.sweep
        return f"{sweep.name}/{self.name}" if sweep else self.name

    @property
    def root(self) -> Path:
        """The runs folder: the one that it lies in, wherever it was made."""
        sweep = self.sweep
        return Path(os.path.normpath(sweep / "../.." if sweep else self.path / ".."))

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep that it is a trial of: the one it lies in, wherever it was copied from."""
        *_, sweeps, _, trials, _ = ("", "", "", *self.path.absolute().parts)
        is_trial = trials == TRIALS and (sweeps == SWEEPS or self._was_made_as_trial())
        return Path(os.path.normpath(self.path / "../..")) if is_trial else None

    def _was_made_as_trial(self) -> bool:
        with contextlib.suppress(UsageError):
            return bool(self.manifest().get("sweep"))
        return False

    def manifest(self) -> Manifest:
        """What was started and how, under the name that the folder has now: a copy is a run of its own."""
        found = manifest.read(self.manifest_path)
        if self.name == found["name"]:
            return found
        found["name"], found["command"] = self.name, _renamed(found["command"], self.name)
        return found

    @property
    def copy_of(self) -> str | None:
        """The name that it was made under, when it was copied or renamed since."""
        made = place.made_as(self.path)
        return made if made and made != self.name else None

    def config(self) -> Config:
        """The frozen config, validated.

        Raises:
            UsageError: It is missing or damaged.
        """
        from codctl import trust
        from codctl.config.freeze import thaw

        frozen = self.frozen()
        if (named := set(trust.import_paths(frozen["config"]))) and self.is_at_home():
            trust.allow(named)
        return thaw(frozen, str(self.path / "config.json")).model_copy(update={"name": self.name})

    def attempts(self) -> list[Attempt]:
        """The records of all attempts; those that never said how they ended have died."""
        total = attempt.count(self.path)
        found = [attempt.read(self.path, number) for number in range(1, total + 1)]
        for number, record in enumerate(found, start=1):
            if record["outcome"] == "running" and (number < total or self.status() != "running"):
                record["outcome"] = "died"
        return found

    def status(self) -> str:
        """How it stands, from its files alone.

        planned (nothing happened yet, or nothing since it was extended), queued (at a launcher), running, finished,
        failed, interrupted, cancelled, paused (its scheduler will start it again), or died: recorded as running but
        no process holds the lock.
        """
        number = attempt.count(self.path)
        record = attempt.read(self.path, number) if number else None
        if record and record["outcome"] == "running":
            if lock.is_locked(self.lock_path):
                return "running"
            record = attempt.read(self.path, number)  # it may have ended between the two looks
        outcome = record["outcome"] if record else ""
        if record and outcome == "finished" and self._is_as_attempted(record):
            return "finished"
        request = stop.read(self.path)
        if request and request.kind == "cancel" and request.after_attempt >= number:
            return "cancelled"
        dispatched = self.dispatch()
        if dispatched and dispatched.get("where") != "local" and dispatched.get("after_attempt", 0) >= number:
            return "queued"
        return {"": "planned", "finished": "planned", "running": "died"}.get(outcome, str(outcome))

    def _is_as_attempted(self, record: Attempt) -> bool:
        """Whether the config is still that of an attempt: false for a run that was extended and has not started."""
        attempted = record.get("digest")
        try:
            return attempted is None or attempted == self.frozen()["digest"]
        except UsageError:
            return True

    def mark(self) -> str:
        """How far it is, in things that no kill can take back; the same text twice means no progress."""
        return mark(self.path)

    def heartbeat(self) -> Heartbeat | None:
        """The last sign of life of an attempt."""
        return heartbeat.read(self.path)

    def report_trouble(self, what: str) -> None:
        """Let `codctl status` show what is wrong beside the work of this attempt; empty when nothing is any more."""
        if self.beat is not None and self.beat.trouble != what:
            self.beat.trouble = what
            self.beat.now()

    def dispatch(self) -> Dispatch | None:
        """Where it was sent to run, if it was. A copy was sent nowhere: the jobs are the original's.

        Raises:
            UsageError: dispatch.json is damaged.
        """
        from codctl.files import records as files

        path = self.path / "dispatch.json"
        found = reader.read(path, files.Dispatch, most_bytes=reader.LARGE, hint=f"rm {shlex.quote(str(path))}")
        return None if found is None or place.is_copied(self.path, found.get("place")) else found

    def is_at_home(self) -> bool:
        """Whether it was made in this folder, or submitted from it: false for copies and what came from elsewhere."""
        sent = self.dispatch()
        written = (self.manifest().get("place"), sent.get("place") if sent else None)
        return any(place.is_at_home(self.path, one) for one in written)

    def write_dispatch(self, content: Mapping[str, Any]) -> None:
        """Record where it was sent. A request to stop that came since is not forgotten: clear an old one before."""
        about = {
            "schema": 1,
            "submitted": manifest.now(),
            "after_attempt": attempt.count(self.path),
            "place": place.of(self.path),
        }
        atomic.write_json(self.path / "dispatch.json", {**about, **content})

    def request_stop(self, kind: stop.Kind, by: str = "") -> None:
        """Ask its worker to save and stop (see runs.stop)."""
        stop.write(self.path, kind, after_attempt=attempt.count(self.path), by=by)

    def stop_requested(self) -> stop.Kind | None:
        """What was asked for.

        Raises:
            MovedError: An attempt of this object is going on, and the folder was moved, deleted or replaced.
        """
        if self._held is not None:
            self._held.check()
        request = stop.read(self.path)
        return request.kind if request else None

    def check_stop(self) -> None:
        """Raise `stop.Stopped` when it was asked for."""
        if kind := self.stop_requested():
            raise stop.Stopped(kind)

    def clear_stop(self) -> None:
        """It goes on: an earlier request to stop no longer holds."""
        stop.clear(self.path)

    def store_config(self) -> None:
        """Keep a changed config for the same training now: another process will start the next attempt."""
        if self._new_config is not None and self._new_config != self.frozen():
            atomic.write_json(self.path / "config.json", self._new_config)
        self._new_config = None

    @contextlib.contextmanager
    def start_attempt(self, job: str | None = None) -> Iterator[int]:
        """Use the run: take its lock, log to a file, and record truthfully how the block ended.

        A request to stop counts as cancelled or paused, Ctrl-C, SIGTERM and SIGHUP as interrupted, any other exception
        as failed. Yields the attempt's number.

        Args:
            job: The scheduler's id of the job that does it.

        Raises:
            RefusedError: Another process uses the run.
            Stopped: It was cancelled before it began.
            MovedError: The folder was moved, deleted or replaced while the block ran.
        """
        with lock.RunLock(self.lock_path) as held:
            for part in _FOLDERS_OF_ATTEMPTS:
                atomic.remove_leftovers(self.path / part)
            for name in _FILES_OF_ATTEMPTS:
                atomic.remove_leftovers_of(self.path / name)
            requested = self.stop_requested()
            if requested == "cancel":
                raise stop.Stopped("cancel")
            if requested == "pause":
                self.clear_stop()
            number = attempt.count(self.path) + 1
            before = attempt.read(self.path, number - 1) if number > 1 else None
            code_now = code.digest()
            asked = self._new_config or self.frozen()
            about = {"job": job, "code": code_now, "digest": asked["digest"], "mark": self.mark()}
            with (
                attempt.recorded(self.path, number, about),
                self._in_place(held),
                heartbeat.beating(self.path, number) as self.beat,
            ):
                self.store_config()
                atomic.write_json(attempt.folder(self.path, number) / "config.json", self.frozen())
                self._note_environment(number)
                _tell_differences(before, code_now, self.copy_of)
                yield number

    @contextlib.contextmanager
    def _in_place(self, held: lock.RunLock) -> Iterator[None]:
        """Whatever ends the block: when the folder is another one now, that is why."""
        self._held = held
        try:
            yield
        finally:
            self._held = None
            held.check()

    def _note_environment(self, number: int) -> None:
        found = machine.environment()
        atomic.write_json(attempt.folder(self.path, number) / "environment.json", found)
        if (earlier := _packages(self.path, number - 1)) and earlier != found["packages"]:
            names = sorted({*earlier, *found["packages"]})
            changed = [
                f"{name} {earlier.get(name, 'absent')} → {found['packages'].get(name, 'absent')}"
                for name in names
                if earlier.get(name) != found["packages"].get(name)
            ]
            log.warning("packages differ from attempt %d: %s", number - 1, ", ".join(changed[:8]))

    def frozen(self) -> Frozen:
        """What config.json holds: schema, digests, config.

        Raises:
            UsageError: It is missing or damaged.
        """
        from codctl.files import records as files

        path = self.path / "config.json"
        try:
            found = reader.read(path, files.Frozen)
        except UsageError as error:
            raise UsageError(error.message, where=error.where, hint=self._repair()) from error
        if found is None:
            raise UsageError("config.json is missing", where=str(path), hint=self._repair())
        return found

    def config_problem(self) -> UsageError | None:
        """What is wrong with its config.json, with the command that mends it."""
        try:
            self.frozen()
        except UsageError as error:
            return error
        return None

    def _repair(self) -> str:
        """What to type when config.json is gone: every attempt keeps a copy of the one that it ran with."""
        from codctl.files import records as files

        for number in range(attempt.count(self.path), 0, -1):
            kept = attempt.folder(self.path, number) / "config.json"
            with contextlib.suppress(UsageError):
                if reader.read(kept, files.Frozen, within=self.path):
                    return shlex.join(["cp", str(kept), str(self.path / "config.json")])
        return shlex.join([*self.manifest()["command"], "--fresh"])

    def _refuse_other_config(self, config: Config, *, extend: bool) -> None:
        from codctl.config.freeze import digest, thaw
        from codctl.runs.extension import check_change

        frozen = self.frozen()
        if frozen["digest"] == digest(config):
            return
        before = thaw(frozen)
        if digest(before) != frozen["digest"]:
            raise RefusedError(
                f"run {self.name!r} was made by a version of codctl in which the same settings mean something else",
                where=str(self.path),
                hint="--name OTHER makes a second run, --fresh moves this one aside",
            )
        check_change(self.path, before, config, extend=extend)


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """Every run in a folder, by name, without the trials of sweeps; none when the folder does not exist."""
    return [RunDirectory(path.parent) for path in sorted(runs_dir.glob("[!.]*/manifest.json"))]


def list_sweeps(runs_dir: Path) -> list[Path]:
    """The folders of all sweeps, by name."""
    return [path.parent for path in sorted(runs_dir.glob(f"{SWEEPS}/[!.]*/sweep.json"))]


def read_sweep(folder: Path) -> Sweep | None:
    """The plan of a sweep, under the name that its folder has now; None when there is none.

    Raises:
        UsageError: sweep.json is damaged, or of another schema.
    """
    from codctl.files import records as files

    hint = "run the command of the sweep again with --fresh: it moves this one aside"
    defaults: dict[str, Any] = {"axes": {}, "bases": {}, "command": []}
    path = folder / "sweep.json"
    found = reader.read(path, files.Sweep, defaults=defaults, most_bytes=reader.LARGE, hint=hint)
    if found:
        found["name"] = folder.resolve().name
    return found


def trials_of(sweep: Path) -> list[RunDirectory]:
    """Every trial of a sweep that has a directory, by name."""
    return list_runs(sweep / TRIALS)


def is_linked_trial(path: Path) -> bool:
    """Whether a folder in the place of a sweep's trial is a link, or lies behind one, to a run elsewhere."""
    trials = path.absolute().parent
    return trials.name == TRIALS and (path.is_symlink() or trials.is_symlink())


def find_run(runs_dir: Path, name_or_path: str) -> RunDirectory:
    """The run that a user means by a name in `runs_dir`, by `<sweep>/<trial>`, or by a path.

    Raises:
        UsageError: There is none; the nearest names are listed.
    """
    from codctl.config.names import nearest

    sweep, _, trial = name_or_path.partition("/")
    places = [runs_dir / name_or_path, runs_dir / SWEEPS / sweep / TRIALS / trial, Path(name_or_path)]
    for path in places:
        if path.name and (path / "manifest.json").exists():
            return RunDirectory.open(path)
    trials = trials_of(runs_dir / SWEEPS / sweep) if trial else []
    names = [run.title for run in trials] if trials else [run.name for run in list_runs(runs_dir)]
    near = nearest(name_or_path if trials else Path(name_or_path).name, names)
    hint = f"did you mean {near}?" if near else "`codctl runs list` lists the runs"
    raise UsageError(f"no run named {name_or_path!r}", where=str(runs_dir), hint=hint)


def create(
    path: Path,
    content: Mapping[str, Any],
    frozen: Mapping[str, Any],
    fill: Callable[[Path], None] | None = None,
    *,
    durable: bool = True,
) -> bool:
    """Bring a run's directory into being whole; False when there is one already (perhaps made this very moment).

    Args:
        path: The run's folder.
        content: Of its manifest.
        frozen: Of its config.json.
        fill: Puts into the folder, before anybody sees it, what the run begins with.
        durable: Survive a power cut now.
    """
    if path.is_dir() and any(path.iterdir()):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = atomic.temp_sibling(path)
    try:
        temp.mkdir()
        if fill is not None:
            fill(temp)
        atomic.write_json(temp / "config.json", frozen, durable=durable)
        home = {**place.of(temp), "path": str(path.resolve())}
        atomic.write_json(temp / "manifest.json", {**content, "place": home}, durable=durable)
        temp.rename(path)
    except StageError as error:
        raise PreflightError(error.message, where=str(path), hint=error.hint) from error
    except OSError:
        if path.is_dir() and any(path.iterdir()):
            return False
        raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    if durable:
        atomic.fsync_folder(path.parent)
    return True


def move_aside(path: Path) -> None:
    """Rename an unused folder to `<name>.old-<n>`, so that its name is free."""
    if not path.exists():
        return
    # No run can begin while we rename; a process that waits for the lock finds that the folder has gone (`RunLock`).
    with atomic.storage_errors(path, PreflightError), lock.RunLock(path / "lock"):
        number = 1
        while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
            number += 1
        path.rename(aside)


def _renamed(command: Sequence[str], name: str) -> list[str]:
    """A command that goes on with a run whose folder has another name now."""
    found = list(command)
    for i, word in enumerate(found[:-1]):
        if word == "--name":
            return [*found[: i + 1], name, *found[i + 2 :]]
    found = [word for word in found if not word.startswith(("--name=", "name="))]
    return [*found, "--name", name]


def _tell_differences(before: Attempt | None, code_now: str, copy_of: str | None) -> None:
    """Say what the last attempt left and what is no longer as it was."""
    if before is None:
        return
    if before["outcome"] == "running" and copy_of:
        log.warning("this run was made as %r: going on from what it held when it was copied or renamed", copy_of)
    elif before["outcome"] == "running":
        who = f"process {before['pid']} on {before['host']}" if "pid" in before else "its process"
        log.warning("attempt %d died (%s): continuing from its last checkpoint", before["number"], who)
    if before.get("code") not in (None, code_now):
        log.warning("code differs from attempt %d: %s → %s", before["number"], before["code"], code_now)


def _packages(run: Path, number: int) -> dict[str, str]:
    found = attempt.environment(run, number) if number else None
    return found.get("packages", {}) if found else {}
