"""Where the trajectories of a run or of an evaluation are stored: its evaluations, and the stored steps of training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codctl.errors import UsageError
from codctl.files.seal import COMPLETE, is_sealed, read_info
from codctl.results import trajectory_file
from codctl.results.selection import is_pack
from codctl.results.trajectory_file import Transcript
from codctl.runs.directory import RunDirectory, find_run
from codctl.runs.eval_result import StepsHead
from codctl.runs.evaluations import JOURNAL, StoredEvaluation, evaluations_of, find_evaluation

SourceKind = Literal["evaluation", "validation", "training"]
_KINDS: tuple[SourceKind, ...] = ("training", "validation", "evaluation")  # in the order of their time at a step


@dataclass(frozen=True)
class Source:
    """One file of trajectories.

    Attributes:
        name: What a user types: before, after, training, validation, or the id of an evaluation.
        kind: Where they come from.
        step: Of CoD-Train, where there is one.
        path: The file, or the journal of an evaluation that is not finished.
    """

    name: str
    kind: SourceKind
    step: int | None
    path: Path

    @property
    def title(self) -> str:
        return self.name if self.step is None else f"{self.name}, step {self.step}"

    @property
    def is_finished(self) -> bool:
        return self.path.suffix == ".parquet"

    def read(self) -> Iterator[Transcript]:
        return trajectory_file.read(self.path) if self.is_finished else trajectory_file.of_journal(self.path)


@dataclass(frozen=True)
class Found:
    """What a user named.

    Attributes:
        name: As commands take it.
        title: For people.
        folder: Where a page about it may lie.
        sources: At least one, by step.
    """

    name: str
    title: str
    folder: Path
    sources: tuple[Source, ...]

    def source(self, name: str | None, step: int | None) -> Source:
        """The source that is asked for; without any wish the last evaluation, else the last step.

        Raises:
            UsageError: There is none.
        """
        asked = [one for one in self.sources if name in (None, one.name) and step in (None, one.step)]
        if not asked:
            listed = "; ".join(dict.fromkeys(one.title for one in self.sources))
            wish = " at ".join(filter(None, (name, f"step {step}" if step is not None else "")))
            raise UsageError(f"nothing is stored of {wish}", where=str(self.folder), hint=f"stored: {listed}")
        if step is not None:  # a step is first of all one of the training
            return min(asked, key=lambda one: _KINDS.index(one.kind))
        evaluated = [one for one in asked if one.kind == "evaluation"]
        own = [one for one in evaluated if one.name.startswith("after") and "long" not in one.name]
        return (own or evaluated or asked)[-1]


def find(runs_dir: Path, target: str) -> Found:
    """The trajectories of a run (by name or folder) or of an evaluation (by id, name or folder).

    Raises:
        UsageError: There is neither, or nothing is stored of it.
    """
    try:
        run = find_run(runs_dir, target)
    except UsageError as no_run:
        try:
            evaluation = find_evaluation(runs_dir, target)
        except UsageError as no_evaluation:
            if "several" in no_evaluation.message:
                raise
            raise UsageError(
                f"no run and no evaluation {target!r}",
                where=str(runs_dir),
                hint=f"{no_run.hint}, `codctl evals list` the evaluations",
            ) from None
        return _found_evaluation(runs_dir, evaluation)
    sources = [*_training(run), *_evaluations(run), *_played(evaluations_of(run))]
    if not sources:
        raise UsageError(f"run {run.title!r} has stored no trajectories yet", where=str(run.path), hint="codctl status")
    return Found(run.title, f"run {run.title}", run.path, _by_step(sources))


def _found_evaluation(runs_dir: Path, evaluation: StoredEvaluation) -> Found:
    head, parts = evaluation.head, [evaluation]
    title = f"{head.subject.title}, {head.suite}" if head else evaluation.name
    if isinstance(head, StepsHead):
        parts = [find_evaluation(runs_dir, model.evaluation) for model in head.models]
    sources = _played(parts)
    if not sources:
        raise UsageError(
            "nothing was stored of what was said: an earlier codctl played it",
            where=str(evaluation.path),
            hint="the same `codctl eval` with --fresh plays it again",
        )
    return Found(evaluation.id, title, evaluation.path, _by_step(sources))


def _played(evaluations: Sequence[StoredEvaluation]) -> list[Source]:
    found = []
    for one in evaluations:
        step = one.subject.step if one.subject else None
        finished, journal = one.path / trajectory_file.NAME, one.path / JOURNAL
        if finished.is_file() and one.state == "finished":
            found.append(Source(one.id, "evaluation", step, finished))
        elif journal.is_file() and next(trajectory_file.of_journal(journal), None):
            found.append(Source(one.id, "evaluation", step, journal))
    return found


def _evaluations(run: RunDirectory) -> Iterator[Source]:
    """Those that the run itself has made, finished or not."""
    folder = run.evaluations
    for path in sorted(folder.glob(f"*/{trajectory_file.NAME}")):
        if is_sealed(path.parent):
            yield Source(path.parent.name, "evaluation", read_info(path.parent).get("step"), path)
    for path in sorted(folder.glob(f"[!.]*/{JOURNAL}")):
        if not (path.parent / COMPLETE).exists():
            yield Source(path.parent.name, "evaluation", None, path)


def _training(run: RunDirectory) -> Iterator[Source]:
    for kind in ("training", "validation"):
        for path in sorted((run.training / trajectory_file.FOLDER).glob(f"{kind}-*.parquet")):
            yield Source(kind, kind, int(path.stem.rpartition("-")[2]), path)


def _by_step(sources: Sequence[Source]) -> tuple[Source, ...]:
    last = max((one.step for one in sources if one.step is not None), default=0)
    return tuple(sorted(sources, key=lambda one: (last if one.step is None else one.step, _KINDS.index(one.kind))))


def follow(found: Found, pack: str, arm: str | None = None) -> list[tuple[Source, Transcript]]:
    """One pack over the steps of a training: at each step its first trajectory with hints of the model's own.

    A number can be that of several packs, held-out ones among them; the one that was played most often is followed.

    Args:
        found: Of a run, or of an evaluation of every checkpoint.
        pack: Its id or number.
        arm: Another arm.

    Raises:
        UsageError: Nothing is stored of such a pack.
    """
    by_pack: dict[str, list[tuple[Source, Transcript]]] = {}
    for source in found.sources:
        seen: set[str] = set()
        for transcript in source.read():
            is_wanted = transcript.arm == arm or (arm is None and transcript.arm in ("own", trajectory_file.TRAINING))
            if is_wanted and transcript.pack not in seen and is_pack(transcript, pack):
                seen.add(transcript.pack)
                by_pack.setdefault(transcript.pack, []).append((source, transcript))
    if not by_pack:
        raise UsageError(f"nothing is stored of a pack {pack!r}", where="--hints", hint=f"codctl view {found.name}")
    return max(by_pack.values(), key=len)
