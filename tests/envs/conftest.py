"""The same drawing and playing in another process, for the packs of every family."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def golden_elsewhere() -> Callable[[str, str], list[str]]:
    """Call `draw_golden` and `play_golden` of a test file in a process with another hash seed."""

    def ask(file: str, hash_seed: str) -> list[str]:
        code = f"import runpy; here = runpy.run_path({file!r}); print(*here['draw_golden'](), *here['play_golden']())"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        return done.stdout.split()

    return ask
