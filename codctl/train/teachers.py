"""The teachers of a distillation: found by name, the same from a run's first attempt to its last, alike in tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.cod.conversation import TemplateChat
from codctl.cod.mixture import Mixture
from codctl.config.schema import Config, TeacherConfig
from codctl.errors import CodctlError, PreflightError, RefusedError, UsageError
from codctl.files import reader, records
from codctl.files.atomic import write_json
from codctl.files.seal import COMPLETE, is_whole, read_hashes, sealing, sha256_of
from codctl.models import architectures, hub
from codctl.models.check import check_tokenizer
from codctl.models.load import base_folder, check_model, load_chat, load_tokenizer
from codctl.runs.directory import RunDirectory, find_run
from codctl.runs.eval_result import FINAL
from codctl.runs.progress import Progress
from codctl.seeds import text_digest
from codctl.train.probes import prompt_of
from codctl.train.saved_models import NEWEST, SavedModel, checkpoint_named, choose, lay_out

_KEY = "distill.teachers"
_FOLDER, _RECORD = "teachers", "teachers.json"  # among the run's stages


@dataclass(frozen=True)
class Teacher:
    """A teacher that is there.

    Attributes:
        name: As the recipe names it.
        families: That it teaches, by their names in the recipe.
        folder: Model folder, or a PEFT adapter's.
        base: Folder of the full weights.
    """

    name: str
    families: tuple[str, ...]
    folder: Path
    base: Path

    @property
    def is_adapter(self) -> bool:
        return self.base != self.folder


@dataclass(frozen=True)
class _Found:
    """Where a teacher's weights are: a folder, or a model of a run."""

    folder: Path | None
    saved: SavedModel | None = None
    config: Config | None = None


def check_teachers(config: Config, runs_dir: Path) -> None:
    """Look each teacher up, as far as that can be done before a run exists; a hub id may still have to be fetched.

    Raises:
        PreflightError: There is none of that name, or it cannot be used.
    """
    folder = config.model.path and hub.find(config.model.path, config.model.revision, weights=False)
    for wanted in config.distill.teachers:
        found = _look_up(wanted, runs_dir)
        there = found.saved.folder if found.saved else found.folder
        if there is None:
            continue
        check_model(there)
        if folder and folder.is_dir():
            compare_tokens(folder, there, wanted.model, config)


def find_teachers(run: RunDirectory, config: Config, student: Path, progress: Progress) -> tuple[Teacher, ...]:
    """The teachers of a run, with folders that stay; a second call does nothing new.

    Args:
        run: Checkpoints of other runs are laid out in it, since those runs may remove them.
        config: Its recipe.
        student: Folder with the student's tokenizer.
        progress: Told what is done.

    Raises:
        PreflightError: One is not there, or does not fit the student.
        RefusedError: One has other weights than when the run began.
    """
    teachers = []
    for number, wanted in enumerate(config.distill.teachers, start=1):
        folder = _folder(run, number, _look_up(wanted, run.root), wanted, progress)
        check_model(folder)
        for note in compare_tokens(student, folder, wanted.model, config):
            progress.message(note)
        teachers.append(Teacher(wanted.model, wanted.families, folder, base_folder(folder)))
    _refuse_others(run, teachers)
    return tuple(teachers)


def _look_up(wanted: TeacherConfig, runs_dir: Path) -> _Found:
    """A run, RUN@STEP, a folder or a hub id, whatever is there first."""
    name, at, step = wanted.model.rpartition("@")
    name, step = (name, step) if at else (wanted.model, "")
    folder = Path(wanted.model).expanduser()
    if named := checkpoint_named(folder):
        name, step = str(named[0]), named[1]
    if run := _run(runs_dir, name):
        return _of_run(run, step)
    if folder.is_dir():
        return _Found(folder)
    if hub.is_hub_id(wanted.model):
        return _Found(hub.find(wanted.model, wanted.revision))
    raise PreflightError(
        f"the teacher {wanted.model!r} is no run in {runs_dir}, no folder and no hub id",
        where=_KEY,
        hint="codctl runs list, or give RUN@STEP, the folder of a model, or a hub id",
    )


def _run(runs_dir: Path, name: str) -> RunDirectory | None:
    """The run of that name; one that is there and cannot be read is an error."""
    try:
        return find_run(runs_dir, name)
    except UsageError:
        if any((place / name / "manifest.json").exists() for place in (runs_dir, Path())):
            raise
        return None


def _of_run(run: RunDirectory, step: str) -> _Found:
    config = run.config()
    wanted = step or (FINAL if config.train.enabled else NEWEST)
    try:
        saved = choose(run, config, wanted)
    except CodctlError as error:
        hint = f"codctl train finishes it; RUN@STEP takes a checkpoint. {error.hint}".strip()
        raise PreflightError(f"the teacher: {error.message}", where=_KEY, hint=hint) from error
    return _Found(None, saved, config)


