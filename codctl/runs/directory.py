"""A run's directory: what lies where, who may use it, and how it stands. Files on disk are the truth. Stdlib only."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import PreflightError, Problem, RefusedError, StageError, UsageError
from codctl.runs import atomic, attempt, lock, manifest

if TYPE_CHECKING:
    from codctl.config.schema import Config


class RunDirectory:
    """One run on disk.

    Args:
        path: The run's folder, which must hold a manifest.
        new_config: Frozen config to store when the next attempt starts (same digest, other resources).
    """

    def __init__(self, path: Path, *, new_config: dict[str, Any] | None = None) -> None:
        self.path = path
        self._new_config = new_config

    @classmethod
    def create_or_continue(
        cls, runs_dir: Path, config: Config, *, recipe: str, command: Sequence[str], fresh: bool = False
    ) -> RunDirectory:
        """Make the run's directory, or return the one that the same config made before.

        Args:
            runs_dir: Where runs live.
            config: The run's config; its name is the folder's name.
            recipe: The recipe as the user named it.
            command: The command line, for reproduction.
            fresh: Move an existing directory aside to `<name>.old-<n>` and start anew.

        Raises:
            RefusedError: A live process uses it, or it belongs to a config that gives other results.
            PreflightError: It cannot be written.
        """
        from codctl.config.freeze import digest, freeze

        path = runs_dir / config.name
        if fresh:
            move_aside(path)
        identity = digest(config)
        frozen = {"schema": 1, "digest": identity, "config": freeze(config)}
        content = manifest.new(name=config.name, recipe=recipe, command=command, digest=identity)
        with atomic.storage_errors(path, PreflightError):
            if _create(path, content, frozen):
                return cls(path)
        run = cls.open(path)
        run._refuse_other_config(config)
        if lock.is_locked(run.lock_path):
            raise lock.in_use(run.lock_path)
        if not os.access(path, os.W_OK):
            raise PreflightError(
                "cannot write: no permission to write", where=str(path), hint="correct its permissions"
            )
        return cls(path, new_config=frozen)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The run in `path`.

        Raises:
            UsageError: There is none.
        """
        run = cls(path)
        run.manifest()
        return run

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def manifest_path(self) -> Path:
        return self.path / "manifest.json"

    @property
    def lock_path(self) -> Path:
        return self.path / "lock"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def stage(self, name: str) -> Path:
        return self.path / "stages" / name

    def log_path(self, number: int) -> Path:
        """The log of one attempt, counted from 1."""
        return self.path / "attempts" / f"{number:03d}" / "log.txt"

    def manifest(self) -> dict[str, Any]:
        return manifest.read(self.manifest_path)

    def config(self) -> Config:
        """The frozen config.

        Raises:
            UsageError: It is missing or damaged.
        """
        from codctl.config.freeze import thaw

        return thaw(self._frozen()["config"])

    def status(self) -> str:
        """running, finished, failed, interrupted, or died: recorded as running but nobody holds the lock."""
        recorded = str(self.manifest()["status"])
        if recorded == "running" and not lock.is_locked(self.lock_path):
            # It may have ended between the two looks.
            again = str(self.manifest()["status"])
            return "died" if again == "running" else again
        return recorded

    @contextlib.contextmanager
    def start_attempt(self) -> Iterator[int]:
        """Use the run: take its lock, log to a file, and record truthfully how the block ended.

        Ctrl-C, SIGTERM and SIGHUP count as interrupted, any other exception as failed. Yields the attempt's number.

        Raises:
            RefusedError: Another process uses the run.
        """
        with lock.RunLock(self.lock_path):
            atomic.remove_leftovers(self.path)
            if self._new_config is not None:
                atomic.write_json(self.path / "config.json", self._new_config)
            number = manifest.begin_attempt(self.manifest_path)
            with attempt.recorded(self.manifest_path, self.log_path(number)):
                yield number

    def _frozen(self) -> dict[str, Any]:
        path = self.path / "config.json"
        try:
            frozen: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            frozen["config"], frozen["digest"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"the run's frozen config cannot be read: {error!r}", where=str(path)) from error
        return frozen

    def _refuse_other_config(self, config: Config) -> None:
        from codctl.config.freeze import digest, identity_fields, thaw

        frozen = self._frozen()
        if frozen["digest"] == digest(config):
            return
        old, new = identity_fields(thaw(frozen["config"])), identity_fields(config)
        changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        by = "with other settings" if changed else "by a codctl in which the same settings mean something else"
        raise RefusedError(
            f"run {self.name!r} was made {by}",
            where=str(self.path),
            hint="name=OTHER makes a second run, --fresh moves this one aside, or take the changes back to continue it",
            problems=tuple(Problem(f"{key}: {old.get(key)!r} → {new.get(key)!r}") for key in changed),
        )


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """Every run in a folder, by name; none when the folder does not exist."""
    return [RunDirectory(path.parent) for path in sorted(runs_dir.glob("[!.]*/manifest.json"))]


def find_run(runs_dir: Path, name_or_path: str) -> RunDirectory:
    """The run that a user means by a name in `runs_dir` or by a path.

    Raises:
        UsageError: There is none; the nearest names are listed.
    """
    for path in (runs_dir / name_or_path, Path(name_or_path)):
        if (path / "manifest.json").exists():
            return RunDirectory.open(path)
    names = [run.name for run in list_runs(runs_dir)]
    near = difflib.get_close_matches(Path(name_or_path).name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`codctl runs list` shows what there is"
    raise UsageError(f"no run named {name_or_path!r}", where=str(runs_dir), hint=hint)


def _create(path: Path, content: dict[str, Any], frozen: dict[str, Any]) -> bool:
    """Bring the directory into being whole; False when there is one already (perhaps made this very moment)."""
    if path.is_dir() and any(path.iterdir()):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = atomic.temp_sibling(path)
    temp.mkdir()
    try:
        atomic.write_json(temp / "config.json", frozen)
        atomic.write_json(temp / "manifest.json", content)
        temp.rename(path)
    except StageError as error:
        raise PreflightError(error.message, where=str(path), hint=error.hint) from error
    except OSError:
        if path.is_dir() and any(path.iterdir()):
            return False
        raise
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    atomic.fsync_folder(path.parent)
    return True


def move_aside(path: Path) -> None:
    """Rename an unused folder to `<name>.old-<n>`, so that its name is free."""
    if not path.exists():
        return
    lock_path = path / "lock"
    with atomic.storage_errors(path, PreflightError):
        if lock.is_locked(lock_path):
            raise lock.in_use(lock_path)
        number = 1
        while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
            number += 1
        path.rename(aside)
