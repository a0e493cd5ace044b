"""How the tests are run, and a tiny model with its tokenizer, built once for all tests that need one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from codctl.startup import wait_without_spinning
from tests import forked
from tests.surroundings import settle

settle()
wait_without_spinning()  # as every process of ours begins: what a test starts then has the environment of this one
forked.install()
# The same examples everywhere, however slow the machine; `--hypothesis-profile=default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, suppress_health_check=())
settings.load_profile("repeatable")

BUILD = {"layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "ffn": 48, "vocab": 448, "rope_theta": 100.0}
ELSEWHERE = (
    "gpu",
    "slurm",
    "vllm",
    "browser",
    "agents",
)  # markers of what needs more than this machine; `-m NAME` runs them
_MOST_WORKERS = 4  # each holds a torch of its own


def _asked(config: pytest.Config) -> set[str]:
    return set(re.findall(r"\w+", config.getoption("markexpr")))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker a core for the whole suite; what is picked from it runs in this process, where `pdb` and `-s` work."""
    is_whole = config.args_source is not pytest.Config.ArgsSource.ARGS and not _asked(config) & set(ELSEWHERE)
    cores = min(len(os.sched_getaffinity(0)), _MOST_WORKERS)
    return cores if is_whole and cores > 1 else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs other machines or software unless `-m` names it: `-m "not slow"` does not bring it in."""
    left_out = set(ELSEWHERE) - _asked(config)
    dropped = [item for item in items if any(item.get_closest_marker(name) for name in left_out)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


@pytest.fixture(scope="session", autouse=True)
def _own_code() -> Iterator[None]:
    """A command that is run in this process must not let the tests after it import from a snapshot in its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codctl.runs.code.fix", lambda runs_dir: None)
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder as the `model` stage writes it. Read only."""
    from codctl.config.schema import BuildConfig, WorldConfig
    from codctl.models.build import build_folder
    from codctl.train.setup import prepare_process

    prepare_process(threads=1)
    folder = tmp_path_factory.mktemp("tiny") / "model"
    build_folder(BuildConfig(**BUILD), WorldConfig(preset="tiny", rendering="compact"), 0, folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tiny_folder: Path) -> Any:
    from codctl.models.load import load_tokenizer

    return load_tokenizer(tiny_folder)


@pytest.fixture
def model(tiny_folder: Path) -> Any:
    """A model of one's own, on the CPU."""
    from codctl.models.load import load_model

    return load_model(tiny_folder, "float32", "cpu")
