from __future__ import annotations

import pytest

from codctl.config.explain import explain, field_docs, nearest_key, sections
from codctl.config.schema import CLASSES
from codctl.errors import UsageError


@pytest.mark.parametrize("doc", field_docs(), ids=lambda doc: doc.key)
def test_every_key_has_a_class_a_description_and_a_type_in_words(doc) -> None:
    assert doc.field_class in CLASSES, f"classify {doc.key} in codctl/config/schema/"
    assert doc.description.endswith("."), f"describe {doc.key} in one sentence"
    assert doc.expected


def test_a_key_and_a_section_are_explained() -> None:
    [doc] = explain("train.loss.clip")
    assert (doc.expected, doc.default, doc.field_class) == ("a number > 0 and < 1", 0.2, "training")
    assert [doc.key for doc in explain("model.lora")] == ["model.lora.rank", "model.lora.alpha", "model.lora.target"]


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r'no key "train.stps"; did you mean "train.steps"\?') as caught:
        explain("train.stps")
    assert caught.value.hint == "codctl recipe explain train.steps"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("train.learning_rte", None),
        ("train.lr_warmup", "train.lr_warmup_steps"),
        ("lora.rank", "model.lora.rank"),
        ("rank", "model.lora.rank"),
        ("modell", "model"),
        ("train._target_", None),
        ("qqqq", None),
    ],
)
def test_nearest_key(typed: str, meant: str | None) -> None:
    assert nearest_key(typed) == meant


def test_sections_cover_all_keys() -> None:
    inside = {f"{section}.{name}".lstrip(".") for section, names in sections().items() for name in names}
    assert {doc.key for doc in field_docs()} == inside - set(sections())
