"""`make bench-gpu`: the same command on a CPU, with a model of no size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[2] / "experiments/bench/gpu.py"


def bench(*arguments: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH), "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    done = bench(out=tmp_path)
    assert done.returncode == 3
    assert "no GPU" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_part_that_fails_costs_only_itself(tmp_path: Path) -> None:
    small = ("--device", "cpu", "--layers", "2", "--width", "64")
    done = bench(*small, "--parts", "tiny", "smol_generate", "lora", "--tiny", "train.stepps=1", out=tmp_path)
    assert done.returncode == 1
    found = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert "stepps" in found["tiny"]["failed"]
    assert found["lora"]["tokens_per_s"] > 0
    assert found["smol_generate"]["passes"] == found["smol_generate"]["least_passes"]
    assert 0 < found["lora"]["trained"] < found["lora"]["parameters"]
    assert len(found["lora"]["top"]) == 5
    assert "| lora, model.build |" in (tmp_path / "gpu.md").read_text()