def _folder(run: RunDirectory, number: int, found: _Found, wanted: TeacherConfig, progress: Progress) -> Path:
    """The folder of a model, which is made or fetched where there is none."""
    if found.saved and found.saved.checkpoint:
        assert found.config is not None
        kept = run.stage(_FOLDER) / str(number)
        if not is_whole(kept, progress.message):
            with sealing(kept) as temp:
                lay_out(found.saved, found.config, temp / "model")
        return kept / "model"
    if found.saved:
        return found.saved.folder
    if found.folder:
        return found.folder
    progress.update(f"fetching {wanted.model} from the hub", 0, 0, {})
    return hub.fetch(
        wanted.model, wanted.revision, lambda done, all_: progress.update("MB from the hub", done, all_, {})
    )


# --- identity -----------------------------------------------------------------------------------------------------


def _refuse_others(run: RunDirectory, teachers: list[Teacher]) -> None:
    """Note whose weights the run learns from; a later attempt has to find the same."""
    path = run.stage(_RECORD)
    found = {teacher.name: _digest(teacher) for teacher in teachers}
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"schema": 1, "weights": found})
        return
    kept = reader.read(path, records.Teachers)
    assert kept is not None
    if changed := [name for name, weights in found.items() if kept["weights"].get(name) != weights]:
        raise RefusedError(
            f"the teacher {changed[0]!r} has other weights than when the run began",
            where=_KEY,
            hint="put them back, name a checkpoint that stays (RUN@STEP), or --name OTHER trains a second run",
        )


def _digest(teacher: Teacher) -> str:
    folders = dict.fromkeys((teacher.folder, teacher.base))
    return text_digest(json.dumps([_weights(folder) for folder in folders], sort_keys=True))


def _weights(folder: Path) -> Mapping[str, Any]:
    """What tells weights from others: the hub's commit, or hashes of the files."""
    if folder.parent.name == "snapshots":
        return {"commit": folder.name}
    hashes = read_hashes(folder) if (folder / COMPLETE).is_file() else {}
    files = sorted(folder.glob("*.safetensors"))
    return {file.name: hashes.get(file.name) or sha256_of(file) for file in files}


# --- tokens -------------------------------------------------------------------------------------------------------


def compare_tokens(student: Path, teacher: Path, name: str, config: Config) -> list[str]:
    """Refuse a teacher that reads the student's token ids otherwise: it scores them as they are.

    Args:
        student: Folder of the student.
        teacher: Folder of the teacher.
        name: Of the teacher, for messages.
        config: Recipe, whose prompts are tried.

    Returns:
        What differs and need not be the same.

    Raises:
        PreflightError: Other ids for some token, other stop tokens, or no way to compare whole vocabularies.
    """
    mine, theirs = load_tokenizer(student), load_tokenizer(teacher)
    check_tokenizer(theirs, teacher)
    own, other = mine.get_vocab(), theirs.get_vocab()
    if own != other:
        token = next(token for token in [*own, *other] if own.get(token) != other.get(token))
        raise _unlike(name, f"the token {token!r} is {_id(own, token)} for the student and {_id(other, token)} for it")
    my_chat, their_chat = load_chat(student, mine), load_chat(teacher, theirs)
    if set(my_chat.stop_ids) != set(their_chat.stop_ids):
        stops = f"{sorted(my_chat.stop_ids)}, its {sorted(their_chat.stop_ids)}"
        raise _unlike(name, f"the student's replies end with the ids {stops}")
    _compare_widths(student, teacher, name, config)
    probes = [_prompt(my_chat, config), _prompt(their_chat, config)]
    if my_chat.digest() == their_chat.digest() or probes[0] == probes[1]:
        return []
    return [f"the teacher {name} has another chat template; it reads prompts as the student's template writes them"]


def _compare_widths(student: Path, teacher: Path, name: str, config: Config) -> None:
    """Embeddings may be padded to another number: ids are the same, whole distributions cannot be compared."""
    mine, theirs = (architectures.of_folder(base_folder(folder)).vocab for folder in (student, teacher))
    if config.distill.estimator == "full" and mine != theirs:
        raise PreflightError(
            f"the teacher {name} gives {theirs} log-probs for each token, the student {mine}",
            where="distill.estimator",
            hint="distill.estimator=topk, which takes tokens by their ids",
        )


def _prompt(chat: TemplateChat, config: Config) -> list[int]:
    ids, _ = prompt_of(Mixture.of(config.world).packs("train", 0, 0, 1)[0], chat, config.world.rendering)
    return ids


def _id(vocabulary: dict[str, int], token: str) -> str:
    return str(vocabulary[token]) if token in vocabulary else "none"


def _unlike(name: str, what: str) -> PreflightError:
    return PreflightError(
        f"the teacher {name} has another tokenizer: {what}",
        where=_KEY,
        hint="teachers and student need one tokenizer: models of one base, or built with the same model.build.worlds",
    )
