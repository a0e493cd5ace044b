"""codctl push against a hub on loopback: what is uploaded, what never is, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from codctl.cli.main import run
from codctl.models import hub
from codctl.neighbours import push
from tests.cli.conftest import Outcome

from .upload_hub import TOKEN, UploadHub, taking


@pytest.fixture
def upload_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    monkeypatch.setattr(hub, "_is_offline_wished", lambda: False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    with taking() as server:
        yield server


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with things beside the model."""
    folder = tmp_path / "model"
    (folder / "optimizer").mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json", "codctl.json"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "train.log").write_text("log")
    (folder / "LICENSE").symlink_to("/etc/hostname")
    return folder


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]):
    def call(*words: str) -> Outcome:
        code = run(words)
        said = capsys.readouterr()
        return Outcome(code, said.out, said.err)

    return call


def test_a_model_is_uploaded_as_one_commit(model: Path, upload_hub: UploadHub, typed) -> None:
    found = typed("push", str(model), "me/tiny", "--private", "--endpoint-url", upload_hub.url, "--json")
    assert found.code == 0, found.err
    assert upload_hub.repos == {"me/tiny": True}
    assert set(upload_hub.files["me/tiny"]) == {
        "README.md", "codctl.json", "config.json", "model.safetensors", "tokenizer_config.json",
    }  # fmt: skip
    assert upload_hub.files["me/tiny"]["model.safetensors"] == b"weights"
    result = found.json["result"]
    assert result["left_out"] == ["LICENSE", "optimizer/", "pytorch_model.bin", "train.log"]
    assert result["pushed"]["new"] is True
    assert upload_hub.messages == ["Upload model with codctl"]
    assert f"Bearer {TOKEN}" in upload_hub.headers
    assert TOKEN not in found.out + found.err
    again = typed("push", str(model), "me/tiny", "--endpoint-url", upload_hub.url, "--json")
    assert again.json["result"]["pushed"]["new"] is False


def test_the_files_are_listed_and_a_dry_run_contacts_nobody(model: Path, upload_hub: UploadHub, typed) -> None:
    found = typed("push", str(model), "me/tiny", "--dry-run", "--endpoint-url", upload_hub.url)
    assert found.code == 0
    assert "model.safetensors" in found.err
    assert "not uploaded: LICENSE, optimizer/, pytorch_model.bin, train.log" in found.err
    assert found.out == "nothing was uploaded (--dry-run)\n"
    assert not upload_hub.headers


def test_a_private_model_is_not_put_into_a_public_repository(model: Path, upload_hub: UploadHub, typed) -> None:
    upload_hub.repos["me/tiny"] = False
    found = typed("push", str(model), "me/tiny", "--private", "--endpoint-url", upload_hub.url)
    assert found.code == 7
    assert "the repository exists and is public" in found.err
    assert not upload_hub.files


def test_a_refusal_of_the_hub_is_told_without_the_token(model: Path, upload_hub: UploadHub, typed) -> None:
    upload_hub.refuses = "you may not"
    found = typed("push", str(model), "me/tiny", "--endpoint-url", upload_hub.url)
    assert found.code == 7
    assert "hf auth login" in found.err
    assert TOKEN not in found.out + found.err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("README.md", "trained in /home/jane/runs", "README.md seems to hold a person's home folder"),
        ("codctl.json", '{"api_key": "abcdefgh"}', "codctl.json seems to hold a key or password"),
    ],
)
def test_private_details_are_not_uploaded(model: Path, typed, name: str, content: str, said: str) -> None:
    (model / name).write_text(content)
    found = typed("push", str(model), "me/tiny", "--dry-run")
    assert (found.code, said in found.err) == (6, True)


def test_an_adapter_names_its_base_as_the_hub_does(model: Path, upload_hub: UploadHub, typed) -> None:
    for name in ("config.json", "model.safetensors"):
        (model / name).unlink()
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "/data/base", "r": 8}')
    (model / "adapter_model.safetensors").write_bytes(b"adapter")
    line = ("push", str(model), "me/lora", "--endpoint-url", upload_hub.url)
    found = typed(*line)
    assert (found.code, "--base OWNER/NAME" in found.err) == (6, True)
    assert typed(*line, "--base", "Qwen/Qwen3-0.6B").code == 0
    sent = json.loads(upload_hub.files["me/lora"]["adapter_config.json"])
    assert sent == {"base_model_name_or_path": "Qwen/Qwen3-0.6B", "r": 8}
    assert json.loads((model / "adapter_config.json").read_text())["base_model_name_or_path"] == "/data/base"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("{model}", "tiny"), 2, "expected OWNER/NAME"),
        (("{model}", "me/tiny", "--endpoint-url", "http://example.org"), 2, "your token is sent there"),
        (("{model}", "me/tiny", "--endpoint-url", "https://a:b@example.org"), 2, "without a password"),
        (("{model}", "me/tiny", "--base", "a/b"), 2, "only an adapter"),
        (("{model}", "me/tiny", "--step", "3"), 2, "has no steps"),
        (("nothing", "me/tiny"), 2, "nothing"),
    ],
)
def test_what_does_not_fit(model: Path, typed, words: tuple[str, ...], code: int, said: str) -> None:
    found = typed("push", *(word.replace("{model}", str(model)) for word in words), "--dry-run")
    assert (found.code, said in found.err) == (code, True), found.err


def test_a_folder_without_safetensors_is_no_model(model: Path, typed) -> None:
    (model / "model.safetensors").unlink()
    found = typed("push", str(model), "me/tiny", "--dry-run")
    assert (found.code, "no whole model with safetensors" in found.err) == (3, True)


def test_who_wishes_to_be_offline_stays_so(model: Path, monkeypatch: pytest.MonkeyPatch, typed) -> None:
    monkeypatch.setattr(hub, "_is_offline_wished", lambda: True)
    found = typed("push", str(model), "me/tiny")
    assert (found.code, "HF_HUB_OFFLINE=1 forbids" in found.err) == (3, True)


def test_a_loopback_hub_may_speak_http() -> None:
    for url in ("http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9", "https://hub.example.org"):
        push.check_target("me/tiny", url)


def test_a_slow_upload_is_told_of_and_has_an_end(
    model: Path, upload_hub: UploadHub, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_hub.delay_s = 3.0
    monkeypatch.setattr(hub, "_LOOK_S", 0.2)
    line = ("push", str(model), "me/tiny", "--endpoint-url", upload_hub.url)
    found = typed(*line)
    assert (found.code, "uploading for 0:00, at most 1:00" in found.err) == (0, True), found.err
    upload_hub.delay_s = 60.0
    monkeypatch.setattr(hub, "_ANSWER_S", 0.5)
    found = typed(*line)
    assert (found.code, "it has not ended in 0 minutes" in found.err) == (7, True), found.err
