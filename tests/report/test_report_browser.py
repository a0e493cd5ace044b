"""The page in a real browser: nothing overflows, light and dark differ, wide and narrow differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codctl.report import write_report
from codctl.runs.directory import RunDirectory

Measure = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(finished_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(finished_run, tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("width", [360, 1050])
def test_mixture_fits(mixed_run: RunDirectory, tmp_path: Path, width: int, measure: Measure) -> None:
    found = measure(write_report(mixed_run, tmp_path / "mixed.html"), width, tmp_path)
    assert found["scroll"] <= found["client"], found
    assert found["tooWide"] == found["outside"] == []
    assert found["charts"] == 26


@pytest.mark.parametrize("width", [360, 700, 1050, 1600])
def test_fits_every_width(page: Path, tmp_path: Path, width: int, measure: Measure) -> None:
    found = measure(page, width, tmp_path)
    assert found["scroll"] <= found["client"], found
    assert found["tooWide"] == []
    assert found["outside"] == []
    assert found["charts"] == 16
    assert found["smallest"] >= 10, found


def test_dark_and_light(page: Path, tmp_path: Path, measure: Measure) -> None:
    light, dark = (measure(page, 1000, tmp_path, dark=dark) for dark in (False, True))
    assert light["background"] == "rgb(251, 251, 249)"
    assert dark["background"] == "rgb(20, 22, 26)"
    assert light["ink"] != dark["ink"]


def test_unfinished_run_fits_too(half_run: RunDirectory, tmp_path: Path, measure: Measure) -> None:
    page = write_report(half_run, tmp_path / "half.html")
    found = measure(page, 360, tmp_path)
    assert found["scroll"] <= found["client"]
    assert found["tooWide"] == []
