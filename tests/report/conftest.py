"""Fixtures for evaluation tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from codctl.runs.directory import RunDirectory


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake_runs() -> ModuleType:
    """The module that makes up run directories."""
    return _module("fake_run")


@pytest.fixture(scope="session")
def measure() -> Callable[..., dict[str, Any]]:
    """Look at a page in headless Chromium; the test is skipped where there is none."""
    browser = _module("browser")
    if browser.BROWSER is None:
        pytest.skip("no Chromium")
    found: Callable[..., dict[str, Any]] = browser.measure
    return found


@pytest.fixture(scope="session")
def dump() -> Callable[..., str]:
    """The document that a page's script draws in headless Chromium; the test is skipped where there is none."""
    browser = _module("browser")
    if browser.BROWSER is None:
        pytest.skip("no Chromium")
    found: Callable[..., str] = browser.dump
    return found


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
