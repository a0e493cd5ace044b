"""`codctl report RUN --figures DIR`: every chart as a picture that needs nothing else, and its numbers."""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from codctl.errors import UsageError
from codctl.report import write_figures
from codctl.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def drawn(finished_run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("figures")
    found = write_figures(finished_run, home / "for a talk")
    assert [one.name for one in found][:3] == ["learning", "success", "arms"]
    assert {path.name for one in found for path in one.files} == {path.name for path in (home / "for a talk").iterdir()}
    return home / "for a talk"


def test_every_chart_is_a_picture_in_two_formats(drawn: Path) -> None:
    for path in drawn.glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        assert root.tag.endswith("svg")
        assert not [e for e in root.iter() if e.tag.endswith("image")]
        assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_numbers_are_those_of_the_chart(drawn: Path) -> None:
    with (drawn / "learning.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["series"] for row in rows} >= {"own hints, before training", "own hints, after training", "no hints"}
    own = [row for row in rows if row["series"] == "own hints, after training"]
    assert [row["position in the pack"] for row in own] == ["1", "2", "3", "4"]
    for row in own:
        assert float(row["low"]) <= float(row["success, share of packs"]) <= float(row["high"])


def test_the_same_run_gives_the_same_drawing(half_run: RunDirectory, tmp_path: Path) -> None:
    for one, other in zip(*(write_figures(half_run, tmp_path / name) for name in ("one", "other")), strict=True):
        assert [path.read_bytes() for path in one.files] == [path.read_bytes() for path in other.files]


def test_a_mixture_names_the_family(mixed_run: RunDirectory, tmp_path: Path) -> None:
    names = {one.name for one in write_figures(mixed_run, tmp_path)}
    assert {"learning-frozen_lake", "learning-alchemy"} <= names


def test_a_run_without_numbers_has_no_figures(fake_runs: ModuleType, tmp_path: Path) -> None:
    run = fake_runs.fake_run(tmp_path, steps=0, evaluated=False)
    with pytest.raises(UsageError, match="there is nothing to draw"):
        write_figures(run, tmp_path / "none")
