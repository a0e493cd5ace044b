"""The evaluations below a runs folder: which there are, what they are about, and their removal. Stdlib only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codctl.errors import CodctlError, RefusedError, UsageError
from codctl.files import lock, reader
from codctl.runs import clean
from codctl.runs.directory import RunDirectory

if TYPE_CHECKING:
    from codctl.runs.eval_result import Begun, EvalResult, PartHead, StepsHead, StepsResult, Subject

EVALUATIONS, JOURNAL = "evaluations", "journal.jsonl"
_HEAD, _RESULT = "evaluation.json", "result.json"


@dataclass(frozen=True)
class StoredEvaluation:
    """One folder of `runs/evaluations`.

    Attributes:
        path: The folder.
        head: What is played, as written when it began; None where it cannot be read.
        result: What came of it; None while there is no result.
        state: finished, partly (the same command plays the rest), running, failed (nothing could be played) or damaged.
        played: Trajectories played so far.
    """

    path: Path
    head: Begun | StepsHead | None
    result: EvalResult | StepsResult | None
    state: str
    played: int = 0
    problem: str = ""  # what is wrong with one that is damaged

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def id(self) -> str:
        """The end of its name, which is the beginning of its digest."""
        return self.path.name.rpartition("-")[2]

    @property
    def subject(self) -> Subject | None:
        return self.head.subject if self.head else None

    @property
    def suite(self) -> str | None:
        return self.head.suite if self.head else None

    @property
    def parts(self) -> Sequence[PartHead]:
        """Its parts, played or not; none where it cannot be read."""
        return getattr(self.result or self.head, "parts", ())

    @property
    def changed_s(self) -> float:
        """When it was last written to, in seconds since 1970."""
        return _changed_s(self.path)

    @property
    def is_curve(self) -> bool:
        """Whether it sums up the evaluations of several checkpoints, and was not played itself."""
        return hasattr(self.head, "models")


def list_evaluations(runs_dir: Path) -> list[StoredEvaluation]:
    """All of a runs folder, the newest first; what was moved aside is left out."""
    found = [_read(path) for path in (runs_dir / EVALUATIONS).glob("[!.]*") if ".old-" not in path.name]
    known = [one for one in found if one is not None]
    return sorted(known, key=lambda one: (-one.changed_s, one.name))


def evaluations_of(run: RunDirectory) -> list[StoredEvaluation]:
    """What `codctl eval --run` has played of a run, by step; the evaluations of its own training are not among them."""
    found = [
        one
        for one in list_evaluations(run.root)
        if one.subject and (one.subject.kind, one.subject.name) == ("run", run.title) and not one.is_curve
    ]
    return sorted(found, key=lambda one: (one.suite or "", (one.subject and one.subject.step) or 0, one.name))


def find_evaluation(runs_dir: Path, wanted: str) -> StoredEvaluation:
    """The evaluation that a user means by its name, its folder, or the beginning of its id.

    Raises:
        UsageError: There is none, or several.
    """
    known = list_evaluations(runs_dir)
    name = Path(wanted).name
    found = [one for one in known if one.name == name] or [one for one in known if one.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if (stored := _read(Path(wanted))) is not None:
        return stored
    if found:
        names = ", ".join(one.name for one in found)
        raise UsageError(f"several evaluations begin with {wanted!r}: {names}", hint="give more of the id")
    raise UsageError(f"no evaluation {wanted!r}", where=str(runs_dir / EVALUATIONS), hint="codctl evals list")


def remove(evaluation: StoredEvaluation, runs_dir: Path) -> None:
    """Delete an evaluation's folder.

    Raises:
        RefusedError: It is in use, or lies outside the runs folder.
    """
    path = evaluation.path.absolute()
    piece = clean.Piece(path, "evaluation", clean.size_of(path), path)
    for _, reason in clean.remove([piece], runs_dir):
        if reason:
            raise RefusedError(reason, where=str(evaluation.path), hint="wait until it is finished, or stop it")


def _read(path: Path) -> StoredEvaluation | None:
    """None for a folder that is no evaluation."""
    if not any((path / name).is_file() for name in (_HEAD, JOURNAL)):
        return None
    from codctl.runs import eval_result

    try:
        result = eval_result.read(path / _RESULT)
        head = eval_result.read_head(path / _HEAD)
        state = _state(path, result)
    except CodctlError as error:
        return StoredEvaluation(path, None, None, "damaged", problem=error.message)
    played = sum(1 for _ in units(path / JOURNAL)) if result is None else 0
    return StoredEvaluation(path, head, result, state, played)


def _state(path: Path, result: EvalResult | StepsResult | None) -> str:
    if lock.is_locked(path / "lock"):
        return "running"
    if result is None:
        return "partly"
    if result.failed_episodes and not any(part.has_success for part in result.parts):
        return "failed"
    return "partly" if result.to_play_again else "finished"


def units(journal: Path) -> Iterator[str]:
    """Trajectories of a journal, each once."""
    seen = set()
    for line in reader.lines(journal):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            unit = json.dumps(reader.parse(line)["unit"])
            if unit not in seen:
                seen.add(unit)
                yield unit


def _changed_s(path: Path) -> float:
    """When it was last written to."""
    times = [0.0]
    for name in (_RESULT, JOURNAL, _HEAD):
        with contextlib.suppress(OSError):
            times.append((path / name).stat().st_mtime)
    return max(times)
