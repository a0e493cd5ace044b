"""One untouched run for all tests of this folder; `slow` ones only with CODCTL_FAULTS=all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.durability import small_run
from tests.durability.processes import Processes

WITHOUT_MLFLOW = "tracking.mlflow=false"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = pytest.mark.skip(reason="minutes; `make test-kill` runs it")
    for item in items:
        is_ours = Path(__file__).parent in item.path.parents
        if is_ours and item.get_closest_marker("slow") and os.environ.get("CODCTL_FAULTS") != "all":
            item.add_marker(skip)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("output")) as found:
        yield found


@pytest.fixture(scope="session")
def outcome(server: Processes) -> Callable[[Path], dict[str, Any]]:
    """All of a finished run that must not depend on how it got there."""
    return lambda runs: dict(server.call(Path(small_run.__file__), "outcome", str(runs)))


@pytest.fixture(scope="session")
def untouched(server: Processes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of a run that nothing happened to. Read only."""
    runs = tmp_path_factory.mktemp("untouched")
    assert server.run(*small_run.arguments(runs, WITHOUT_MLFLOW)).code(0) == 0
    return runs


@pytest.fixture(scope="session")
def expected(untouched: Path, outcome: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    return outcome(untouched)


@pytest.fixture
def runs(untouched: Path, tmp_path: Path) -> Path:
    """A copy of the untouched run's folder, to damage."""
    return Path(shutil.copytree(untouched, tmp_path / "runs"))
