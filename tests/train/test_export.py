"""The final folder: loads by itself with the ordinary libraries, and says what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from codctl.cod.conversation import TemplateChat
from codctl.config.freeze import digest
from codctl.config.schema import Config, LoraConfig
from codctl.config.schema.world import ContextConfig
from codctl.config.suite_file import load_suite
from codctl.envs.registry import families
from codctl.evaluate.subject import PolicyUnderTest, training_defaults
from codctl.evaluate.suites.expansion import expand
from codctl.evaluate.suites.shipped import find_suite
from codctl.files.seal import sealing
from codctl.models.load import add_lora, base_folder, load_model, load_tokenizer
from codctl.runs.directory import RunDirectory
from codctl.tracking.jsonl import MetricsLog
from codctl.train.export import describe
from codctl.train.setup import load_speaker, read_side_file, write_side_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IDS = torch.tensor([[3, 40, 41, 42, 50]])
START = {"success/position_0": 0.41, "success/position_1": 0.43, "hint_correctness/position_1": 0.2}
END = {"success/position_0": 0.5, "success/position_1": 0.88, "hint_correctness/position_1": 0.9}


def new_run(tmp_path: Path, name: str = "mine", **sections: Any) -> tuple[RunDirectory, Config]:
    """A run with two validations."""
    world = {"length": 2, "rendering": "compact"}
    config = Config.model_validate({"name": name, "world": world, "evaluation": {"every_packs": 100}, **sections})
    run = RunDirectory.create_or_continue(tmp_path / "runs", config, recipe="mine.yaml", command=["codctl"])
    log = MetricsLog(run.metrics_path)
    log.append(0, "validation", START)
    log.append(1, "train", {"success/position_0": 0.1})
    log.append(100, "validation", END)
    return run, config


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """Front matter and text."""
    from huggingface_hub import ModelCard

    card = ModelCard.load(folder / "README.md")
    return card.data.to_dict(), card.text


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.fixture
def cached_hub_model(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`org/tiny` as the hub's cache holds it."""
    repo = tmp_path / "hub" / "models--org--tiny"
    folder = repo / "snapshots" / COMMIT
    shutil.copytree(tiny_folder, folder)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


def adapter_on(folder: Path, target: Path) -> Any:
    """An adapter that changes something, saved to `target`."""
    model = add_lora(load_model(folder, "float32", "cpu"), LoraConfig(rank=2), seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.05)
    model.save_pretrained(target, safe_serialization=True)
    return model


def test_a_model_folder_loads_and_says_how_it_was_trained(tmp_path: Path, model: Any, tokenizer: Any) -> None:
    run, config = new_run(tmp_path)
    final = tmp_path / "final"
    model.save_pretrained(final, safe_serialization=True)
    describe(run, config, tokenizer, final)
    speaker = load_speaker(final, "float32", "cpu")
    torch.testing.assert_close(logits(speaker.model), logits(model))
    assert speaker.tokenizer.chat_template == tokenizer.chat_template
    assert read_side_file(final)["world"]["length"] == 2
    assert read_side_file(final)["chat"]["stop_tokens"] == [tokenizer.eos_token]
    data, text = card_of(final)
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-generation"
    assert "base_model" not in data
    assert f"| recipe digest | `{digest(config)}` |" in text
    assert "| worlds | frozen_lake `tiny`; 2 tasks each |" in text
    assert "on 100 held-out packs; the standard error of a share is at most 0.05" in text
    assert "| 0 | success | 0.41 | 0.43 |\n| 100 | success | 0.50 | 0.88 |" in text
    assert "| 100 | knowable facts that the hints state correctly |  | 0.90 |" in text
    assert "codctl eval --suite position-curve --model FOLDER" in text
    assert "[system]\nlake hints none\n" in text  # a real prompt of its worlds
    assert str(tmp_path) not in text


@pytest.mark.parametrize("update", ["rewrite", "delta"])
def test_a_model_is_evaluated_with_the_updates_that_it_has_learned(
    tmp_path: Path, tokenizer: Any, update: Literal["rewrite", "delta"]
) -> None:
    config = Config(context=ContextConfig(update=update))
    write_side_file(config, TemplateChat(tokenizer), tmp_path)
    assert ("update" in read_side_file(tmp_path)) == (update == "delta")
    of_folder = PolicyUnderTest("model", "mine", tmp_path)
    of_run = PolicyUnderTest("run", "mine", tmp_path, config)
    suite = find_suite("position-curve")
    for subject in (of_folder, of_run):
        [spec] = expand(load_suite(suite.path, suite.shown), training_defaults(subject), families())
        assert spec.update == update
        [spec] = expand(load_suite(suite.path, suite.shown, ["update=rewrite"]), training_defaults(subject), families())
        assert spec.update == "rewrite"


def test_where_a_run_lies_and_what_it_is_called_changes_nothing(tmp_path: Path, tokenizer: Any) -> None:
    texts = []
    for name in ("one", "other"):
        run, config = new_run(tmp_path / name, name)
        folder = tmp_path / name / "final"
        folder.mkdir()
        describe(run, config, tokenizer, folder)
        texts.append((folder / "README.md").read_text())
    assert texts[0] == texts[1]


def test_without_validation_the_card_shows_the_training_itself(tmp_path: Path, tokenizer: Any) -> None:
    run, config = new_run(tmp_path)
    run.metrics_path.unlink()
    MetricsLog(run.metrics_path).append(1, "train", START)
    folder = tmp_path / "final"
    folder.mkdir()
    describe(run, config, tokenizer, folder)
    assert "on the training's own 128 rollouts of a step" in card_of(folder)[1]


