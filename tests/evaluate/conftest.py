"""Fixtures for evaluation tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from codctl.runs.directory import RunDirectory


@pytest.fixture(scope="session")
def fake_runs() -> ModuleType:
    """The module that makes up run directories."""
    spec = importlib.util.spec_from_file_location("fake_run", Path(__file__).parent / "fake_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_run"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def finished_run(fake_runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A whole run; tests only read it."""
    run: RunDirectory = fake_runs.fake_run(tmp_path_factory.mktemp("finished"))
    return run


@pytest.fixture(scope="session")
def half_run(fake_runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that was interrupted in CoD-Train; tests only read it."""
    run: RunDirectory = fake_runs.fake_run(tmp_path_factory.mktemp("half"), steps=37, evaluated=False)
    return run


@pytest.fixture(scope="session")
def mixed_run(fake_runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A whole run on two families, of which one is learned; tests only read it."""
    run: RunDirectory = fake_runs.fake_run(tmp_path_factory.mktemp("mixed"), families=2)
    return run
