"""Where a training starts: a folder, a hub id, random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codctl.config.schema import Config
from codctl.errors import PreflightError, RefusedError, UsageError
from codctl.evaluate.subject import subject_of_run
from codctl.files.seal import is_sealed
from codctl.models import hub
from codctl.models.start import build_model, start_folder
from codctl.runs.directory import RunDirectory
from codctl.train.preflight import check_recipe, preflight
from tests.models.fake_hub import COMMIT, MODEL, serving, use_own_cache

UNTRAINED = {"warm_start": {"enabled": False}, "train": {"enabled": False}}


def _other_stop(text: str) -> str:
    return json.dumps({**json.loads(text or "{}"), "eos_token_id": [2, 7]})


CHANGES = {
    "chat_template.jinja": lambda text: text.replace("{%", "{#- changed -#}{%", 1),
    "tokenizer.json": lambda text: text.replace('"normalizer": null', '"normalizer": {"type": "NFC"}'),
    "generation_config.json": _other_stop,
}


class Told:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def update(self, phase: str, *_: object) -> None:
        self.messages.append(phase)

    def message(self, text: str) -> None:
        self.messages.append(text)


def run_of(tmp_path: Path, **model: object) -> tuple[RunDirectory, Config]:
    config = Config.model_validate({"name": "r", "model": model, **UNTRAINED})
    return RunDirectory.create_or_continue(tmp_path / "runs", config, recipe="r", command=["codctl"]), config


def test_a_hub_model_is_fetched_when_the_run_starts(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_cache(tmp_path / "cache", monkeypatch)
    run, config = run_of(tmp_path, path=MODEL, revision=COMMIT, device="cpu")
    check_recipe(config)  # a dry run asks nobody
    with serving(tiny_folder) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        preflight(config)
        assert hub.find(MODEL, COMMIT) is None
        told = Told()
        folder = build_model(run, config, told)
        assert told.messages == [
            f"fetching {MODEL} ({COMMIT}) from the hub",
            f"the model is {MODEL} at commit {COMMIT}",
        ]
    again = Told()
    assert build_model(run, config, again) == folder == start_folder(run, config)  # the hub is gone by now
    assert again.messages == told.messages[1:]
    assert subject_of_run(run).folder == folder


def test_a_hub_that_cannot_be_reached_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_cache(tmp_path / "cache", monkeypatch)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    config = Config.model_validate({"model": {"path": MODEL, "device": "cpu"}, **UNTRAINED})
    with pytest.raises(PreflightError, match=r"no folder lab/tiny.*ConnectError") as caught:
        preflight(config)
    assert caught.value.hint == "hf download lab/tiny"


def test_a_model_of_the_hub_is_checked_once_it_is_here(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_cache(tmp_path / "cache", monkeypatch)
    shutil.copytree(tiny_folder, tmp_path / "upload")
    (tmp_path / "upload" / "chat_template.jinja").write_text("{{ messages | length }}")
    run, config = run_of(tmp_path, path=MODEL, revision=COMMIT)
    with serving(tmp_path / "upload") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        with pytest.raises(PreflightError, match="the chat template"):
            build_model(run, config, Told())


def test_random_weights_are_built_once_and_sealed(tiny_folder: Path, tmp_path: Path) -> None:
    run, config = run_of(tmp_path, path=str(tiny_folder), init="random")
    preflight(config)
    told = Told()
    folder = build_model(run, config, told)
    assert told.messages == [f"building {tiny_folder} with random weights"]
    assert is_sealed(folder, verify=True)
    assert folder == run.stage("model") == start_folder(run, config) == subject_of_run(run).folder
    written = (folder / "model.safetensors").stat().st_mtime_ns
    build_model(run, config, told)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert len(told.messages) == 1
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("model.revision=v1", "revision needs a hub id in model.path, which is null"),
        ("model.init=random", "init=random needs an architecture in model.path, which is null"),
    ],
)
def test_keys_that_need_a_path(model: str, message: str) -> None:
    from codctl.config.compose import load_config

    with pytest.raises(UsageError) as caught:
        load_config("tiny", [model])
    assert [message in problem.message for problem in caught.value.problems] == [True]


@pytest.mark.parametrize("changed", ["chat_template.jinja", "tokenizer.json", "generation_config.json"])
def test_a_run_does_not_go_on_with_another_way_to_write_conversations(
    tiny_folder: Path, tmp_path: Path, changed: str
) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_folder, folder)
    run, config = run_of(tmp_path, path=str(folder), device="cpu")
    build_model(run, config, Told())
    before = (folder / changed).read_text() if (folder / changed).is_file() else None
    (folder / changed).write_text(CHANGES[changed](before or ""))
    with pytest.raises(RefusedError, match="chat template, tokenizer or stop tokens have changed") as error:
        build_model(run, config, Told())
    assert "--name OTHER" in error.value.hint
    if before is not None:
        (folder / changed).write_text(before)
        assert build_model(run, config, Told()) == folder
