"""Fixtures for tests of sweeps and studies."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.report.conftest import measure as measure
from tests.sweeps import fake_study


@pytest.fixture(scope="session")
def fake_studies() -> ModuleType:
    """The module that makes up studies."""
    return fake_study


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with nothing missing; tests only read it."""
    return fake_study.study(tmp_path_factory.mktemp("study") / "runs")


@pytest.fixture
def study(whole_study: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    copy = tmp_path / "runs" / "sweeps" / whole_study.name
    shutil.copytree(whole_study, copy)
    return copy
