from __future__ import annotations

from importlib import metadata

import pytest


def test_this_machine_is_fine(cli) -> None:
    outcome = cli("doctor", "--json")
    assert outcome.code == 0, outcome.out
    findings = {finding["name"]: finding for finding in outcome.json["result"]["findings"]}
    assert {"python", "versions", "torch", "machine", "disk", "runs folder", "recipes", "mlflow"} <= set(findings)


def test_a_missing_package_fails_with_what_to_type(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "trl":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "peft" else "2.14.99" if name == "pydantic" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    outcome = cli("doctor")
    assert outcome.code == 3
    assert "failed   trl" in outcome.out
    assert 'trl: pip install "trl==1.16.0"' in outcome.out
    assert "peft 0.1" in outcome.out or "0.1 is installed" in outcome.out
    assert "not the tested set: pydantic 2.14.99 (tested: 2.14.3)" in outcome.out


def test_a_tracker_that_is_down_is_only_a_warning(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    findings = {f["name"]: f for f in cli("doctor", "--json").json["result"]["findings"]}
    assert findings["mlflow"]["status"] == "warning"
    assert findings["mlflow"]["command"] == "codctl train RECIPE tracking.mlflow=false"
