"""Names that mean something in a runs folder are no names of runs or sweeps."""

from __future__ import annotations

import pytest

from codctl.config.compose import load_config
from codctl.config.freeze import frozen_file, thaw
from codctl.config.names import why_reserved
from codctl.errors import UsageError
from codctl.sweeps.ask import ask

RESERVED = (
    "lr3.old-2",
    "a.OLD-10",
    "sweeps",
    "evaluations",
    "mlflow.db",
    "mlflow.db-wal",
    "mlflow-artifacts",
    "lock",
    "x.lock",
    "manifest.json",
    "metrics.jsonl",
)


@pytest.mark.parametrize("name", RESERVED)
def test_reserved(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config("tiny", [f"name={name}"])
    assert f"'{name}' is reserved" in caught.value.problems[0].message
    with pytest.raises(UsageError, match="is reserved"):
        ask("tiny", ["seed=0,1"], name=name)


@pytest.mark.parametrize("name", ["lr3.old", "sweeps-2", "old-2", "lock-1", "json", "v1.0", "evaluations.x"])
def test_free(name: str) -> None:
    assert why_reserved(name) == ""
    assert load_config("tiny", [f"name={name}"]).name == name


def test_a_run_that_was_made_under_such_a_name_is_still_read() -> None:
    frozen = frozen_file(load_config("tiny", []))
    frozen["config"]["name"] = "lr3.old-2"
    assert thaw(frozen).seed == 0
