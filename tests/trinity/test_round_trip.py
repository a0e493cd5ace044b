"""What is written for Trinity-RFT is read back equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from codctl.config.schema import Config, WorldConfig, WorldRef
from codctl.envs.registry import get_family
from codctl.errors import UsageError
from codctl.trinity import written
from codctl.trinity.configuration import read_configuration
from codctl.trinity.data import first_difference, read_data
from codctl.trinity.logs import FILE, read_logs
from codctl.trinity.packs import default_preset, draw_pack
from codctl.trinity.recipe import translate
from codctl.trinity.suite import translate_bench
from codctl.trinity.worlds import KINDS

LAKE = Path(__file__).parent / "lake.yaml"
NAMES = {"project": "p", "group": "g", "name": "n"}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRINITY_MODEL_PATH", "Qwen/Qwen3-8B")
    monkeypatch.setenv("STABLE", "true")


def saved(tmp_path: Path, values: dict[str, Any]) -> Path:
    path = tmp_path / "written.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def recipe() -> Config:
    return Config.model_validate(translate(read_configuration(LAKE)).values)


def test_a_recipe_is_written_and_read_back_equal(tmp_path: Path) -> None:
    config = recipe()
    read = Config.model_validate(translate(read_configuration(saved(tmp_path, written.training(config, NAMES)))).values)
    same = {"name": config.name, "description": config.description}
    same |= {"tracking": config.tracking}  # the name of the project
    assert read.model_copy(update=same) == config


def test_a_bench_is_written_and_read_back(tmp_path: Path) -> None:
    config = recipe()
    made = translate_bench(read_configuration(saved(tmp_path, written.bench(config, NAMES)))).values
    (entry,) = made["evaluations"]
    (world,) = entry["worlds"]
    assert world == {"family": "frozen_lake", "preset": "easy", "variant": "trinity"}
    assert (entry["length"], entry["packs"], entry["temperature"]) == (8, 500, 1.0)


@pytest.mark.parametrize(
    ("family", "preset"),
    [
        ("frozen_lake", "easy"),
        ("frozen_lake", "hard"),
        ("alchemy", "easy"),
        ("grid_navigation", "hard"),
        ("optimal_control", "hard"),
        ("pde_discovery", "hard"),
    ],
)
def test_rows_are_written_read_and_drawn_as_the_variant_draws(family: str, preset: str, tmp_path: Path) -> None:
    part = WorldRef(family=family, preset=preset, variant="trinity")
    train, test = written.write_data(part, tmp_path)
    data = read_data(test.parent, "test")
    assert (data.family, len(data.rows), default_preset(data)) == (family, 4_000, preset)
    assert first_difference(data, preset) is None
    for split, index, length in (("test", 0, 8), ("test", 77, 8), ("train", 3, 4)):
        read = draw_pack(read_data(train.parent, split), index, length, preset)
        own = get_family(family).pack(split, index, length, preset, "trinity")
        assert (read.world, read.tasks, read.id) == (own.world, own.tasks, own.id)


def test_rows_that_are_not_the_published_ones_are_told(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = written.rows_of(WorldRef(family="frozen_lake", preset="easy"), "test")
    assert rows
    rows[5]["seed"] += 1
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    assert first_difference(read_data(tmp_path, "test"), "easy") == 5
    parquet.write_table(pa.Table.from_pylist(rows[:3]), tmp_path / "test.parquet")
    assert first_difference(read_data(tmp_path, "test"), "easy") == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train.parquet", "no table", "no Parquet file that can be read"),
        ("train.jsonl", '{"cid": 1}\n[1]\n', "expected a JSON object"),
        ("train.jsonl", "\n", "it has no rows"),
        ("test.jsonl", "{}", "there is no train.parquet"),
    ],
)
def test_files_that_are_no_data_are_refused(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=said):
        read_data(tmp_path, "train")


def test_json_lines_are_read(tmp_path: Path) -> None:
    row = {"cid": "1", "session_id": "s", "diagn": "d", "messages": [], "decision_truth": "stop", "info_truth": ""}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    data = read_data(tmp_path, "train")
    assert (data.family, len(data.rows), first_difference(data)) == ("learn2ask", 2, -1)
    with pytest.raises(UsageError, match="stand for no world"):
        draw_pack(data, 0, 2, "")


def log(folder: Path, name: str, rewards: list[tuple[str, float]], hints: list[str]) -> None:
    steps = [
        {"step_key": f"sub_0_run_0_step_{i}", "reward": reward, "exp_type": kind, "hint_idx": min(i, len(hints) - 1)}
        for i, (kind, reward) in enumerate(rewards)
    ]
    place = folder / name
    place.mkdir(parents=True)
    (place / FILE).write_text(json.dumps({"subtid_0": {"hints": hints, "steps": steps}, "subtid_1": {"steps": []}}))


def test_logs_give_rewards_by_position(tmp_path: Path) -> None:
    solve, update = "solve_task", "gen_hint"
    log(
        tmp_path,
        "eval_lake_step_1_task_0_runidbase_0",
        [(solve, 0.0), (solve, 0.0), (update, 0.0), (solve, 0.9)],
        ["abc"],
    )
    log(tmp_path, "eval_lake_step_1_task_1_runidbase_0", [(solve, 1.0), (update, -0.1), (solve, 0.5)], ["abcd"])
    log(tmp_path, "rollout_step_201_task_1_runidbase_0", [(solve, 0.25)], ["x"])
    lake, rollout = (step.as_dict() for step in read_logs(tmp_path))
    assert (lake["of"], lake["step"], lake["packs"]) == ("lake", 1, 2)
    assert lake["reward"] == pytest.approx([0.5, 0.7])
    assert lake["standard_error"] == pytest.approx([0.5, 0.2])
    assert lake["turns"] == [1.5, 1.0]
    assert (lake["malformed_updates"], lake["hint_chars"]) == (0.5, 3.5)
    assert (rollout["of"], rollout["step"], rollout["reward"]) == ("rollout", 201, [0.25])


@pytest.mark.parametrize("content", ["", "[]", '{"subtid_0": {"steps": [{"reward": 1}]}}', '{"a": {"steps": [1]}}'])
def test_damaged_logs_are_refused_by_name(tmp_path: Path, content: str) -> None:
    place = tmp_path / "rollout_step_1_task_1_runidbase_0"
    place.mkdir()
    (place / FILE).write_text(content)
    with pytest.raises(UsageError) as caught:
        read_logs(tmp_path)
    assert caught.value.where.endswith(FILE)


def test_no_logs_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        read_logs(tmp_path)


@pytest.mark.parametrize(
    ("family", "preset"), [(kind.family, preset) for kind in KINDS.values() for preset in kind.presets]
)
def test_every_world_with_a_workflow_is_written_and_read_back(family: str, preset: str, tmp_path: Path) -> None:
    variant = "paper" if family == "terminal" else "trinity"
    part = {"family": family, "preset": preset, "variant": variant, "length": 4}
    config = recipe().model_copy(update={"world": WorldConfig.model_validate(part)})
    values = written.bench(config, NAMES)
    values["cod"]["cod_workflow_args"]["stable_pack_seed"] = True
    if family == "optimal_control":  # its difficulty is that of its rows
        written.write_data(config.world.parts[0], tmp_path)
        values["buffer"]["explorer_input"]["eval_tasksets"][0]["path"] = str(tmp_path / "optimal_control")
    (entry,) = translate_bench(read_configuration(saved(tmp_path, values))).values["evaluations"]
    assert entry["worlds"] == [{"family": family, "preset": preset, "variant": variant}]
