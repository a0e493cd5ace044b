"""A sweep's folder is summed up from what is there: loud about what is missing, and never averaged over it."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from codctl.cli._sweep_text import results_text
from codctl.config.schema import Config
from codctl.errors import UsageError
from codctl.runs.directory import RunDirectory
from codctl.sweeps import study_result
from codctl.sweeps.results import sum_up
from codctl.sweeps.study_result import Cell, StudyResult

HOME, OTHER, LOOP = "home/home-it/frozen_lake-tiny", "home/home-it/alchemy-tiny", "loop/loop-it/frozen_lake-tiny"


@pytest.fixture(scope="module")
def result(whole_study: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    copy = tmp_path_factory.mktemp("whole") / "study"
    shutil.copytree(whole_study, copy)
    found = sum_up(copy)
    assert study_result.read(copy) == found
    assert (copy / "report.html").stat().st_size > 10_000
    return found


def cell(result: StudyResult, setting: str, evaluation: str) -> Cell:
    return result.by_place[setting, evaluation]


def lines(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "table.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_matrix_is_found(result: StudyResult) -> None:
    assert [one.title for one in result.settings] == [
        "frozen_lake, cod",
        "frozen_lake, warm",
        "alchemy, cod",
        "alchemy, warm",
    ]
    assert [one.key for one in result.evaluations] == [HOME, OTHER, LOOP]
    assert result.is_matrix
    assert result.complete
    assert result.incomplete == ()
    assert len(result.cells) == 12
    learned = cell(result, "frozen_lake, cod", HOME)
    assert learned.state == "complete"
    assert learned.seeds == (0, 1)
    assert learned.gain["own"].low > 0.2
    assert learned.own_less_none is not None
    assert learned.own_less_none.low > 0.2
    assert abs(learned.gain["none"].mean) < 0.2
    assert learned.references["bayes"][-1].mean == 1.0
    assert cell(result, "frozen_lake, warm", HOME).gain["own"].low < 0.1
    solved = cell(result, "alchemy, cod", LOOP).solved_by_attempt
    assert solved is not None
    assert [point.attempt for point in solved["own"]] == [1, 2, 3, 4]


def test_means_are_those_of_the_suites(result: StudyResult, whole_study: Path) -> None:
    found = cell(result, "frozen_lake, cod", HOME)
    for place, seed in enumerate((0, 1)):
        stored = json.loads((whole_study / f"trials/frozen_lake-cod-{seed}/suites/home/result.json").read_text())
        part = stored["parts"][0]
        shown = [point.by_seed[place] for point in found.arms["own"]]
        assert shown == pytest.approx([point["mean"] for point in part["arms"]["own"]["success"]])
        assert found.gain["own"].by_seed[place] == pytest.approx(part["gain"]["own"]["mean"])


def test_it_says_where_it_holds(result: StudyResult) -> None:
    told = {one.relation: (one.answer, one.learns, one.of) for one in result.answers}
    assert told == {"trained": ("yes", 2, 2), "family": ("no", 0, 2), "ralph": ("in part", 1, 2)}
    assert result.headline.endswith("not in other families (0\xa0of\xa02).")
    assert result.ablations.said == (
        "Against warm, cod gains more within a pack in 2 of 6 evaluations, less in 0; in 4 the interval contains zero.",
    )


def test_the_same_twice(result: StudyResult, study: Path) -> None:
    assert replace(sum_up(study), folder="") == replace(result, folder="")


def test_the_table_has_a_line_for_everything(study: Path) -> None:
    sum_up(study)
    found = lines(study)
    assert list(found[0]) == [
        *("trial", "train", "ablation", "seed", "status", "evaluation", "arm", "position", "success", "packs")
    ]
    arms = 4  # own, none and two references
    assert len(found) == 8 * arms * (3 + 3 + 4)
    stored = json.loads((study / "trials/alchemy-warm-1/suites/loop/result.json").read_text())["parts"][0]
    mine = [one for one in found if one["trial"] == "alchemy-warm-1" and one["evaluation"] == LOOP]
    assert [float(one["success"]) for one in mine if one["arm"] == "none"] == pytest.approx(
        [point["mean"] for point in stored["arms"]["none"]["success"]], abs=1e-6
    )


def test_shaped_reward_is_nowhere(result: StudyResult) -> None:
    assert "reward" not in json.dumps(study_result.to_json(result))


def broken(study: Path, fakes: ModuleType) -> None:
    trials = study / "trials"
    shutil.rmtree(trials / "frozen_lake-cod-1" / "suites")
    fakes.ended(RunDirectory(trials / "frozen_lake-cod-1"), "failed", "out of <memory>")
    shutil.rmtree(trials / "alchemy-cod-0" / "suites" / "loop")
    fakes.change(trials / "alchemy-warm-0" / "suites" / "home" / "result.json", to_play_again=3)
    shutil.rmtree(trials / "frozen_lake-warm-0")
    (trials / "frozen_lake-warm-1" / "suites" / "loop" / "result.json").write_text('{"torn')


def test_what_is_incomplete_is_listed_and_has_no_mean(study: Path, fake_studies: ModuleType) -> None:
    broken(study, fake_studies)
    found = sum_up(study)
    told = {one.trial: (one.status, list(one.missing), one.hint) for one in found.incomplete}
    again = "codctl sweep study.yaml"
    assert told == {
        "frozen_lake-cod-1": (
            "failed",
            ["suite home: not played", "suite loop: not played"],
            f"{again} --retry-failed",
        ),
        "frozen_lake-warm-0": ("planned", ["suite home: not played", "suite loop: not played"], again),
        "frozen_lake-warm-1": ("finished", ["suite loop: begun"], again),
        "alchemy-cod-0": ("finished", ["suite loop: not played"], again),
        "alchemy-warm-0": (
            "finished",
            ["suite home: 3 trajectories failed and will be played again"],
            again,
        ),
    }
    assert not found.complete
    states = {(one.setting, one.evaluation): one.state for one in found.cells}
    whole = {key for key, state in states.items() if state == "complete"}
    assert whole == {("alchemy, cod", HOME), ("alchemy, cod", OTHER), ("alchemy, warm", LOOP)}
    for one in found.cells:
        assert bool(one.arms) == (one.state == "complete")
    half = cell(found, "frozen_lake, cod", HOME)
    assert (half.state, half.seeds, half.of) == ("incomplete", (0,), 2)
    assert found.ablations.differences == ()
    assert found.headline.startswith("So far: ")
    assert found.headline.endswith(" 5 of 8 trials are incomplete.")


def test_it_is_loud_in_the_table_the_page_and_the_terminal(study: Path, fake_studies: ModuleType) -> None:
    broken(study, fake_studies)
    found = sum_up(study)
    first = lines(study)[:5]
    assert all(one["status"].startswith("INCOMPLETE: ") and not one["success"] for one in first)
    page = (study / "report.html").read_text()
    assert "<strong>Incomplete: 5 of 8 trials.</strong>" in page
    assert "out of &lt;memory&gt;" in page
    assert page.index("5 of 8 trials") < page.index("Does the learning transfer?")
    assert "incomplete (1 of 2 seeds)" in page
    said = results_text(found)
    assert "INCOMPLETE: 5 of 8 trials" in said
    assert "frozen_lake-cod-1: failed (suite home: not played; suite loop: not played; out of <memory>)" in said
    assert "→ codctl sweep study.yaml --retry-failed" in said
    assert sum("incomplete" in line for line in said.splitlines() if HOME in line or OTHER in line) == 6


def test_nothing_at_all_yet(study: Path) -> None:
    shutil.rmtree(study / "trials")
    found = sum_up(study)
    assert [one.key for one in found.evaluations] == ["home", "loop"]
    assert {one.state for one in found.cells} == {"incomplete"}
    assert found.headline == "No result yet: no evaluation is complete. 8 of 8 trials are incomplete."
    assert "0 of 2" in (study / "report.html").read_text()
    assert "0/2" in results_text(found)


def test_seeds_that_played_different_packs_have_no_mean(study: Path) -> None:
    path = study / "trials/frozen_lake-cod-0/suites/home/result.json"
    stored = json.loads(path.read_text())
    stored["parts"][0]["packs"] = 39
    path.write_text(json.dumps(stored))
    found = sum_up(study)
    assert cell(found, "frozen_lake, cod", HOME).state == "unequal"
    assert cell(found, "frozen_lake, cod", OTHER).state == "complete"
    assert "the seeds were not played alike" in (study / "report.html").read_text()
    assert "seeds differ" in results_text(found)


@pytest.fixture
def plain(tmp_path: Path, fake_studies: ModuleType) -> Path:
    """A sweep without suites: two learning rates, two seeds, one trial that nobody has begun."""
    runs_dir = tmp_path / "runs"
    sweep, trials = runs_dir / "sweeps" / "plain", []
    for rate in (0.1, 0.2):
        for seed in (0, 1):
            config = Config.model_validate({"name": f"plain-{rate}-{seed}", "seed": seed, "train": {"lr": rate}})
            if (rate, seed) != (0.1, 1):
                run = fake_studies.finished(runs_dir, sweep, config)
                fake_studies.evaluate_in_run(run, seed, is_learned=rate == 0.2)
            trials.append(fake_studies.entry(config.name, {"train.lr": rate, "seed": seed}, config))
    folder: Path = fake_studies.write_plan(sweep, "sweep", trials)
    return folder


def test_a_sweep_without_suites_is_told_by_its_own_evaluations(plain: Path) -> None:
    found = sum_up(plain)
    assert [(one.setting, one.state) for one in found.cells] == [
        ("train.lr=0.1", "incomplete"),
        ("train.lr=0.2", "complete"),
    ]
    assert not found.is_matrix
    gain = found.cells[1].gain["own"]
    assert gain.mean > 0.2
    # Two training seeds leave more open than one.
    alone = plain / "trials/plain-0.2-0/stages/evaluation/after/result.json"
    of_one = json.loads(alone.read_text())["parts"][0]["gain"]["own"]
    assert gain.high - gain.low > 1.2 * (of_one["high"] - of_one["low"])
    assert found.headline.startswith("train.lr=0.2 solves most at the last position: ")
    page = (plain / "report.html").read_text()
    assert "<h2>Settings</h2>" in page
    assert "From training to evaluation" not in page
    said = results_text(found)
    assert "train.lr=0.2  after       2/2" in said
    assert "own less none" in said


def test_a_training_that_is_evaluated_but_not_finished_does_not_count(plain: Path, fake_studies: ModuleType) -> None:
    fake_studies.ended(RunDirectory(plain / "trials" / "plain-0.2-0"), "interrupted")
    found = sum_up(plain)
    assert {one.state for one in found.cells} == {"incomplete"}
    assert found.headline == "No result yet: no setting is complete. 2 of 4 trials are incomplete."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"schema": 1}', "result.json is of another version of codctl"),
        ('{"schema": 2, "name": 3}', "result.json cannot be used: name: it should be a valid string, but it is 3"),
        ("[]", "result.json is of another version of codctl"),
    ],
)
def test_a_result_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    assert study_result.read(tmp_path) is None
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        study_result.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a sweep: sweep.json is missing"),
        ("{", "sweep.json cannot be used: it is not JSON"),
        ("[]", "sweep.json cannot be used: content: it should be a valid dictionary"),
        ('{"schema": 9, "name": "x", "trials": []}', "sweep.json cannot be used: schema: it should be 1, but it is 9"),
    ],
)
def test_a_folder_without_a_plan_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        sum_up(tmp_path)
    assert not (tmp_path / "report.html").exists()
