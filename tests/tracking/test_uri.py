"""Where MLflow is, and no secret written down about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codctl.config.credentials import has_credentials, redacted, without_credentials
from codctl.config.schema import TrackingConfig
from codctl.tracking import mlflow_server as uri


@pytest.mark.parametrize(
    ("given", "is_secret", "plain"),
    [
        ("http://host:5000", False, "http://host:5000"),
        ("https://me:pw@host/x", True, "https://host/x"),
        ("http://token@host:5000", True, "http://host:5000"),
        ("postgresql://me:pw@db/x", True, "postgresql://db/x"),
        ("sqlite:////tmp/a@b/m.db", False, "sqlite:////tmp/a@b/m.db"),
    ],
)
def test_credentials(given: str, is_secret: bool, plain: str) -> None:
    assert has_credentials(given) is is_secret
    assert without_credentials(given) == plain
    if is_secret:
        with pytest.raises(ValueError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") as refused:
            TrackingConfig(mlflow_uri=given)
        assert "pw@" not in refused.value.errors()[0]["msg"]
    else:
        assert TrackingConfig(mlflow_uri=given).mlflow_uri == given
    assert redacted(f"cannot reach {given}/api") == f"cannot reach {plain}/api"


def test_the_recipe_wins_then_the_environment_then_the_runs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert uri.to_store(None) is None
    assert uri.to_connect(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:1")
    assert uri.to_store(None) == "http://there:1"
    assert uri.to_store("http://recipe:2") == "http://recipe:2"
    assert uri.to_connect(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"  # what a run began with it keeps


def test_password_in_the_environments_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40w@there:1")
    stored = uri.to_store(None)
    assert stored == "http://there:1"
    assert uri.to_connect(stored, tmp_path) == "http://there:1"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "me"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "p@w"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:pw@db/x")
    assert uri.to_connect(uri.to_store(None), tmp_path) == "postgresql://me:pw@db/x"
