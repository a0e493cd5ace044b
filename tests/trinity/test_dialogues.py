"""A configuration of Learn2Ask in, a recipe that plays the user's own dialogues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from codctl.config.compose import load_config
from codctl.config.suite_file import load_suite
from codctl.envs.registry import check_world
from codctl.errors import UsageError
from codctl.trinity.configuration import read_configuration
from codctl.trinity.recipe import Translation, translate
from codctl.trinity.suite import translate_bench
from codctl.trinity.text import as_yaml
from tests.envs.learn2ask.dialogues import write

LAKE = Path(__file__).parent / "lake.yaml"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRINITY_MODEL_PATH", "Qwen/Qwen3-8B")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        write(tmp_path / f"{split}.jsonl")  # 120 rows each
    return tmp_path


def taskset(data: Path, **args: Any) -> dict[str, Any]:
    return {
        "name": "ask",
        "path": str(data),
        "split": "train",
        "format": {"prompt_key": "messages"},
        "workflow_args": {"context_compression_mode": "keep_all", **args},
        "rollout_args": {"temperature": 1.0},
        "default_workflow_type": "cod_learn2ask_workflow",
    }


def configuration(tmp_path: Path, *tasksets: dict[str, Any], judges: int = 1, **top: Any) -> Path:
    """The published training of FrozenLake with other task sets and a judge."""
    values = yaml.safe_load(LAKE.read_text()) | top
    values["cod"]["cod_workflow_args"].pop("inject_pack_seed")
    sets = "eval_tasksets" if top else "tasksets"
    values["buffer"]["explorer_input"] = {sets: list(tasksets)}
    values["explorer"]["auxiliary_models"] = [{"model_path": "Qwen/Qwen2.5-32B-Instruct"}] * judges
    path = tmp_path / "ask.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def imported(path: Path) -> Translation:
    return translate(read_configuration(path))


def test_the_recipe_plays_the_file_with_the_judge(data: Path) -> None:
    translation = imported(configuration(data, taskset(data, train_mode="Ra+Rs")))
    path = data / "recipe.yaml"
    path.write_text(as_yaml(translation, "ask.yaml"))
    config = load_config(str(path))
    (part,) = config.world.parts
    family = check_world(part.family, part.preset, part.variant, "full", part.options)
    assert [task.row.session for task in family.pack("train", 0, 4, part.preset, part.variant).tasks]
    assert part.options["judge"] == {
        "kind": "endpoint", "url": "http://localhost:8000/v1", "model": "Qwen/Qwen2.5-32B-Instruct",
    }  # fmt: skip
    assert config.train.steps == 120 // 32
    found = {fate.key: fate.text for fate in translation.fates}
    assert "judge.url" in found["explorer.auxiliary_models.0.model_path"]
    assert found["buffer.explorer_input.tasksets.0.path"].startswith("world.options.data")
    assert not [key for key, text in found.items() if "does not know" in text]


@pytest.mark.parametrize(
    ("args", "fusion"),
    [
        ({}, "Ra+Rs"),
        ({"fusion_mode": "sum"}, "sum"),
        ({"train_mode": "Ra", "fusion_mode": "sum"}, "Ra"),
        ({"train_mode": "Rs"}, "Rs"),
    ],
)
def test_both_modes_make_the_fusion(data: Path, args: dict[str, str], fusion: str) -> None:
    assert imported(configuration(data, taskset(data, **args))).values["world"]["options"]["fusion"] == fusion


def test_beside_other_worlds(data: Path) -> None:
    lake = yaml.safe_load(LAKE.read_text())["buffer"]["explorer_input"]["tasksets"][0]
    path = configuration(data, taskset(data), lake)
    path.write_text(path.read_text().replace("stable_pack_seed:", "inject_pack_seed: true\n    stable_pack_seed:"))
    ask, other = imported(path).values["world"]["mixture"]
    assert (ask["variant"], ask["options"]["fusion"], ask["weight"]) == ("paper", "Ra+Rs", 120 / 50_000)
    assert other == {"family": "frozen_lake", "preset": "easy", "variant": "paper"}


def test_a_bench_is_a_suite_of_the_test_file(data: Path) -> None:
    path = configuration(data, taskset(data) | {"split": "test"}, mode="bench")
    translation = translate_bench(read_configuration(path))
    (entry,) = translation.values["evaluations"]
    assert (entry["packs"], entry["worlds"][0]["options"]["data"]) == (120 // 8, str(data / "test.jsonl"))
    suite = data / "suite.yaml"
    suite.write_text(as_yaml(translation, "ask.yaml"))
    (world,) = load_suite(suite, "suite.yaml").entries[0].worlds
    assert world.options["fusion"] == "Ra+Rs"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "judges", "said"),
    [
        ({"path": "nowhere"}, 1, "there is no train.jsonl"),
        ({"workflow_args": {"train_mode": "Rx"}}, 1, "expected one of Ra+Rs, Ra, Rs, got 'Rx'"),
        ({"workflow_args": {"fusion": "sum"}}, 1, 'did you mean "fusion_mode"?'),
        ({}, 0, "expected one model: the judge"),
        ({}, 2, "expected one model: the judge"),
    ],
)
def test_what_cannot_be_is_refused(data: Path, change: dict[str, Any], judges: int, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        imported(configuration(data, taskset(data) | change, judges=judges))
    assert said in " | ".join([caught.value.message, *(problem.message for problem in caught.value.problems)])


def test_rows_of_other_worlds_are_no_dialogues(data: Path) -> None:
    (data / "train.jsonl").write_text('{"seed": 1, "size": 4, "p": 0.8}\n')
    with pytest.raises(UsageError, match="are no dialogues"):
        imported(configuration(data, taskset(data)))
