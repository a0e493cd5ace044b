"""The runs that hostile ones are made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import base


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Treat as read-only: `base.copy` makes a copy."""
    home = tmp_path_factory.mktemp("hostile") / "home"
    home.mkdir()
    base.make(home)
    return home
