"""Recipes and command lines do not bring secrets into a config."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.config.compose import draft, load_config
from codctl.config.credentials import is_secret
from codctl.config.overrides import Override
from codctl.errors import UsageError

_SECRET = "hf_abcdefgh"


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HF_TOKEN": _SECRET,
        "DATABASE": "postgresql://me:hidden@db/x",
        "WHICH": "HF_TOKEN",
        "DATA": "/data",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("description: ${oc.env:HF_TOKEN}", "description: recipes cannot read HF_TOKEN: the name is that of a secret"),
        ("description: ${oc.env:NO_API_KEY,none}", "description: recipes cannot read NO_API_KEY"),
        ("description: ${oc.env:${oc.env:WHICH}}", "description: recipes cannot read HF_TOKEN"),
        ("description: ${oc.env:DATABASE}", "description: recipes cannot read DATABASE: its value holds a password"),
        ("tracking: {mlflow_uri: 'http://h/${oc.env:HF_TOKEN}'}", "tracking.mlflow_uri: recipes cannot read HF_TOKEN"),
        (f"description: pushed with {_SECRET}", "description: it holds the value of HF_TOKEN"),
        ("defaults: [{size: '${oc.env:HF_TOKEN}'}, _self_]", "recipes cannot read HF_TOKEN"),
    ],
)
def test_secrets_are_refused_and_not_repeated(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"{text}\n")
    with pytest.raises(UsageError) as refused:
        load_config(str(path))
    (problem,) = refused.value.problems or [refused.value]
    assert message in problem.message
    assert _SECRET not in str(refused.value) + problem.message + problem.hint
    assert "hidden" not in problem.message


def test_on_the_command_line_and_in_a_sweep(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        load_config("tiny", [f"description='made with {_SECRET}'"])
    assert "it holds the value of HF_TOKEN" in str(refused.value)
    path = tmp_path / "r.yaml"
    path.write_text("name: me\ndescription: ${name}\n")
    text = "description=${oc.env:HF_TOKEN}"
    with pytest.raises(UsageError, match="recipes cannot read HF_TOKEN"):
        draft(str(path)).config([Override(text, "description", "${oc.env:HF_TOKEN}")])


def test_other_variables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("description: in ${oc.env:DATA} of ${oc.env:NOBODY,${name}}\nname: me\n")
    assert load_config(str(path)).description == "in /data of me"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "DB_PASS")),
        *((name, True) for name in ("MLFLOW_TRACKING_PASSWORD", "SENTRY_DSN", "github_pat", "apikey")),
        *(
            (name, False)
            for name in ("PWD", "OLDPWD", "HOME", "TOKENIZERS_PARALLELISM", "KEYBOARD", "X_COMPAT", "PATH", "USER")
        ),
    ],
)
def test_names_of_secrets(name: str, expected: bool) -> None:
    assert is_secret(name) is expected
