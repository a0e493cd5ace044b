"""A run that was made elsewhere chooses no server and no shell command; one that was made here keeps its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from codctl.config.schema import Config
from codctl.errors import PreflightError, RefusedError
from codctl.evaluate.subject import PolicyUnderTest, open_runner, subject_of
from codctl.runs.directory import RunDirectory
from codctl.train import foreign
from codctl.train.saved_models import SavedModel
from tests.jobs.many_trials import make_run

SERVERS = {"engine": {"kind": "vllm", "servers": ["http://127.0.0.1:9"]}}
SHELL = {"cluster": {"setup": ["touch /tmp/stranger"]}}
OPTIONS = {"cluster": {"extras": {"container": "/tmp/stranger"}}}
WORLD = {
    "world": {"family": "learn2ask", "variant": "paper", "options": {"data": "/tmp/stranger", "judge": {"url": "x"}}}
}
MODEL = {"model": {"path": "stranger/never-fetched"}}


@pytest.fixture
def mine(tmp_path: Path) -> RunDirectory:
    return make_run(tmp_path, "mine")


@pytest.fixture
def gift(mine: RunDirectory) -> RunDirectory:
    return RunDirectory(shutil.copytree(mine.path, mine.path.with_name("gift")))


def config(sections: dict[str, Any]) -> Config:
    return Config.model_validate({"name": "micro", **sections})


@pytest.mark.parametrize(
    ("sections", "slurm", "named"),
    [
        (SERVERS, False, "engine.servers is not used: http://127.0.0.1:9"),
        (SHELL, True, "cluster.setup is not used: touch /tmp/stranger"),
        (OPTIONS, True, "cluster.extras is not used: container=/tmp/stranger"),
        (WORLD, False, "world.options is not used: learn2ask: {'data': '/tmp/stranger'"),
    ],
)
def test_what_would_be_obeyed_is_refused(
    mine: RunDirectory, gift: RunDirectory, sections: dict[str, Any], slurm: bool, named: str
) -> None:
    foreign.refuse(mine, config(sections), as_job=slurm)
    with pytest.raises(RefusedError, match=named) as caught:
        foreign.refuse(gift, config(sections), as_job=slurm)
    assert "codctl train YOUR_RECIPE --fork gift --name NEW" in caught.value.hint


def test_a_job_script_matters_only_to_a_job(gift: RunDirectory) -> None:
    foreign.refuse(gift, config({"cluster": {**SHELL["cluster"], **OPTIONS["cluster"]}}), as_job=False)


def test_its_worlds_name_no_file_and_no_judge(mine: RunDirectory, gift: RunDirectory) -> None:
    assert foreign.withheld(mine, config(WORLD))[1].world.options
    found, left = foreign.withheld(gift, config(WORLD))
    assert list(found) == ["world.options"]
    assert (left.world.options, left.world.variant) == ({}, "paper")


def test_its_model_is_not_fetched(mine: RunDirectory, gift: RunDirectory) -> None:
    foreign.refuse(mine, config(MODEL), as_job=False)
    with pytest.raises(PreflightError, match="the cache of hub models does not hold it") as caught:
        foreign.refuse(gift, config(MODEL), as_job=False)
    assert caught.value.hint == "hf download stranger/never-fetched"


def subject(run: RunDirectory, sections: dict[str, Any], folder: Path) -> PolicyUnderTest:
    return subject_of(run, config(sections), SavedModel("final", 2, folder))


def test_an_evaluation_takes_the_servers_that_are_typed(
    mine: RunDirectory, gift: RunDirectory, tiny_folder: Path, tmp_path: Path
) -> None:
    assert subject(mine, SERVERS, tiny_folder).settings.engine.servers == ("http://127.0.0.1:9",)
    found = subject(gift, SERVERS, tiny_folder)
    assert found.settings.engine.servers == ()
    with pytest.raises(RefusedError, match=r"engine\.servers is not used") as caught:
        open_runner(found, tmp_path / "engine.log")
    assert "engine.servers=[URL]" in caught.value.hint
    foreign.refuse_servers(found.withheld, config(SERVERS), "gift")


def test_a_job_of_an_evaluation_takes_the_commands_that_are_typed(gift: RunDirectory, tiny_folder: Path) -> None:
    found = subject(gift, SHELL, tiny_folder)
    assert found.settings.cluster.setup == ()
    with pytest.raises(RefusedError, match=r"cluster\.setup is not used: touch /tmp/stranger"):
        foreign.refuse_job(found.withheld, found.settings, "gift")
    foreign.refuse_job(found.withheld, config({"cluster": {"setup": ["module load cuda"]}}), "gift")
