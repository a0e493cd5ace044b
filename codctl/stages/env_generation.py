"""A dataset of packs: their seeds and rendered prompts, with a card and checksums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import codctl
from codctl.envs.base import Family, Rendering
from codctl.errors import RefusedError
from codctl.runs.seal import COMPLETE, is_sealed, sealing
from codctl.seeds import derive_seed

FILE = "packs.jsonl"
FORMAT = 1  # bump when the rows change


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset holds."""

    family: str
    preset: str
    split: str
    packs: int
    length: int
    rendering: Rendering

    @property
    def name(self) -> str:
        return f"{self.family}-{self.preset}-{self.split}-{self.packs}x{self.length}-{self.rendering}"


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk. `written` is False when it was already there."""

    path: Path
    written: bool


def generate_dataset(family: Family, spec: DatasetSpec, out: Path) -> Dataset:
    """Write a dataset folder, or find that it is already there, whole.

    Raises:
        RefusedError: The folder holds something else.
    """
    info = {"format": FORMAT, "dataset": asdict(spec)}
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        held = _sealed_as(out)
        if held is None:
            raise RefusedError("the folder is not empty and holds no dataset", where=str(out), hint="--out OTHER")
        if {key: held.get(key) for key in info} != info:
            raise RefusedError(
                f"the folder holds another dataset ({held.get('dataset')})", where=str(out), hint="--out OTHER"
            )
        if is_sealed(out, verify=True):
            return Dataset(out, written=False)
    with sealing(out, info) as temp:
        with (temp / FILE).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(family, spec))
        (temp / "README.md").write_text(_card(family, spec), encoding="utf-8")
    return Dataset(out, written=True)


def _sealed_as(out: Path) -> dict[str, Any] | None:
    """What a folder was sealed as, also when it was damaged since: then it may be written anew."""
    try:
        info: dict[str, Any] = json.loads((out / COMPLETE).read_text(encoding="utf-8"))["info"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info


def _rows(family: Family, spec: DatasetSpec) -> Iterator[dict[str, Any]]:
    for index in range(spec.packs):
        pack = family.pack(spec.split, index, spec.length, spec.preset)
        yield {
            "pack": pack.id,
            "index": index,
            "seed": derive_seed("pack", spec.family, spec.preset, spec.split, index),
            "tasks": [
                {
                    "position": position,
                    "messages": [
                        {"role": "system", "content": family.solve_prompt("", spec.rendering, spec.preset)},
                        {"role": "user", "content": slot.begin(spec.rendering).observation},
                    ],
                }
                for position, slot in enumerate(pack.slots)
            ],
        }


def _card(family: Family, spec: DatasetSpec) -> str:
    return f"""---
configs:
- config_name: default
  data_files:
  - split: {spec.split}
    path: {FILE}
---
# {spec.name}

{family.title}.

{spec.packs} packs of {spec.length} tasks: preset `{spec.preset}`, split `{spec.split}`, rendering `{spec.rendering}`.

A pack is one hidden world and several tasks in it; the world is drawn from the pack's seed and is not in
this file, so that a model cannot read the answer. `tasks[].messages` is the first prompt of each task without hints.

Made by codctl {codctl.__version__}:

    codctl env generate {spec.family} --preset {spec.preset} --split {spec.split} \\
        --packs {spec.packs} --length {spec.length} --rendering {spec.rendering}

`{COMPLETE}` lists sizes and SHA-256 checksums.
"""
