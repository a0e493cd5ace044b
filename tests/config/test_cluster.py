"""Time limits as people write them, options that a profile may add, and where profiles come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.config.compose import load_config
from codctl.config.freeze import digest
from codctl.config.schema import ClusterConfig, Config
from codctl.config.schema.cluster import check_option, minutes
from codctl.errors import UsageError


@pytest.mark.parametrize(
    ("time", "expected"),
    [(90, 90), ("90", 90), ("1:00:00", 60), ("0:00:30", 1), ("12:34:56", 755), ("2-03:00:00", 3060)],
)
def test_time_limits(time: str | int, expected: int) -> None:
    assert minutes(time) == expected


@pytest.mark.parametrize("time", [0, -5, 3600, "3600", "1:30", "1:75:00", "soon", "0:00:00", ""])
def test_times_that_are_none_or_can_be_misread(time: str | int) -> None:
    with pytest.raises(ValueError, match="expected"):
        minutes(time)


def test_a_time_without_quotes_in_a_recipe_is_refused_by_its_line(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("cluster:\n  time: 2:00:00\n")  # YAML reads 7200
    with pytest.raises(UsageError, match="YAML reads 2:00:00 as 7200") as caught:
        load_config(str(recipe))
    assert caught.value.where == f"{recipe}:2"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("--reservation", "x", "not a long option"),
        ("gpus-per-node", 1, r"key of its own: cluster\.gpus_per_node"),
        ("signal", "B:USR1@10", "set by codctl"),
        ("comment", "two\nlines", "one line"),
        ("comment", {"a": 1}, "one line"),
    ],
)
def test_options_that_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_option(name, value)


def test_where_a_run_is_sent_does_not_change_what_it_is() -> None:
    assert digest(Config(cluster=ClusterConfig(partition="x", time=5, extras={"nice": 3}))) == digest(Config())


def test_profiles_of_the_package_and_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "con fig" / "codctl" / "cluster"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("partition: fast\ntime: 30\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "con fig"))
    assert load_config("tiny", ["cluster=chained"]).cluster.chain == 8
    mine = load_config("tiny", ["cluster=mine", "cluster.time=45"]).cluster
    assert (mine.partition, mine.minutes) == ("fast", 45)
    monkeypatch.setenv("CODCTL_CLUSTER", "mine")
    assert load_config("tiny").cluster.partition == "fast"
    assert load_config("tiny", ["cluster=cpu"]).cluster.partition is None
