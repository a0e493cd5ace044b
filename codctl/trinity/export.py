"""A run as a folder that Trinity-RFT reads: checkpoints, data of worlds that rows stand for, configurations."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codctl.config.schema import Config
from codctl.envs.registry import get_family
from codctl.errors import RefusedError, UsageError
from codctl.files.atomic import follow_umask, storage_errors, temp_sibling
from codctl.models.files import WEIGHTS
from codctl.runs.directory import RunDirectory
from codctl.train.saved_models import NEWEST, SavedModel, choose, lay_out
from codctl.trinity import written

_LATEST = ("latest_checkpointed_iteration.txt", "latest_state_dict_iteration.txt")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: All of it.
        steps: Steps whose models are there.
        files: Relative to the folder.
        notes: What is not there, and why.
    """

    folder: Path
    steps: tuple[int, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "steps": list(self.steps),
            "files": list(self.files),
            "notes": list(self.notes),
        }


def export_run(
    run: RunDirectory,
    out: Path,
    steps: Sequence[str] = (),
    project: str = "codctl",
    group: str = "codctl",
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write a folder for Trinity-RFT, whole or not at all.

    Args:
        run: Whose models.
        out: New.
        steps: As `--step` names them; the newest without any. Trinity-RFT evaluates every step that it finds.
        project: First level below `checkpoints`.
        group: Second level.
        say: Told what is being written.

    Raises:
        RefusedError: The folder exists.
        UsageError: The run has no such model, or two of the same step are asked for.
        StageError: It cannot be written, or a checkpoint is damaged.
    """
    if out.exists():
        raise RefusedError("the folder exists", where=str(out), hint="give another folder with --out")
    config = run.config()
    models = [choose(run, config, step) for step in steps or (NEWEST,)]
    numbers = [model.step for model in models]
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"two models of one step are asked for: {', '.join(model.label for model in models)}")
    names = {"project": project, "group": group, "name": config.name}
    out.parent.mkdir(parents=True, exist_ok=True)
    temp = temp_sibling(out)
    with storage_errors(out):
        try:
            folder = temp / "checkpoints" / project / group / config.name
            for model in sorted(models, key=lambda model: model.step):
                say(f"writing step {model.step} ({model.label})")
                _write_model(model, config, folder / f"global_step_{model.step}" / "actor", temp)
            for name in _LATEST:
                (folder / name).write_text(f"{max(numbers)}\n", encoding="utf-8")
            notes = _write_rest(config, names, temp)
            follow_umask(temp)
            temp.rename(out)
        except BaseException:
            shutil.rmtree(temp, ignore_errors=True)
            raise
    files = tuple(sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()))
    return Exported(out, tuple(sorted(numbers)), files, notes)


def _write_model(saved: SavedModel, config: Config, actor: Path, temp: Path) -> None:
    """Weights in one file beside the folder with settings and tokenizer; adapters are merged into their base."""
    from codctl.models.load import load_model, load_tokenizer

    source = saved.folder
    laid = temp / "model"
    if saved.checkpoint:
        lay_out(saved, config, laid)
        source = laid
    model = load_model(source, config.model.dtype, "cpu")
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    settings = actor / "huggingface"
    settings.mkdir(parents=True)
    model.save_pretrained(settings, max_shard_size=1 << 50)
    (settings / WEIGHTS).rename(actor / WEIGHTS)
    load_tokenizer(source).save_pretrained(settings)
    shutil.rmtree(laid, ignore_errors=True)


def _write_rest(config: Config, names: dict[str, str], folder: Path) -> tuple[str, ...]:
    """Data and configurations, as far as the worlds have a counterpart; what is missing in words."""
    import yaml

    notes, parts = [], config.world.parts
    for part in parts:
        variant = part.variant or get_family(part.family).variants[0]
        if written.workflow_of(part) is None:
            notes.append(f"no configuration: Trinity-RFT has no worlds like {part.family} {part.preset}")
        elif not written.write_data(part, folder / "data"):
            notes.append(f"no data of {part.family}: its published rows are not known here")
        elif variant != "trinity":
            notes.append(f"the data are rows of Trinity-RFT; the run was trained on {part.family} {variant}")
    if all(written.workflow_of(part) for part in parts):
        made_of = {"bench": written.bench(config, names)}
        if config.distill.teachers:
            notes.append("no train.yaml: the run was distilled, and its teachers are codctl's")
        else:
            made_of["train"] = written.training(config, names)
        for name, made in made_of.items():
            text = yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=118)
            (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    if config.world.rendering != "full":
        notes.append(f"the model knows prompts of the rendering {config.world.rendering}, and Trinity-RFT has its own")
    if config.context.update != "rewrite":
        notes.append("the model edits its hints, and Trinity-RFT asks for all of them anew")
    return tuple(notes)
