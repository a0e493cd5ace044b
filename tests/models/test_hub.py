"""Models by hub id: fetched once at their revision, then found without any network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from codctl.errors import PreflightError
from codctl.models import hub
from codctl.models.load import base_folder, check_folder, load_model
from tests.models.fake_hub import COMMIT, GATED, MODEL, FakeHub, serving, use_own_cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    use_own_cache(folder, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def served(tiny_folder: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    shutil.copytree(tiny_folder, tmp_path / "upload")
    for name in ("pytorch_model.bin", "modeling_tiny.py", "consolidated.safetensors"):
        (tmp_path / "upload" / name).write_text("never")
    with serving(tmp_path / "upload") as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def no_report(done: int, total: int) -> None:
    assert done >= 0
    assert total >= 1


@pytest.mark.parametrize(
    ("path", "is_id"),
    [
        ("Qwen/Qwen3-8B", True),
        ("lab/model_v1.5", True),
        ("./lab/model", False),
        ("~/model", False),
        ("/lab/model", False),
        ("model", False),
        ("a/b/c", False),
        ("../model", False),
    ],
)
def test_what_looks_like_a_hub_id(cache: Path, path: str, is_id: bool) -> None:
    assert hub.is_hub_id(path) == is_id


def test_a_folder_of_that_name_wins(cache: Path) -> None:
    Path(MODEL).mkdir(parents=True)
    assert not hub.is_hub_id(MODEL)
    assert hub.find(MODEL, COMMIT) == Path(MODEL)


def test_a_model_is_fetched_once_without_pickles_and_code(served: FakeHub, cache: Path, tiny_folder: Path) -> None:
    assert hub.find(MODEL, COMMIT) is None
    hub.check_reachable(MODEL, COMMIT)
    assert hub.find(MODEL, COMMIT) is None  # asking fetches nothing
    folder = hub.fetch(MODEL, COMMIT, no_report)
    assert folder == hub.find(MODEL, COMMIT)
    assert folder.name == COMMIT
    assert folder.is_relative_to(cache)
    kept = {path.name for path in folder.iterdir()}
    assert kept == {path.name for path in tiny_folder.iterdir()}
    assert served.fetched() == kept
    check_folder(folder)
    asked = len(served.asked)
    hub.check_reachable(MODEL, COMMIT)
    assert hub.located(MODEL, COMMIT) == folder
    assert len(served.asked) == asked


def test_without_a_revision_it_is_the_newest_when_it_is_fetched(served: FakeHub) -> None:
    folder = hub.fetch(MODEL, None, no_report)
    assert folder.name == COMMIT
    assert hub.find(MODEL) == hub.find(MODEL, COMMIT) == folder


def test_half_a_model_is_no_model(served: FakeHub) -> None:
    folder = hub.fetch(MODEL, COMMIT, no_report)
    (folder / "model.safetensors").unlink()
    assert hub.find(MODEL, COMMIT) is None
    assert hub.find(MODEL, COMMIT, weights=False) == folder
    assert hub.fetch(MODEL, COMMIT, no_report) == folder
    assert (folder / "model.safetensors").is_file()


def test_whoever_watches_can_end_a_download(served: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_LOOK_S", 0.01)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.fetch(MODEL, COMMIT, stop)


def test_a_download_that_stalls_is_given_up(served: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_LOOK_S", 0.01)
    monkeypatch.setattr(hub, "_STALLED_S", 0.0)
    with pytest.raises(PreflightError, match="nothing has come for 0 minutes"):
        hub.fetch(MODEL, COMMIT, no_report)


def test_an_adapter_names_its_base_by_hub_id_and_revision(served: FakeHub, tmp_path: Path) -> None:
    folder = hub.fetch(MODEL, COMMIT, no_report)
    settings = {"base_model_name_or_path": MODEL, "revision": COMMIT}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    assert base_folder(tmp_path) == folder
    (tmp_path / "adapter_config.json").write_text(json.dumps({**settings, "revision": "other"}))
    with pytest.raises(PreflightError, match="base model lab/tiny is not in the cache"):
        base_folder(tmp_path)


@pytest.mark.usefixtures("cache")
def test_an_unreachable_hub_is_one_message_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(PreflightError) as caught:
        hub.check_reachable(MODEL, COMMIT)
    assert caught.value.message.startswith(
        "there is no folder lab/tiny, and the cache of hub models does not hold it; the hub: ConnectError"
    )
    assert caught.value.where == "model.path"
    assert caught.value.hint.endswith(f"hf download lab/tiny --revision {COMMIT}")


@pytest.mark.usefixtures("cache")
def test_who_wishes_to_stay_offline_is_not_taken_online(served: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_is_offline_wished", lambda: True)
    with pytest.raises(PreflightError, match="HF_HUB_OFFLINE=1 forbids asking the hub"):
        hub.check_reachable(MODEL, COMMIT)
    assert served.asked == []


@pytest.mark.parametrize(
    ("path", "revision", "reason"),
    [(GATED, None, "GatedRepoError"), ("lab/none", None, "RepositoryNotFound"), (MODEL, "v9", "RevisionNotFound")],
)
def test_what_the_hub_refuses_is_said_in_its_words(
    served: FakeHub, path: str, revision: str | None, reason: str
) -> None:
    with pytest.raises(PreflightError, match=f"the hub: {reason}"):
        hub.check_reachable(path, revision)


def test_a_hub_that_does_not_answer_is_given_up(served: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_ANSWER_S", 0.05)
    with pytest.raises(PreflightError, match="the hub did not answer in 0 s"):
        hub.check_reachable(MODEL, COMMIT)


def test_a_fetched_model_loads(served: FakeHub) -> None:
    model = load_model(hub.fetch(MODEL, COMMIT, no_report), "float32", "cpu")
    assert model.config.model_type == "qwen3"


def test_a_shard_that_is_missing_is_named(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(PreflightError, match=r"has no model-00002-of-00002\.safetensors"):
        check_folder(folder)
