"""Weights & Biases: a W&B run for each run, trials grouped by sweep.

Offline (`tracking.options.wandb.mode=offline`, or WANDB_MODE) the runs folder holds all, in `wandb/`, until
`wandb sync` uploads it. W&B writes such a file in blocks, and loses what a killed process had not written. What it
holds is read back, so that the rest is sent again, and nothing twice.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from codctl.tracking.sink import Artifact, Evaluation, Point, Sink, Status, Subject

_CLOUD = "https://api.wandb.ai"
_ENDED_WELL = ("finished", "paused", "running")
_BLOCK, _HEADER = 32_768, struct.Struct("<IHB")  # of LevelDB's log format, behind 7 bytes of W&B's own
_FULL, _FIRST, _LAST = 1, 2, 4  # kinds of parts of a record


class WandbSink(Sink):
    """See `Sink`. `options` are `project`, `entity` and `mode`; W&B's environment variables hold as usual."""

    title = "Weights & Biases"
    package = "wandb"
    install = "pip install 'codctl[wandb]'"

    _run: Any
    _row: int | None
    _exit_code: int

    def address(self) -> str | None:
        if self._mode != "online":
            return None
        entity, project = self._option("entity"), self._option("project") or "codctl"
        return f"wandb {os.environ.get('WANDB_BASE_URL') or _CLOUD} {entity or ''}/{project}"

    def attach(self, subject: Subject) -> Mapping[str, int]:
        import wandb

        if wandb.run is not None:  # one that was given up, with rows that are not in its file yet
            _finish(wandb.run)
        # The inode cannot be forged: a folder that was sent to you never continues another one's W&B run.
        inode = subject.folder.stat().st_ino
        run_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{subject.state.key}/{inode}").hex[:16]
        is_offline, runs_dir = self._mode != "online", subject.state.runs_dir
        rows = list(_rows(runs_dir, run_id)) if is_offline else []
        self._run = wandb.init(
            project=self._option("project") or "codctl",
            entity=self._option("entity"),
            id=run_id,
            name=subject.title,
            group=subject.sweep.name if subject.sweep else None,
            notes=subject.about.get("description"),
            config={**subject.settings, **{f"codctl.{name}": text for name, text in subject.about.items()}},
            dir=str(runs_dir),
            mode=self._mode,
            resume="allow",
            settings=_settings(),
        )
        self._exit_code = 0
        memory = subject.state.memory
        if is_offline and not rows:  # nothing yet, or all was uploaded and cleaned away
            row = memory.get("row") or ""
            self._row = int(row) if row.isdecimal() else 0
            found = dict(subject.state.steps) if self._row else {}
        elif is_offline:
            self._row = 1 + max(int(row["_step"]) for row in rows)
            found = _last_steps(rows)
        else:
            self._row = None  # W&B knows
            found = _last_steps([dict(self._run.summary)])
        self._subject = subject
        return found

    def log(self, points: Sequence[Point]) -> None:
        for (phase, step), group in groupby(points, lambda point: (point.key.partition("/")[0], point.step)):
            found = list(group)
            row = {point.key: point.value for point in found}
            self._run.define_metric(f"{phase}/*", step_metric=f"{phase}/step")
            self._run.log({**row, f"{phase}/step": step, "_timestamp": found[0].at_ms / 1000}, step=self._row)
            if self._row is not None:
                self._row += 1
                self._subject.state.memory["row"] = str(self._row)

    def evaluation(self, evaluation: Evaluation) -> None:
        """In the summary, where a value replaces an earlier one: W&B has no runs below runs."""
        values = {f"{evaluation.place}/{point.key}/{point.step}": point.value for point in evaluation.points}
        self._run.summary.update(values)

    def artifact(self, artifact: Artifact) -> None:
        folder = Path(self._run.dir)
        target = folder / artifact.evaluation / artifact.folder / artifact.path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if artifact.text is None:
            shutil.copyfile(artifact.path, target)
        else:
            target.write_text(artifact.text, encoding="utf-8")
        self._run.save(str(target), base_path=str(folder), policy="now")

    def status(self, status: Status) -> None:
        self._run.summary["status"] = status
        self._exit_code = 0 if status in _ENDED_WELL else 1

    def close(self) -> None:
        _finish(self._run, self._exit_code)

    @property
    def _mode(self) -> Any:
        return self._option("mode") or os.environ.get("WANDB_MODE") or "online"

    def _option(self, name: str) -> str | None:
        return str(self.options[name]) if name in self.options else None


def _finish(run: Any, exit_code: int | None = None) -> None:
    """End a W&B run, and wait for W&B's process: it writes the end of the file after `finish` has returned."""
    import wandb

    run.finish(exit_code=exit_code)
    wandb.teardown()


def _settings() -> Any:
    """Nothing but what codctl hands over: no code, no environment, no output, no machine."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )


def _last_steps(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Of each key the last step of its phase; every row says which one it has."""
    found: dict[str, int] = {}
    for row in rows:
        for key in row:
            phase, slash, name = key.partition("/")
            step = row.get(f"{phase}/step")
            if slash and name != "step" and step is not None:
                found[key] = max(int(step), found.get(key, -1))
    return found


def _rows(runs_dir: Path, run_id: str) -> Iterator[dict[str, Any]]:
    """What the offline files of a W&B run hold."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted((runs_dir / "wandb").glob(f"offline-run-*-{run_id}*/run-{run_id}.wandb")):
        for content in _records(path.read_bytes()):
            record = Record.FromString(content)
            if record.WhichOneof("record_type") == "history":
                yield {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }


def _records(content: bytes) -> Iterator[bytes]:
    """The whole records of a .wandb file; a torn end is passed over."""
    at, whole = 7, b""
    while at + _HEADER.size <= len(content):
        if (left := _BLOCK - at % _BLOCK) < _HEADER.size:  # too small for another part
            at += left
            continue
        _, length, kind = _HEADER.unpack_from(content, at)
        at += _HEADER.size + length
        if kind == 0 or at > len(content):
            return
        part = content[at - length : at]
        whole = part if kind in (_FULL, _FIRST) else whole + part
        if kind in (_FULL, _LAST):
            yield whole
