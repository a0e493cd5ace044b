"""A configuration of Trinity-RFT in, a recipe that is planned out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codctl.config.compose import load_config
from codctl.errors import UsageError
from codctl.plan.plan import make_plan
from codctl.trinity.configuration import read_configuration
from codctl.trinity.fates import Fate
from codctl.trinity.recipe import Translation, translate
from codctl.trinity.suite import translate_bench
from codctl.trinity.text import as_yaml

LAKE = Path(__file__).parent / "lake.yaml"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EXP_NAME", "STABLE", "TRINITY_CHECKPOINT_ROOT_DIR", "TRINITY_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRINITY_MODEL_PATH", "Qwen/Qwen3-8B")


def changed(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text = LAKE.read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "changed.yaml"
    path.write_text(text)
    return path


def imported(path: Path = LAKE) -> Translation:
    return translate(read_configuration(path))


def refused(tmp_path: Path, *changes: tuple[str, str]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        imported(changed(tmp_path, *changes))
    assert caught.value.exit_code == 2
    return caught.value


def fates(translation: Translation) -> dict[str, Fate]:
    return {fate.key: fate for fate in translation.fates}


def test_the_recipe_says_what_the_shipped_one_of_the_same_training_says(tmp_path: Path) -> None:
    path = tmp_path / "lake.yaml"
    path.write_text(as_yaml(imported(), "lake.yaml"))
    config, shipped = load_config(str(path)), load_config("qwen3-8b")
    assert config.world == shipped.world
    assert config.context == shipped.context
    ours: dict[str, Any] = {
        "checkpoint_every",
        "reward",
    }  # published every 100 steps; the family's own price is the same
    left = config.train.model_dump(exclude=ours)
    assert left == shipped.train.model_dump(exclude=ours)
    assert config.sampling == shipped.sampling
    assert (config.engine.max_tokens, config.engine.sync_every, config.engine.max_staleness) == (12_000, 4, 20)
    assert (config.cluster.nodes, config.cluster.gpus_per_node, config.evaluation.long_length) == (3, 8, 8)
    plan = make_plan(config)
    assert plan.full_devices == []
    assert plan.gpus == 24


def test_every_key_has_a_fate() -> None:
    leaves = read_configuration(LAKE).leaves()
    translation = imported()
    assert [fate.key for fate in translation.fates] == list(leaves)
    found = fates(translation)
    assert {fate.outcome for fate in translation.fates} == {"used", "no counterpart", "cluster only"}
    assert all(fate.text for fate in translation.fates)
    assert not [key for key, fate in found.items() if "does not know" in fate.text]
    assert found["algorithm.optimizer.lr"].text == "train.lr"
    assert found["synchronizer.sync_method"].outcome == "cluster only"
    assert found["buffer.train_batch_size"].outcome == "no counterpart"


def test_stable_seeds_ask_for_the_published_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert imported().values["world"]["variant"] == "paper"
    monkeypatch.setenv("STABLE", "true")
    assert imported().values["world"]["variant"] == "trinity"


def test_names_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXP_NAME", "my run")
    translation = imported()
    assert translation.values["name"] == "my-run"
    assert fates(translation)["cod.cod_workflow_args.exp_name"].value == "trinity-cod-final-frozen_lake_obscure-my run"


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRINITY_MODEL_PATH")
    with pytest.raises(UsageError) as caught:
        imported()
    (problem,) = caught.value.problems
    assert "TRINITY_MODEL_PATH" in problem.message
    assert problem.hint.startswith("export TRINITY_MODEL_PATH")
    assert problem.where.endswith(f":{LAKE.read_text().split('model_path')[0].count(chr(10)) + 1}")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("hint_penalty_coef: 0.1", "hint_penalty_coeff: 0.1", 'did you mean "hint_penalty_coef"?'),
        ("  task_pack_size: 4", "  task_pack_sizes: 4", "this key is not known"),
        ("mapping_mode:", "maping_mode:", 'did you mean "mapping_mode"?'),
        ('"per_pack"', '"global"', "frozen_lake has 'per_pack' here, not 'global'"),
        ("agent_max_steps: 8", "agent_max_steps: 9", "no preset of frozen_lake has 9 together with the other values"),
        ("cod_frozenlake_obscure_workflow", "cod_chess_workflow", "there is no world for the workflow"),
        ("lr: 1e-6", "lr: fast", "expected a number, got 'fast'"),
        ("mode: both", "mode: serve", "expected both or bench, got 'serve'"),
        ("multi_step_grpo", "dpo", "there is no counterpart of 'dpo'"),
        ("inject_pack_seed: true", "inject_pack_seed: false", "share nothing"),
        ("repeat_times: 8", "repeat_times: 0", "train.rollouts: expected a whole number from 1 to 1,024, got 0"),
        ("project: \"trinity-cod-final\"", "project: ${oc.create:1}", "is not resolved here"),
        ("project: \"trinity-cod-final\"", "project: ${oc.env:WANDB_API_KEY}", "the name is that of a secret"),
        ("  task_pack_size: 4", "  task_pack_size: 4\n  task_pack_size: 4", "uplicate"),
        ("    tasksets:", "    tasksets: []\n    other:", "expected a list of task sets"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    error = refused(tmp_path, (old, new))
    text = " | ".join(f"{problem.message} {problem.where}" for problem in error.problems) + error.message
    assert said in text, text
    assert "changed.yaml" in text


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    changes = [("hint_penalty_coef", "hint_penalty_coeff"), ("lr: 1e-6", "lr: fast")]
    assert len(refused(tmp_path, *changes).problems) == 2


def test_an_unknown_key_elsewhere_is_told_and_not_refused(tmp_path: Path) -> None:
    translation = imported(changed(tmp_path, ("sync_interval: 4", "sync_interval: 4\n  new_thing: 1")))
    assert fates(translation)["synchronizer.new_thing"].outcome == "cluster only"
    translation = imported(changed(tmp_path, ("mode: both", "mode: both\nnew_thing: 1")))
    fate = fates(translation)["new_thing"]
    assert (fate.outcome, fate.text) == ("no counterpart", "codctl does not know this key")


def test_data_that_are_there_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from codctl.config.schema import WorldRef
    from codctl.trinity.written import write_data

    monkeypatch.setenv("STABLE", "true")
    path = changed(tmp_path, ("data/frozen_lake_4567", str(tmp_path / "frozen_lake_easy")))
    key = "buffer.explorer_input.tasksets.0.path"
    assert "not here" in fates(imported(path))[key].text
    write_data(WorldRef(family="frozen_lake", preset="easy"), tmp_path)
    assert fates(imported(path))[key].text.startswith("the 50,000 published rows")
    (tmp_path / "frozen_lake_easy" / "train.parquet").write_bytes(b"damaged")
    with pytest.raises(UsageError) as caught:
        imported(path)
    assert "no Parquet file" in caught.value.problems[0].message


def test_steps_are_those_that_are_said_else_those_of_the_rows(tmp_path: Path) -> None:
    assert imported().values["train"]["steps"] == 50_000 // 32
    capped = imported(changed(tmp_path, ("total_epochs: 1", "total_epochs: 1\n  total_steps: 600")))
    assert capped.values["train"]["steps"] == 600
    twice = imported(changed(tmp_path, ("total_epochs: 1", "total_epochs: 2")))
    assert twice.values["train"]["steps"] == 100_000 // 32


def test_a_price_of_turns_that_is_not_the_familys(tmp_path: Path) -> None:
    assert "reward" not in imported().values["train"]
    dear = imported(changed(tmp_path, ("length_penalty_coef: 0.1", "length_penalty_coef: 0.3")))
    assert dear.values["train"]["reward"] == {"turn_penalty": 0.3}


def test_a_distillation_has_a_teacher_for_each_task_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRID_TEACHER", "grid-run@100")
    translation = imported(LAKE.with_name("opd.yaml"))
    values = translation.values
    teachers = [(*teacher["families"], teacher["model"]) for teacher in values["distill"]["teachers"]]
    assert teachers == [
        ("pde_discovery", "pde-run"), ("optimal_control", "control-run"), ("grid_navigation", "grid-run@100"),
    ]  # fmt: skip
    train = values["train"]
    assert (train["steps"], train["packs"], train["rollouts"], train["loss"]["red"]) == (200, 64, 1, False)
    assert {world["variant"] for world in values["world"]["mixture"]} == {"trinity"}
    assert "no counterpart" not in fates(translation)["algorithm.policy_loss_fn_args.fix_opd_advantage"].outcome


def test_a_distillation_lacks_a_teacher(tmp_path: Path) -> None:
    text = LAKE.with_name("opd.yaml").read_text()
    path = tmp_path / "opd.yaml"
    path.write_text(text.replace("    - name: grid_navigation_step100_teacher", "  other:\n    - name: grid"))
    with pytest.raises(UsageError, match=r"one teacher for each task set"):
        imported(path)


def test_a_bench_becomes_a_suite(tmp_path: Path) -> None:
    from codctl.config.suite_file import load_suite

    path = changed(
        tmp_path,
        ("mode: both", "mode: bench"),
        ("    tasksets:", "    eval_tasksets:"),
        ("split: train", "split: test"),
    )
    translation = translate_bench(read_configuration(path))
    (entry,) = translation.values["evaluations"]
    assert (entry["length"], entry["packs"], entry["seeds"], entry["solve_tokens"]) == (8, 500, [42], 2000)
    suite = tmp_path / "suite.yaml"
    suite.write_text(as_yaml(translation, "changed.yaml"))
    spec = load_suite(suite, "suite.yaml")
    assert spec.entries[0].worlds[0].family == "frozen_lake"  # type: ignore[union-attr]
