"""Who sees which GPU, and how many run at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codctl.errors import PreflightError, UsageError
from codctl.jobs.slots import Pool, Slots


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("0,1,2,3", ("0", "1", "2", "3")),
        ("3, 1", ("3", "1")),
        ("GPU-5e1f2f6a,MIG-77", ("GPU-5e1f2f6a", "MIG-77")),
        ("0,0,1", ("0", "1")),
        ("1,-1,2", ("1",)),
    ],
)
def test_gpus_are_those_that_the_environment_names(
    visible: str, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Slots.discover(None, gpus_each=1, threads_each=1).gpus == found


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_an_environment_that_hides_all_gpus_is_believed(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(PreflightError, match="a job needs 1 GPU, this process can use none") as caught:
        Slots.discover(None, gpus_each=1, threads_each=1)
    assert "cluster.gpus_per_node=0" in caught.value.hint


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with pytest.raises(PreflightError, match="a job needs 4 GPUs, this process can use only 2: 4, 5"):
        Slots.discover(None, gpus_each=4, threads_each=1)


def driver(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin{os.pathsep}/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_driver_is_asked_when_the_environment_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, "printf '0\\n1\\n'", monkeypatch)
    slots = Slots.discover(None, gpus_each=1, threads_each=1)
    assert slots.gpus == ("0", "1")
    share = Pool(slots).take(gpus=1, threads=1)
    # nvidia-smi counts by bus position; CUDA does so only when told, and would otherwise mean another GPU.
    assert share is not None
    assert share.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_a_driver_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(tmp_path, "echo 'Driver/library version mismatch'; exit 18", monkeypatch)
    with pytest.raises(PreflightError, match="nvidia-smi says: Driver/library version mismatch"):
        Slots.discover(None, gpus_each=1, threads_each=1)


def test_without_a_driver_there_are_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError, match="can use none"):
        Slots.discover(None, gpus_each=1, threads_each=1)
    assert Slots.discover(None, gpus_each=0, threads_each=1).gpus == ()


@pytest.mark.parametrize("wanted", [(0, 0, 1), (None, -1, 1), (None, 0, 0)])
def test_numbers_without_sense_are_refused(wanted: tuple[int | None, int, int]) -> None:
    with pytest.raises(UsageError):
        Slots.discover(*wanted)


def test_cores_are_those_of_this_process() -> None:
    assert Slots.discover(None, gpus_each=0, threads_each=1).cores == len(os.sched_getaffinity(0))


def test_no_gpu_is_in_two_shares() -> None:
    pool = Pool(Slots(gpus=("0", "1", "2"), cores=1))
    first, second = pool.take(gpus=2, threads=1), pool.take(gpus=1, threads=1)
    assert first is not None
    assert second is not None
    assert (first.gpus, second.gpus) == (("0", "1"), ("2",))
    assert pool.take(gpus=1, threads=1) is None
    pool.give_back(first)
    again = pool.take(gpus=1, threads=1)
    assert again is not None
    assert again.gpus == ("0",)


def test_a_limit_holds_for_both_kinds_of_job() -> None:
    pool = Pool(Slots(gpus=("0", "1"), cores=8, max_parallel=2))
    assert pool.take(gpus=1, threads=1) is not None
    share = pool.take(gpus=0, threads=1)
    assert share is not None
    assert share.environment["CUDA_VISIBLE_DEVICES"] == ""  # it has none, and must not see the other job's
    assert pool.take(gpus=1, threads=1) is None


def test_a_job_with_more_threads_than_cores_runs_alone() -> None:
    pool = Pool(Slots(cores=2))
    share = pool.take(gpus=0, threads=16)
    assert share is not None
    assert share.environment["OMP_NUM_THREADS"] == "16"
    assert pool.take(gpus=0, threads=1) is None
    pool.give_back(share)
    assert pool.take(gpus=0, threads=1) is not None
