from __future__ import annotations

from pathlib import Path

import pytest

from codctl.errors import UsageError
from codctl.sweeps.study_file import find_study, load_study, shipped_studies

STUDY = """\
name: small
description: For tests.
seeds: [0, 1]
train:
  here: {recipe: micro.yaml, overrides: {train.steps: 1}}
  there:
    recipe: tiny
    overrides:
      world: {preset: tiny, length: 3}
ablations:
  cod:
  plain: {train.enabled: false}
evaluate:
  loop: {suite: ralph-loop, overrides: {arms: [own]}, limit: 4}
  own: {suite: mine.yaml}
sizes:
  tiny:
    overrides: {runtime.threads: 1}
  big:
    seeds: [7]
    overrides: {model.path: some/model}
    train:
      only: {overrides: {world.preset: easy}}
    evaluate: {}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "micro.yaml").write_text("name: micro\n")
    (tmp_path / "mine.yaml").write_text("name: mine\nevaluations: [{name: a, worlds: trained}]\n")
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def test_a_study_is_read_at_its_own_size(study: Path) -> None:
    found = load_study(study, "study.yaml")
    assert (found.name, found.size, found.is_default_size, found.seeds) == ("small", "tiny", True, (0, 1))
    assert {name: training.recipe for name, training in found.trainings.items()} == {
        "here": str(study.parent / "micro.yaml"),
        "there": "tiny",
    }
    assert [o.text for o in found.trainings["here"].overrides] == ["runtime.threads=1", "train.steps=1"]
    assert [o.text for o in found.trainings["there"].overrides] == [
        "runtime.threads=1",
        "world.preset=tiny",
        "world.length=3",
    ]
    assert {name: [o.text for o in one] for name, one in found.ablations.items()} == {
        "cod": [],
        "plain": ["train.enabled=false"],
    }
    assert [o.text for o in found.evaluations["loop"].overrides] == ["arms=[own]", "packs=4"]
    assert found.evaluations["own"].suite == str(study.parent / "mine.yaml")


def test_another_size_replaces_what_it_names(study: Path) -> None:
    found = load_study(study, "study.yaml", "big")
    assert (found.size, found.is_default_size, found.seeds) == ("big", False, (7,))
    assert [o.text for o in found.trainings["only"].overrides] == ["model.path=some/model", "world.preset=easy"]
    assert found.trainings["only"].recipe is None
    assert not found.evaluations
    assert set(found.ablations) == {"cod", "plain"}


def test_an_override_knows_the_line_it_stands_on(study: Path) -> None:
    found = load_study(study, "study.yaml")
    where = {o.key: o.where for training in found.trainings.values() for o in training.overrides}
    assert where == {
        "train.steps": "study.yaml:5",
        "world.preset": "study.yaml:9",
        "world.length": "study.yaml:9",
        "runtime.threads": "study.yaml:18",
    }


@pytest.mark.parametrize(
    ("old", "new", "message", "where"),
    [
        ("description: For", "descripton: For", "unknown key descripton; did you mean description?", ":2"),
        ("ablations:", "ablation:", "unknown key ablation; did you mean ablations?", ":10"),
        ("{recipe: micro.yaml,", "{recip: micro.yaml,", "unknown key recip; did you mean recipe?", ":5"),
        ("limit: 4", "limits: 4", "unknown key limits; did you mean limit?", ":14"),
        ("limit: 4", "limit: 1", "limit: expected a whole number or null from 2 to 1,000,000, got 1", ":14"),
        (
            "seeds: [7]",
            "seeds: []",
            "seeds: expected a list of whole numbers from 0 to 4,294,967,295 or null with at least 1, got []",
            ":20",
        ),
        (
            "seeds: [0, 1]",
            "seeds: []",
            "seeds: expected a list of whole numbers from 0 to 4,294,967,295 with at least 1, got []",
            ":3",
        ),
        ("name: small", "nam: small", "unknown key nam; did you mean name?", ":1"),
        ("recipe: tiny", "recipe: tyni", 'there is no recipe "tyni"', ":7"),
        ("  there:", "  a/b:", "train: 'a/b' is not a valid name", ":6"),
        ("  plain: {train.enabled: false}", "  plain: 3", "ablations.plain: expected a section", ":12"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(study: Path, old: str, new: str, message: str, where: str) -> None:
    assert old in STUDY
    study.write_text(STUDY.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        load_study(study, "study.yaml")
    found = [problem for problem in caught.value.problems if problem.message.startswith(message)]
    assert [problem.where for problem in found] == [f"study.yaml{where}"], caught.value.problems


def test_a_size_that_does_not_exist_is_refused_with_the_nearest(study: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no size 'bigg'; did you mean \"big\"\? \(known: tiny, big\)"):
        load_study(study, "study.yaml", "bigg")


def test_every_shipped_study_is_read_at_every_size() -> None:
    studies = shipped_studies()
    assert list(studies) == ["generalization"]
    for path in studies.values():
        for size in ("tiny", "pair", "qwen3-8b"):
            found = load_study(path, path.name, size)
            assert found.trainings
            assert found.evaluations


def test_a_study_is_found_by_name_folder_or_file_and_a_recipe_is_no_study(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.parent)
    usual = shipped_studies()["generalization"]
    for name in (None, "generalization", "experiments/generalization", str(usual), str(usual.parent)):
        found = find_study(name)
        assert found is not None
        assert found.path.samefile(usual)
    (study.parent / "renamed.yaml").write_text(STUDY)
    for name in ("study.yaml", "renamed.yaml", "."):
        assert find_study(name) is not None
    for name in ("micro.yaml", "tiny"):
        assert find_study(name) is None
    with pytest.raises(UsageError, match=r"there is no recipe \"genralization\".*\(studies: generalization\)"):
        find_study("genralization")
