"""A short variant of recipes/tiny.yaml with every stage, and all of a finished run that must not depend on its way."""

from __future__ import annotations

import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).with_name("small.yaml")
NAME = "small"
LORA = ("model.lora.rank=2",)
TWO_PROCESSES = ("runtime.threads=2", "runtime.processes=2")
# What `tracked` must find.
TRACKED = {"status": "FINISHED", "runs": ["after", "before", NAME], "twice": [], "missing": [], "unknown": []}


def arguments(runs_dir: Path, *more: str) -> list[str]:
    """What follows `codctl`: the same words each time."""
    return ["train", str(RECIPE), *TWO_PROCESSES, *more, "--runs-dir", str(runs_dir), "--json"]


def folder(runs_dir: Path) -> Path:
    return runs_dir / NAME


def outcome(runs_dir: str) -> dict[str, Any]:
    """Everything that must be the same, hashed where it is large; times are left out."""
    run = folder(Path(runs_dir))
    stages = run / "stages"
    found: dict[str, Any] = {"metrics": metrics(run)}
    for name in ("model", "warm_start/model", "cod_train/final", "cod_train/checkpoints"):
        found |= _files(stages / name, run)
    for path in sorted((stages / "evaluation").rglob("*.json*")):
        if path.name not in ("COMPLETE.json", "evaluation.json", "journal.jsonl", "result.json"):
            found[_name(path, run)] = _hash(path.read_bytes())
    for path in sorted((stages / "evaluation").rglob("result.json")):
        found[_name(path, run)] = json.loads(path.read_text())["parts"]
        found[_name(path.with_name("rows.parquet"), run)] = _hash(path.with_name("rows.parquet").read_bytes())
    warm_start = stages / "warm_start" / "result.json"
    found[_name(warm_start, run)] = _without_seconds(json.loads(warm_start.read_text()))
    for path in sorted((stages / "cod_train" / "rollouts").iterdir()):
        found[_name(path, run)] = _hash(_rows(path))
    found["report"] = report_text((run / "report.html").read_text())
    found["leftovers"] = sorted(_name(path, run) for path in run.rglob(".*.tmp-*"))
    return found


def metrics(run: Path) -> list[Any]:
    """Phase, step and numbers of metrics.jsonl, which must not hold a torn line; those of the warm start first.

    A warm start that was damaged and made again writes its numbers after those of the training.
    """
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    records.sort(key=lambda record: record["phase"] != "warm_start")  # keeps the order of all else
    return [[record["phase"], record["step"], record["metrics"]] for record in records]


def tracked(runs_dir: str) -> dict[str, Any]:
    """What MLflow holds of the run: lists of what is wrong, its status, and the names of all MLflow runs there are."""
    from mlflow import MlflowClient

    run = folder(Path(runs_dir))
    client = MlflowClient(tracking_uri=f"sqlite:///{Path(runs_dir).resolve() / 'mlflow.db'}")
    stored = json.loads((run / "trackers" / "mlflow.json").read_text())["memory"]["run_id"]
    mine = client.get_run(stored)
    everything = client.search_runs([mine.info.experiment_id])
    expected = {
        (f"{record['phase']}/{name}", record["step"])
        for record in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        for name, value in [*record["metrics"].items(), *record["timing"].items()]
        if value is not None
    }
    held = [(m.key, m.step) for key in mine.data.metrics for m in client.get_metric_history(stored, key)]
    return {
        "status": mine.info.status,
        "runs": sorted(one.info.run_name.removeprefix(f"{NAME}/") for one in everything),
        "twice": sorted({str(one) for one in held if held.count(one) > 1}),
        "missing": sorted(map(str, expected - set(held))),
        "unknown": sorted(map(str, set(held) - expected)),
    }


def report_text(page: str) -> str:
    """The words of the page, less what is on time and on how it came about."""
    page = page.split("Where the time and the tokens went")[0]
    page = re.sub(r'(?s)<p class="top">.*?</p>', " ", page)
    page = re.sub(r"(?s)<(style|script)\b.*?</\1>", " ", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def _files(folder: Path, run: Path) -> dict[str, str]:
    return {
        _name(path, run): _hash(_content(path, run))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "COMPLETE.json"
    }


def _content(path: Path, run: Path) -> bytes:
    """A file's bytes; of a LoRA adapter without the folder of its base model, and with a set in order."""
    data = path.read_bytes().replace(str(run.parent).encode(), b"RUNS")
    if path.name == "adapter_config.json":
        config = json.loads(data)
        data = json.dumps({**config, "target_modules": sorted(config["target_modules"])}).encode()
    return data


def _rows(path: Path) -> bytes:
    from codctl.train.rollout_store import read_rollouts

    return json.dumps(read_rollouts(path), sort_keys=True).encode()


def _without_seconds(value: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key != "seconds"}


def _name(path: Path, run: Path) -> str:
    return path.relative_to(run).as_posix()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
