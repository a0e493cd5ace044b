"""Every numeric field of every schema at its edges: refused with its key before any work, or it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from codctl.config.compose import Draft, draft, load_config
from codctl.config.evalspec import EvalSpec
from codctl.config.freeze import digest, frozen_file, thaw
from codctl.config.overrides import parse_overrides
from codctl.config.problems import SectionReader
from codctl.config.schema import Config
from codctl.config.suite_file import SuiteEntry, load_suite
from codctl.errors import CodctlError, UsageError
from codctl.plan.plan import make_plan
from codctl.sweeps.study_file import EvaluationSpec, SizeSpec, StudyFile
from codctl.train.preflight import preflight_elsewhere
from tests.cli.conftest import MICRO
from tests.config.numeric_fields import Numeric, numeric_fields

FIELDS = list(numeric_fields(Config))


def strict(text: str) -> Any:
    """JSON without the words that are none: Infinity, NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Draft:
    path = tmp_path_factory.mktemp("edges") / "micro.yaml"
    path.write_text(MICRO)
    return draft(str(path))


def taken(micro: Draft, *texts: str) -> Config | None:
    """The config, or None when a value was refused; then the first key stands in the message."""
    parsed, problems = parse_overrides(texts)
    if not problems:
        try:
            return micro.config(parsed)
        except UsageError as error:
            problems = list(error.problems)
    said = f"{problems}"
    assert texts[0].partition("=")[0].rpartition(".")[2] in said, said
    assert all(problem.message for problem in problems)
    return None


def test_every_section_has_numeric_fields() -> None:
    assert {field.key.partition(".")[0] for field in FIELDS} >= {
        "seed", "world", "model", "context", "sampling", "warm_start", "train", "engine", "health", "evaluation",
        "tracking", "runtime", "cluster",
    }  # fmt: skip
    assert {field.key for field in FIELDS if field.many} == {"train.betas"}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.key)
def test_a_number_has_bounds_on_both_sides(field: Numeric) -> None:
    assert field.low is not None, "what is the least that its user takes?"
    assert field.high is not None, "what is the most that its user takes?"


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.key)
def test_values_are_refused_with_their_key_or_can_be_planned_and_read(micro: Draft, field: Numeric) -> None:
    accepted = set()
    for text in field.texts():
        config = taken(micro, f"{field.key}={text}")
        if config is None or digest(config) in accepted:
            continue
        accepted.add(digest(config))
        stored = strict(json.dumps(frozen_file(config)))
        assert thaw(stored) == config
        try:
            preflight_elsewhere(config)
        except CodctlError:
            continue
        assert strict(json.dumps(make_plan(config).as_dict()))


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "-1e400"])
def test_no_field_takes_what_is_no_number(micro: Draft, text: str) -> None:
    for field in FIELDS:
        assert taken(micro, f"{field.key}={field.written(text)}") is None, field.key


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("train: {lr: .inf}", "train.lr"),
        ("train: {lr: 1e400}", "train.lr"),
        ("train: {grad_clip: .inf}", "train.grad_clip"),
        ("train: {betas: [0.9, .nan]}", "train.betas"),
        ("health: {grad_norm: {limit: .inf}}", "health.grad_norm.limit"),
        ("world: {mixture: [{family: alchemy, weight: .inf}]}", "world.mixture.weight"),
        ("seed: 4294967296", "seed"),
    ],
)
def test_nor_does_a_recipe(tmp_path: Path, written: str, key: str) -> None:
    (tmp_path / "mine.yaml").write_text(written + "\n")
    with pytest.raises(UsageError) as error:
        load_config(str(tmp_path / "mine.yaml"))
    assert error.value.message.startswith(f"{key}: expected ")
    assert error.value.where.endswith("mine.yaml:1")


def test_what_switches_off_is_said(micro: Draft) -> None:
    with pytest.raises(
        UsageError, match=r"train\.grad_clip: expected a number or null from 1e-06 to 1e\+06, got inf"
    ) as e:
        micro.config(parse_overrides(["train.grad_clip=inf"])[0])
    assert e.value.hint == "train.grad_clip=null"


@pytest.mark.parametrize(
    "model", [EvalSpec, SuiteEntry, StudyFile, EvaluationSpec, SizeSpec], ids=lambda model: model.__name__
)
def test_suites_and_studies_are_schemas_too(model: type[BaseModel]) -> None:
    fields = list(numeric_fields(model))
    assert fields
    required: dict[str, Any] = {"name": "n", "suite": "s"}
    base = {key: value for key, value in required.items() if key in model.model_fields}
    for field in fields:
        assert field.low is not None, field.key
        assert field.high is not None, field.key
        for number in (float("inf"), float("nan"), 1e308, 10**30, -1, field.low, field.high, field.high * 2):
            reader = SectionReader("file.yaml", {})
            found = reader.section(model, {**base, field.key: field.value(number)}, "")
            if found is None:
                assert field.key in str(reader.problems)
            else:
                assert strict(found.model_dump_json())


def test_a_suite_file_with_an_infinite_number(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nevaluations:\n  - {name: a, temperature: .inf}\n")
    with pytest.raises(UsageError, match=r"temperature: expected a number from 0\.01 to 5, got inf"):
        load_suite(tmp_path / "s.yaml", "s.yaml")
