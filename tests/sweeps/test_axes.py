from __future__ import annotations

import pytest

from codctl.config.overrides import override_text, parse_overrides
from codctl.sweeps.axes import combinations, parse_typed


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seed=0,1,2", (0, 1, 2)),
        ("seed=range(3)", (0, 1, 2)),
        ("seed=0..2", (0, 1, 2)),
        ("seed=7..7", (7,)),
        ("seed=0..2,7,1..3", (0, 1, 2, 7, 3)),
        ("seed=range(2,8,3)", (2, 5)),
        ("train.lr=1e-3,2e-3", (0.001, 0.002)),
        ("train.lr=range(0.1,0.5,0.1)", (0.1, 0.2, 0.3, 0.4)),
        ("world.family=choice(frozen_lake,alchemy)", ("frozen_lake", "alchemy")),
        ("evaluation.arms=[own],[own,none]", (["own"], ["own", "none"])),
        ("model.path=null,'a b'", (None, "a b")),
        ("seed=0,0,1", (0, 1)),
        ("train.loss.red=true,false", (True, False)),
    ],
)
def test_an_axis_has_the_values_that_were_typed_in_their_order(text: str, values: tuple[object, ...]) -> None:
    typed, problems = parse_typed([text])
    assert not problems
    assert [(axis.key, axis.values) for axis in typed.axes] == [(text.partition("=")[0], values)]


@pytest.mark.parametrize("text", ["seed=3", "evaluation.arms=[own,none]", "name='a,b'", "world.mixture=[]"])
def test_one_value_is_no_axis(text: str) -> None:
    typed, problems = parse_typed([text])
    assert not problems
    assert not typed.axes
    assert [override.text for override in typed.fixed] == [text]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("seed=range(0)", "seed: the axis has no values", "list them: seed=a,b or seed=0..2"),
        ("seed=range(3,0)", "seed: the axis has no values", "list them: seed=a,b or seed=0..2"),
        ("seed=", "seed: the axis has no values", "list them: seed=a,b or seed=0..2"),
        ("seed=choice()", "seed: the axis has no values", "list them: seed=a,b or seed=0..2"),
        ("seed=1,", "seed: a value is missing beside a comma", "list the values: seed=a,b"),
        ("seed=range(0,4,0)", "seed: range() arg 3 must not be zero", "seed=0..2"),
        ("seed=0..1000000000", "seed: an axis has at most 10000 values", ""),
        ("seed=3..0", "seed: the range 3..0 runs downwards", "seed=0..3"),
        ("=1", 'expected key=value, got "=1"', ""),
        ("seed=range(1000000000)", "seed: an axis has at most 10000 values", ""),
        (
            "train.lr=interval(0,1)",
            "train.lr: an interval holds infinitely many values",
            "list them: train.lr=0.1,0.2",
        ),
        ("context=glob(*)", "context: glob(…) has no meaning here", "list the values: context=a,b"),
        ("seed=shuffle(1,2)", "seed: the order of trials does not matter; leave shuffle(…) out", ""),
        ("name=a,b", "name: trials are named after their values", "--name NAME names the sweep"),
        ("seed", 'expected key=value, got "seed"', ""),
        ("~seed", "a key cannot be removed; give it another value", ""),
    ],
)
def test_what_cannot_be_an_axis_is_refused_with_a_way_out(text: str, message: str, hint: str) -> None:
    _, problems = parse_typed([text])
    assert [(problem.message, problem.where, problem.hint) for problem in problems] == [
        (message, f"override {text}", hint)
    ]


@pytest.mark.parametrize("texts", [["seed=0,1", "seed=2"], ["seed=0,1", "seed=range(2)"]])
def test_a_key_is_given_once(texts: list[str]) -> None:
    _, problems = parse_typed(texts)
    assert {problem.message for problem in problems} == {"seed is given twice"}


def test_the_last_axis_turns_fastest() -> None:
    typed, _ = parse_typed(["seed=0,1", "train.lr=1,2"])
    found = [tuple(override.value for override in one) for one in combinations(typed.axes)]
    assert found == [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    "value",
    [0, -1, 0.5, 1e-06, True, None, "own", "true", "null", "1e3", "a b", 'say "x"', "back\\slash", "a,b", "x=y", "",
     ["own", "none"], [], {"family": "alchemy", "weight": 2.0}, [{"family": "a b"}], "Qwen/Qwen3-8B", "24:00:00"],
)  # fmt: skip
def test_a_value_is_read_back_as_it_was_written(value: object) -> None:
    parsed, problems = parse_overrides([override_text("key", value)])
    assert not problems
    assert parsed[0].value == value
    assert type(parsed[0].value) is type(value)
