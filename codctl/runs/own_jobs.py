"""Which SLURM jobs are a run's own: the queue has to agree with what dispatch.json says before an id is used.

An id alone proves nothing: files are copied and handed over, ids start again when a cluster is reinstalled, and two
clusters may share one home. A job is taken for a run's own when it was submitted by the same user, with a script that
lies in this run's folder and has the name that was noted at submission, to the same cluster. Stdlib only.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.errors import UsageError
from codctl.runs import place
from codctl.runs.directory import RunDirectory

if TYPE_CHECKING:
    from codctl.files.records import Dispatch, Place

_FILE = "dispatch.json"


@dataclass(frozen=True)
class Job:
    """A job that a run's or a sweep's dispatch.json names.

    Attributes:
        id: `12`, or `12_3` of an array.
        launcher: The name of the launcher that knows it.
        cluster: The cluster that it was submitted to; empty when that was not noted.
        owners: Ids of the users who may have submitted it.
        folders: Where its script may lie.
        scripts: Names of the scripts that were submitted; empty when none was noted.
    """

    id: str
    launcher: str = "slurm"
    cluster: str = ""
    owners: frozenset[int] = frozenset()
    folders: tuple[Path, ...] = ()
    scripts: frozenset[str] = frozenset()

    def is_own(self, owner: int, script: Path) -> bool:
        """Whether the job that the queue knows under this id is the one that was submitted.

        Args:
            owner: The id of the user to whom it belongs.
            script: The path of the script that was submitted.
        """
        if owner not in self.owners or (self.scripts and script.name not in self.scripts):
            return False
        return any(_is_same(script.parent, folder) for folder in self.folders)


def is_id(text: Any) -> bool:
    """Whether this is the id of a SLURM job or of an element of an array."""
    from codctl.files.records import SLURM_JOB_ID

    return isinstance(text, str) and re.fullmatch(SLURM_JOB_ID, text, re.ASCII) is not None


def folder_of(path: Path) -> Path:
    """Where the scripts and logs of a run's or sweep's jobs lie."""
    return path / "slurm"


def jobs_of(path: Path, sent: Dispatch | None = None) -> tuple[Job, ...]:
    """The jobs that a run or sweep was sent to a launcher as.

    Args:
        path: The folder of the run or sweep.
        sent: What its dispatch.json says, if that is known already.

    Raises:
        UsageError: dispatch.json is damaged.
    """
    run = RunDirectory(path)
    sent = sent or run.dispatch()
    if sent is None or sent["where"] == "local":
        return ()
    if sent["where"] != "slurm":  # an id alone proves nothing, but a run that was submitted from this very folder does
        is_own = place.is_at_home(path, sent.get("place"))
        return tuple(Job(job, sent["where"]) for job in sent["jobs"]) if is_own else ()
    if strange := [job for job in sent["jobs"] if not is_id(job)]:
        raise UsageError(
            f"jobs: {strange[0]!r} is not the id of a SLURM job",
            where=str(path / _FILE),
            hint=f"rm {shlex.quote(str(path / _FILE))}",
        )
    scripts, owners = frozenset(sent.get("scripts", ())), _owners(path / _FILE)
    folders = tuple(_folders(run, sent.get("place") if scripts else None))
    return tuple(Job(job, "slurm", sent.get("cluster", ""), owners, folders, scripts) for job in sent["jobs"])


def _owners(path: Path) -> frozenset[int]:
    """This user, and the one who wrote the file: a colleague's run is looked at too."""
    with contextlib.suppress(OSError):
        return frozenset({os.getuid(), path.stat().st_uid})
    return frozenset({os.getuid()})


def _folders(run: RunDirectory, before: Place | None) -> list[Path]:
    """The run's own folder for jobs and, of a trial, its sweep's; also where they were before it was moved."""
    places = [run.path.absolute()]
    if before is not None and before["inode"] == run.path.stat().st_ino:
        places.append(Path(before["path"]))
    levels = (0, 1) if run.sweep else (0,)
    return [folder_of(one.parents[1] if level else one) for one in places for level in levels]


def _is_same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    if other.is_symlink():  # to the folder of another run
        return False
    with contextlib.suppress(OSError, ValueError):  # a link above the run, or another name of the same mount
        return one.samefile(other)
    return False
