"""From what is typed to trials, and from a second command to what is new."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codctl.config.compose import load_config
from codctl.config.freeze import digest
from codctl.config.suite_file import load_suite
from codctl.envs.registry import FAMILIES
from codctl.errors import RefusedError, UsageError
from codctl.pipeline.trial import missing_suites, read_trial, write_trial
from codctl.runs.directory import read_sweep
from codctl.sweeps import record as records
from codctl.sweeps.ask import ask
from codctl.sweeps.plan import Plan
from codctl.sweeps.record import Record

RECIPE = """\
name: small
world: {preset: tiny, rendering: compact}
train: {steps: 2, lr: 1e-3, lr_warmup_steps: 0}
runtime: {threads: 1}
"""
STUDY = """\
name: matrix
seeds: [0, 1]
train:
  short: {recipe: small.yaml, overrides: {train.steps: 1}}
  long: {recipe: small.yaml}
ablations:
  cod:
  plain: {train.enabled: false}
evaluate:
  loop: {suite: ralph-loop, limit: 4}
  mine: {suite: mine.yaml}
"""
SUITE = "name: mine\nevaluations: [{name: a, worlds: trained, packs: 4}]\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "mine.yaml").write_text(SUITE)
    return tmp_path


Reconcile = Callable[..., Record]


@pytest.fixture
def reconcile(home: Path) -> Reconcile:
    """Ask for something under one name and write what it means."""
    folder = home / "runs" / "sweeps" / "small-sweep"
    folder.mkdir(parents=True)

    def call(*texts: str, suites: Sequence[str] = ()) -> Record:
        plan = ask("small.yaml", texts, suites=suites, earlier_axes=lambda _: records.axes_of(folder))
        record = records.reconcile(plan, folder, ["codctl", "sweep", *texts])
        records.write(record)
        return record

    return call


def names(plan: Plan) -> list[str]:
    return [trial.name for trial in plan.trials]


def test_a_sweep_is_the_product_of_its_axes_in_the_order_typed(home: Path) -> None:
    plan = ask("small.yaml", ["train.lr=1e-3,2e-3", "train.steps=3", "seed=range(2)"])
    assert (plan.name, plan.kind, plan.repeated) == ("small-sweep", "sweep", 0)
    assert names(plan) == ["lr-0.001-seed-0", "lr-0.001-seed-1", "lr-0.002-seed-0", "lr-0.002-seed-1"]
    assert plan.axes == {"train.lr": [0.001, 0.002], "seed": [0, 1]}
    assert plan.trials[3].labels == {"train.lr": 0.002, "seed": 1}


def test_a_trial_is_what_the_same_overrides_train_alone(home: Path) -> None:
    for trial in ask("small.yaml", ["train.lr=1e-3,2e-3", "context=paper", "world={length: 3}", "seed=0,1"]).trials:
        assert digest(load_config("small.yaml", trial.overrides)) == trial.digest
        assert trial.config.context.on_parse_failure == "wipe"
        assert trial.config.world.length == 3
        assert trial.config.name == trial.name


def test_an_axis_moves_what_a_recipe_derives_from_it(home: Path) -> None:
    (home / "derived.yaml").write_text(RECIPE.replace("lr_warmup_steps: 0", 'lr_warmup_steps: "${train.steps}"'))
    plan = ask("derived.yaml", ["train.steps=2,5"])
    assert [trial.config.train.lr_warmup_steps for trial in plan.trials] == [2, 5]


def test_a_group_is_an_axis_like_any_other(home: Path) -> None:
    (home / "both.yaml").write_text("defaults: [{context: paper}, _self_]\n" + RECIPE)
    assert names(ask("small.yaml", ["context=paper"])) == ["small"]
    with pytest.raises(UsageError, match="context/nonsense"):
        ask("small.yaml", ["context=paper,nonsense"])


def test_a_size_is_an_axis_of_a_recipe(home: Path, reconcile: Reconcile) -> None:
    plan = ask("small.yaml", ["size=qwen3-0.6b,qwen3-4b", "seed=0,1"])
    assert names(plan)[:2] == ["size-qwen3-0.6b-seed-0", "size-qwen3-0.6b-seed-1"]
    assert [trial.config.model.path for trial in plan.trials[1:3]] == ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B"]
    assert plan.trials[0].command() == [
        *("codctl", "train", "small.yaml", "size=qwen3-0.6b", "seed=0", "name=size-qwen3-0.6b-seed-0"),
    ]
    reconcile("size=qwen3-0.6b,qwen3-4b")
    assert len(reconcile("size=qwen3-1.7b").content["trials"]) == 3  # another size is no other sweep
    with pytest.raises(UsageError, match=r"size/qwen3-9b.*Available options in 'size': qwen3-0\.6b"):
        ask("small.yaml", ["size=qwen3-0.6b,qwen3-9b"])


def test_combinations_that_mean_the_same_are_trained_once(home: Path) -> None:
    plan = ask("small.yaml", ["runtime.threads=1,2", "seed=0,1"])
    assert plan.repeated == 2
    assert len({trial.digest for trial in plan.trials}) == len(plan.trials) == 2


def test_values_that_look_alike_as_names_stay_apart(home: Path) -> None:
    plan = ask("small.yaml", ["model.path='a b',a-b"])
    first, second = plan.trials
    assert first.name == "path-a-b"
    assert second.name == second.config.name == f"path-a-b-{second.digest[:6]}"


def test_every_problem_of_every_axis_is_said_once(home: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ask("small.yaml", ["train.lrr=1,2", "train.steps=-1,-2,3", "sed=1"])
    found = {(problem.message, problem.where) for problem in caught.value.problems}
    assert found == {
        ("unknown key train.lrr; did you mean train.lr?", "override train.lrr=1,2"),
        ("train.steps: expected a whole number from 0 to 10,000,000, got -1", "override train.steps=-1,-2,3"),
        ("train.steps: expected a whole number from 0 to 10,000,000, got -2", "override train.steps=-1,-2,3"),
        ("unknown key sed; did you mean seed?", "override sed=1"),
    }


def test_a_sweep_too_large_to_mean_it_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="1000000 trials are too many: a sweep may have 10000"):
        ask("small.yaml", ["seed=range(1000)", "train.steps=range(1000)"])


def test_a_study_is_training_sets_by_ablations_by_seeds(home: Path) -> None:
    plan = ask("study.yaml", ["seeds=[3]", "train.lr=1e-4"])
    assert (plan.name, plan.kind, plan.size) == ("matrix", "study", "tiny")
    assert names(plan) == ["short-cod-seed-3", "long-cod-seed-3", "short-plain-seed-3", "long-plain-seed-3"]
    assert plan.trials[2].labels == {"train": "short", "ablation": "plain", "seed": 3}
    assert [trial.config.train.steps for trial in plan.trials] == [1, 2, 1, 2]
    assert [trial.config.train.enabled for trial in plan.trials] == [True, True, False, False]
    assert {trial.config.train.lr for trial in plan.trials} == {1e-4}
    assert [(suite.name, suite.texts) for suite in plan.suites] == [("loop", ["packs=4"]), ("mine", [])]


def test_parts_of_a_study_can_be_asked_for(home: Path) -> None:
    plan = ask("study.yaml", ["train=long", "ablations=cod", "evaluate=loop", "seeds=0,1"], limit=6)
    assert names(plan) == ["long-cod-seed-0", "long-cod-seed-1"]
    assert [(suite.name, suite.texts) for suite in plan.suites] == [("loop", ["packs=6"])]
    with pytest.raises(UsageError, match="train: the study has no 'lnog'; did you mean \"long\"") as caught:
        ask("study.yaml", ["train=lnog"])
    assert caught.value.hint == "it has short, long"


@pytest.mark.parametrize(
    ("old", "new", "message", "where"),
    [
        ("train.steps: 1", "train.step: 1", "unknown key train.step; did you mean train.steps?", "study.yaml:4"),
        ("train.enabled: false", "train.enabled: 3", "train.enabled: expected true or false, got 3", "study.yaml:8"),
        ("limit: 4}", "overrides: {pack: 4}}", "unknown key pack; did you mean packs?", "study.yaml:10"),
        ("suite: ralph-loop", "suite: ralf-loop", "suite loop: unknown suite 'ralf-loop'", ""),
        ("suite: ralph-loop,", "suite: in-domain-hard, overrides: {preset: hrad},", "suite loop: unknown preset", ""),
    ],
)  # fmt: skip
def test_what_a_study_gets_wrong_is_said_before_anything_is_trained(
    home: Path, old: str, new: str, message: str, where: str
) -> None:
    assert old in STUDY
    (home / "study.yaml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        ask("study.yaml", [])
    assert [problem.where for problem in caught.value.problems if problem.message.startswith(message)] == [where]


def test_the_shipped_study_spans_the_published_question() -> None:
    tiny, published = ask(None, []), ask(None, ["size=qwen3-8b"])
    assert (tiny.name, published.name) == ("generalization", "generalization-qwen3-8b")
    for plan in (tiny, published):
        labels = [trial.labels for trial in plan.trials]
        assert {one["ablation"] for one in labels} == {"cod", "without-cod"}
        assert {suite.name for suite in plan.suites} >= {"same", "harder", "ralph"}
    assert {trial.config.model.path for trial in published.trials} == {"Qwen/Qwen3-8B"}
    assert {(t.config.train.lr, t.config.train.loss.kind) for t in published.trials} == {(1e-6, "rec")}
    assert {trial.config.runtime.threads for trial in tiny.trials} == {1}
    entries = [one for suite in published.suites for one in load_suite(Path(suite.suite), suite.name).entries]
    assert {world.family for one in entries for world in one.worlds} == set(FAMILIES.built_in)  # type: ignore[union-attr]
    assert {part.family for trial in tiny.trials for part in trial.config.world.parts} == set(FAMILIES.built_in) - {
        "terminal"
    }


def test_a_second_command_keeps_what_was_there_and_adds_what_is_new(reconcile: Reconcile) -> None:
    first = reconcile("seed=0,1")
    second = reconcile("seed=1,2", suites=["ralph-loop"])
    assert [trial.name for trial in second.asked] == ["seed-1", "seed-2"]
    assert second.kept == 1
    assert [entry["name"] for entry in second.content["trials"]] == ["seed-0", "seed-1", "seed-2"]
    assert second.content["axes"] == {"seed": [0, 1, 2]}
    assert [len(entry["suites"]) for entry in second.content["trials"]] == [0, 1, 1]
    assert second.content["created"] == first.content["created"]


def test_one_value_of_an_earlier_axis_adds_a_trial(reconcile: Reconcile) -> None:
    reconcile("seed=0,1")
    assert [entry["name"] for entry in reconcile("seed=5").content["trials"]] == ["seed-0", "seed-1", "seed-5"]


def test_a_new_axis_keeps_the_trials_that_it_repeats(reconcile: Reconcile) -> None:
    reconcile("seed=0,1")
    found = reconcile("seed=0,1", "train.lr=1e-3,2e-3").content["trials"]
    assert [entry["name"] for entry in found] == ["seed-0", "seed-1", "seed-0-lr-0.002", "seed-1-lr-0.002"]
    assert [entry["labels"] for entry in found[:2]] == [{"seed": 0, "train.lr": 0.001}, {"seed": 1, "train.lr": 0.001}]


def test_a_suite_asked_otherwise_replaces_itself_only(reconcile: Reconcile) -> None:
    reconcile("seed=0", suites=["ralph-loop", "long-life"])
    assert [call["name"] for call in reconcile("seed=0", suites=["ralph-loop"]).content["trials"][0]["suites"]] == [
        "ralph-loop",
        "long-life",
    ]


def test_other_settings_under_one_name_are_refused_with_both_values(reconcile: Reconcile) -> None:
    reconcile("seed=0,1")
    with pytest.raises(RefusedError) as caught:
        reconcile("seed=0,1", "train.lr=2e-3", "world.length=5")
    assert [problem.message for problem in caught.value.problems] == [
        "train.lr: 0.001 → 0.002",
        "world.length: 4 → 5",
    ]
    assert "--name OTHER" in caught.value.hint
    assert "--fresh" in caught.value.hint
    reconcile("seed=0,1", "runtime.threads=2")  # changes no result


def test_a_row_of_a_study_may_be_added_but_not_changed(home: Path) -> None:
    folder = home / "runs" / "sweeps" / "matrix"
    folder.mkdir(parents=True)
    records.write(records.reconcile(ask("study.yaml", ["train=short"]), folder, []))
    records.write(records.reconcile(ask("study.yaml", []), folder, []))
    (home / "study.yaml").write_text(STUDY.replace("train.steps: 1", "train.steps: 7"))
    with pytest.raises(RefusedError) as caught:
        records.reconcile(ask("study.yaml", []), folder, [])
    assert [problem.message for problem in caught.value.problems] == [
        "short/cod: train.steps: 1 → 7",
        "short/plain: train.steps: 1 → 7",
    ]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"schema": 1}', '{"schema": 9, "trials": [], "bases": {}, "axes": {}}']
)
def test_a_damaged_plan_is_not_guessed_at(tmp_path: Path, content: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UsageError, match=r"sweep\.json cannot be used"):
        read_sweep(tmp_path)


def suite(name: str, *overrides: str) -> dict[str, object]:
    return {"name": name, "suite": "ralph-loop", "overrides": list(overrides)}


def played(run: Path, name: str) -> None:
    (run / "suites" / name).mkdir(parents=True)
    (run / "suites" / name / "result.json").write_text(json.dumps({"digest": "d"}))


def test_a_suite_is_owed_until_it_is_played_as_it_is_asked(tmp_path: Path) -> None:
    asked = [suite("a"), suite("b")]
    assert missing_suites(tmp_path, asked) == ["a", "b"]
    write_trial(tmp_path, {"seed": 0}, asked)
    played(tmp_path, "a")
    assert missing_suites(tmp_path, asked) == ["b"]
    assert missing_suites(tmp_path, [suite("a", "packs=9"), suite("b")]) == ["a", "b"]


def test_results_of_a_suite_that_is_asked_otherwise_are_moved_aside(tmp_path: Path) -> None:
    write_trial(tmp_path, {"seed": 0}, [suite("a"), suite("b")])
    played(tmp_path, "a")
    played(tmp_path, "b")
    write_trial(tmp_path, {"seed": 0}, [suite("a", "packs=9"), suite("b")])
    assert sorted(path.name for path in (tmp_path / "suites").iterdir()) == ["a.old-1", "b"]
    found = read_trial(tmp_path)
    assert found is not None
    assert found["suites"] == [suite("a", "packs=9"), suite("b")]


def test_a_damaged_trial_file_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text("{")
    with pytest.raises(UsageError, match=r"trial\.json cannot be used: it is not JSON"):
        read_trial(tmp_path)
    write_trial(tmp_path, {}, [])
    assert read_trial(tmp_path) == {"schema": 1, "labels": {}, "suites": []}
