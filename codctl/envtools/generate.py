"""A dataset of packs: their seeds and rendered prompts, with a card and checksums, as `datasets` reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import codctl
from codctl.envs.base import Family, Rendering, Split
from codctl.errors import RefusedError
from codctl.files import reader
from codctl.files.seal import COMPLETE, is_sealed, sealing
from codctl.quantities import counted

FILE = "packs.parquet"
FORMAT = 2  # bump when the rows change
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset holds."""

    family: str
    preset: str
    variant: str
    split: Split
    packs: int
    length: int
    rendering: Rendering
    options: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON; options only where there are some."""
        return {key: value for key, value in asdict(self).items() if key != "options" or value}

    @property
    def name(self) -> str:
        world = f"{self.family}-{self.preset}-{self.variant}"
        return f"{world}-{self.split}-{self.packs}x{self.length}-{self.rendering}"


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
    info = {"format": FORMAT, "dataset": spec.as_dict()}
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        held = _sealed_as(out)
        if held is None:
            raise RefusedError("the folder is not empty and is not a dataset", where=str(out), hint="--out OTHER")
        if {key: held.get(key) for key in info} != info:
            raise RefusedError(
                f"the folder holds another dataset ({held.get('dataset')})", where=str(out), hint="--out OTHER"
            )
        if is_sealed(out, verify=True):
            return Dataset(out, written=False)
    with sealing(out, info) as temp:
        _write_rows(family, spec, temp / FILE)
        (temp / "README.md").write_text(_card(family, spec), encoding="utf-8")
    return Dataset(out, written=True)


def _sealed_as(out: Path) -> dict[str, Any] | None:
    """What a folder was sealed as, also when it was damaged since: then it may be written anew."""
    try:
        info: dict[str, Any] = reader.parse(reader.read_bytes(out / COMPLETE, most_bytes=reader.LARGE))["info"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return info


def _write_rows(family: Family, spec: DatasetSpec, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    task = pa.struct([("position", pa.int32()), ("messages", pa.list_(message))])
    names = ("pack", "family", "preset", "variant", "split", "rendering")
    kinds = [("index", pa.int64()), ("seed", pa.int64()), ("length", pa.int32()), ("tasks", pa.list_(task))]
    schema = pa.schema([*((name, pa.string()) for name in names), *kinds])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, spec.packs, _ROWS_AT_ONCE):
            rows = [_row(family, spec, i) for i in range(start, min(start + _ROWS_AT_ONCE, spec.packs))]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(family: Family, spec: DatasetSpec, index: int) -> dict[str, Any]:
    pack = family.pack(spec.split, index, spec.length, spec.preset, spec.variant)
    prompt = pack.slots[0].family.solve_prompt("", spec.rendering, spec.preset)
    rules = {"role": "system", "content": prompt}
    begun = (slot.begin(spec.rendering) for slot in pack.slots)
    first = [episode.opening or ({"role": "user", "content": episode.observation},) for episode in begun]
    return {
        "pack": pack.id,
        "family": spec.family,
        "preset": spec.preset,
        "variant": spec.variant,
        "split": spec.split,
        "rendering": spec.rendering,
        "index": index,
        "seed": family.pack_seed(spec.split, index, spec.preset, spec.variant),
        "length": spec.length,
        "tasks": [{"position": position, "messages": [rules, *chat]} for position, chat in enumerate(first)],
    }


def _card(family: Family, spec: DatasetSpec) -> str:
    packs = counted(spec.packs, "pack")
    return f"""---
pretty_name: {json.dumps(family.title)}
tags: [reinforcement-learning, connect-the-dots, codctl]
size_categories: [{_size(spec.packs)}]
configs:
- config_name: default
  data_files:
  - split: {spec.split}
    path: {FILE}
---
# {spec.name}

{family.title}.

{packs} of {counted(spec.length, "task")}: preset `{spec.preset}`, variant `{spec.variant}`, split `{spec.split}`,
rendering `{spec.rendering}`.

A pack is one hidden world and several tasks in it, played in order; what was learned in one task helps in the next.
The world is drawn from the pack's seed and is not in this file, so that a model cannot read the answer.

| Column | Meaning |
|---|---|
| `pack` | Name: family, preset, split and index. `codctl env play` shows it with `--index`. |
| `seed` | What world and tasks are drawn from: the same in every process and Python version. |
| `tasks[].position` | Place in the pack. |
| `tasks[].messages` | First prompt of the task without hints: `system` (rules), `user` (first observation). |
| `family`, `preset`, `variant`, `split`, `index`, `length`, `rendering` | What was asked for. |

Made by codctl {codctl.__version__}:

    codctl env generate {spec.family} --preset {spec.preset} --variant {spec.variant} --split {spec.split} \\
        --packs {spec.packs} --length {spec.length} --rendering {spec.rendering}

Read it with `datasets.load_dataset(FOLDER)`. `{COMPLETE}` lists sizes and SHA-256 checksums.
"""


def _size(packs: int) -> str:
    """The bucket in which the Hugging Face Hub files a dataset."""
    bounds = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
    return next((name for bound, name in bounds.items() if packs < bound), "1M<n<10M")
