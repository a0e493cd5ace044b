"""The page of a study: maps with a number in every cell, no number where there is none, nothing that can act."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from codctl.report.heat_map import HeatCell, HeatMap
from codctl.runs.directory import RunDirectory
from codctl.sweeps.charts import curves, maps, names, solved
from codctl.sweeps.page import render
from codctl.sweeps.results import sum_up
from codctl.sweeps.study_result import Evaluation, StudyResult

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def result(whole_study: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    copy = tmp_path_factory.mktemp("page") / "study"
    shutil.copytree(whole_study, copy)
    return sum_up(copy)


def test_maps_have_a_cell_for_every_training_and_evaluation(result: StudyResult) -> None:
    gain, last = maps(result)
    assert gain.rows[0] == ["frozen_lake", "cod"]
    assert list(gain.columns) == [
        ["home", "frozen_lake", "tiny"],
        ["home", "alchemy", "tiny"],
        ["loop", "frozen_lake", "tiny"],
    ]
    learned, other = gain.cells[0][0], gain.cells[0][1]
    assert learned.is_sure
    assert not other.is_sure
    assert learned.strength == 1.0  # the largest gain sets the scale
    assert re.fullmatch(
        r"frozen_lake, cod → home frozen_lake tiny: \+\d+ \(95 % interval \+\d+ to \+\d+\) points"
        r", seed 0: \+\d+, seed 1: \+\d+; without hints .?\d+",
        learned.tip,
    )
    assert int(last.cells[0][0].text) > 80


def test_a_map_can_be_turned_for_narrow_windows(result: StudyResult) -> None:
    gain = maps(result)[0]
    turned = gain.turned()
    assert turned.rows == gain.columns
    assert turned.cells[1][2] == gain.cells[2][1]
    assert turned.key != gain.key  # ids stay unique


def test_a_drawn_map_says_what_it_shows_and_lets_nothing_act() -> None:
    cells = [
        [HeatCell(HOSTILE, 0.5, HOSTILE, is_sure=True), HeatCell("1 of 3", is_open=True)],
        [HeatCell("−5", -0.2)] * 2,
    ]
    text = str(HeatMap("k", HOSTILE, HOSTILE, [["a", HOSTILE], ["b"]], [["c"], ["d"]], cells).svg())
    assert "<script" not in text
    assert text.count('class="above"') == 1
    assert text.count('class="below"') == 2
    assert text.count('fill="url(#k-open)"') == 1
    assert 'fill-opacity="0.250"' in text
    assert 'aria-labelledby="k-t k-d"' in text


def test_curves_show_own_none_the_ceiling_and_the_ablation(result: StudyResult) -> None:
    found = curves(result, "frozen_lake, cod")
    assert [chart.title for chart in found] == [
        "home: frozen_lake tiny",
        "home: alchemy tiny",
        "loop: frozen_lake tiny",
    ]
    assert [series.name for series in found[0].series] == ["bayes", "no hints", "own, warm", "own hints"]
    assert [point.x for point in found[2].series[-1].points] == [1, 2, 3, 4]  # attempts
    (loop,) = solved(result, "frozen_lake, cod")
    assert [series.name for series in loop.series] == ["bayes", "no hints", "own, warm", "own hints"]
    shares = [point.y for point in loop.series[-1].points]
    assert shares == sorted(shares)


def test_a_suite_with_several_evaluations_names_them() -> None:
    plain = {"source": "loop", "family": "alchemy", "preset": "tiny", "variant": "v"}
    evaluations = [Evaluation(key="a", entry="full", **plain), Evaluation(key="b", entry="sample", **plain)]  # type: ignore[arg-type]
    assert names(evaluations) == {
        "a": ["loop, full", "alchemy", "tiny v"],
        "b": ["loop, sample", "alchemy", "tiny v"],
    }


def test_the_page_needs_nothing_else(result: StudyResult) -> None:
    page = render(result)
    assert "://" not in page
    assert "<script" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert result.headline in page
    assert "codctl sweep study.yaml" in page
    assert "There is one training seed" not in page
    assert "look at the seeds one by one" in page


def test_one_seed_is_said_to_be_one(study: Path) -> None:
    plan = json.loads((study / "sweep.json").read_text())
    plan["trials"] = [trial for trial in plan["trials"] if trial["labels"]["seed"] == 0]
    (study / "sweep.json").write_text(json.dumps(plan))
    assert "There is one training seed: the intervals say nothing about what another one would do." in render(
        sum_up(study)
    )


def test_what_others_wrote_is_only_shown(study: Path, fake_studies: ModuleType) -> None:
    plan = json.loads((study / "sweep.json").read_text())
    plan |= {"source": HOSTILE, "command": ["codctl", "sweep", HOSTILE]}
    for trial in plan["trials"]:
        trial["labels"]["train"] += HOSTILE
        trial["overrides"] = [HOSTILE]
    (study / "sweep.json").write_text(json.dumps(plan))
    fake_studies.ended(RunDirectory(study / "trials" / "alchemy-cod-1"), "failed", HOSTILE)
    page = render(sum_up(study))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 20


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 420, 700, 1280])
def test_fits_every_width(
    study: Path, tmp_path: Path, width: int, fake_studies: ModuleType, measure: Callable[..., dict[str, Any]]
) -> None:
    fake_studies.ended(RunDirectory(study / "trials" / "alchemy-cod-1"), "failed", "out of memory " * 20)
    shutil.rmtree(study / "trials" / "alchemy-cod-1" / "suites")
    sum_up(study)
    found = measure(study / "report.html", width, tmp_path)
    assert found["scroll"] <= found["client"], found
    assert found["tooWide"] == []
    assert found["outside"] == []
    assert found["smallest"] >= 10
    assert found["charts"] == 2 + 3 + 1  # maps; curves and a loop of the one training that is complete


@pytest.mark.browser
def test_dark_and_light_differ(study: Path, tmp_path: Path, measure: Callable[..., dict[str, Any]]) -> None:
    sum_up(study)
    light, dark = (measure(study / "report.html", 1000, tmp_path, dark=dark) for dark in (False, True))
    assert light["background"] != dark["background"]
    assert light["ink"] != dark["ink"]