def test_a_mixture_shows_each_family(tmp_path: Path, tokenizer: Any) -> None:
    run, config = new_run(tmp_path)
    MetricsLog(run.metrics_path).append(200, "validation", {**END, "alchemy/success/position_0": 0.33})
    folder = tmp_path / "final"
    folder.mkdir()
    describe(run, config, tokenizer, folder)
    assert "| 200 | success, alchemy | 0.33 |" in card_of(folder)[1]


def test_of_a_graded_family_the_card_names_the_mean_reward_beside_success(tmp_path: Path, tokenizer: Any) -> None:
    run, config = new_run(tmp_path, world={"family": "grid_navigation", "length": 2, "rendering": "compact"})
    assert "mean reward" not in described(run, config, tokenizer, tmp_path / "a")[1]
    flat = {"success/position_0": 0.0, "success/position_1": 0.01}
    rewards = {"raw_reward/position_0": -0.04, "raw_reward/position_1": 0.71}
    MetricsLog(run.metrics_path).append(200, "validation", {**flat, **rewards})
    text = described(run, config, tokenizer, tmp_path / "b")[1]
    assert "| 200 | success | 0.00 | 0.01 |\n| 200 | mean reward | -0.04 | 0.71 |" in text
    assert "(from 0.00 to 0.01 at step 200). The mean reward goes from -0.04 to 0.71." in text
    assert "no learning on the job" not in text


def test_an_adapter_names_its_base_by_hub_id_and_commit(tmp_path: Path, cached_hub_model: Path) -> None:
    run, config = new_run(tmp_path, model={"path": "org/tiny"}, warm_start={"enabled": False})
    final = tmp_path / "final"
    model = adapter_on(cached_hub_model, final)
    describe(run, config, load_tokenizer(cached_hub_model), final)
    settings = json.loads((final / "adapter_config.json").read_text())
    assert (settings["base_model_name_or_path"], settings["revision"]) == ("org/tiny", COMMIT)
    assert base_folder(final) == cached_hub_model
    torch.testing.assert_close(logits(load_model(final, "float32", "cpu")), logits(model))
    data, text = card_of(final)
    assert (data["base_model"], data["library_name"]) == ("org/tiny", "peft")
    assert "AutoPeftModelForCausalLM" in text
    assert str(tmp_path) not in text + json.dumps(settings)


def test_an_adapter_of_a_warm_started_model_keeps_the_folder_it_belongs_on(
    tmp_path: Path, cached_hub_model: Path, tiny_folder: Path
) -> None:
    run, config = new_run(tmp_path, model={"path": "org/tiny"})
    with sealing(run.stage("warm_start")) as temp:
        shutil.copytree(tiny_folder, temp / "model")
    base = run.stage("warm_start") / "model"
    final = tmp_path / "final"
    adapter_on(base, final)
    describe(run, config, load_tokenizer(base), final)
    assert base_folder(final) == base
    text = card_of(final)[1]
    assert f"SFT on {config.warm_start.packs:,} packs" in text
    assert "whose folder `adapter_config.json` names: keep the two." in text


def described(run: RunDirectory, config: Config, tokenizer: Any, folder: Path) -> tuple[dict[str, Any], str]:
    folder.mkdir(exist_ok=True)
    describe(run, config, tokenizer, folder)
    return card_of(folder)


def test_the_card_says_whether_success_rises_and_how_much_could_be_read(tmp_path: Path, tokenizer: Any) -> None:
    run, config = new_run(tmp_path)
    assert (
        "* Success rises within a pack, from 0.50 to 0.88 at step 100."
        in described(run, config, tokenizer, tmp_path / "a")[1]
    )
    flat = {"success/position_0": 0.0, "success/position_1": 0.0, "failures/format": 1.0, "failures/update": 0.62}
    run.metrics_path.unlink()
    MetricsLog(run.metrics_path).append(1, "train", flat)
    text = described(run, config, tokenizer, tmp_path / "b")[1]
    assert "* Success does not rise measurably within a pack (from 0.00 to 0.00 at step 1)" in text
    assert text.count("| 1 | success |") == 1
    assert "At step 1, 100\xa0% of its solve replies and 62\xa0% of its updates could not be read." in text
    run.metrics_path.unlink()
    assert "* No curve says whether success rises" in described(run, config, tokenizer, tmp_path / "c")[1]


@pytest.mark.parametrize(
    ("card", "licence", "said"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0", "its own card says `apache-2.0`"),
        ("---\nlicense: other\nlicense_name: tongyi\n---\n", "tongyi", "its own card says `tongyi`"),
        ("---\nlicense: [\n---\n", "unknown", "unknown here: look at its own card"),
        ("", "unknown", "unknown here"),
    ],
)
def test_the_card_names_the_licence_of_the_base_model(
    tmp_path: Path, cached_hub_model: Path, card: str, licence: str, said: str
) -> None:
    if card:
        (cached_hub_model / "README.md").write_text(card)
    run, config = new_run(tmp_path, model={"path": "org/tiny"})
    data, text = described(run, config, load_tokenizer(cached_hub_model), tmp_path / "final")
    assert (data["license"], data["base_model_relation"]) == (licence, "finetune")
    assert f"licence of the model that it started from ({said}" in text
