"""What a suite means for a subject: golden expansions, overrides, and what is refused."""

from __future__ import annotations

import pytest

from codctl.config.evalspec import EvalSpec
from codctl.config.schema import WorldRef
from codctl.config.suite_file import load_suite
from codctl.envs.alchemy.family import Alchemy
from codctl.envs.frozen_lake.family import FrozenLake
from codctl.envs.registry import families
from codctl.errors import UsageError
from codctl.evaluate.suites.expansion import Defaults, expand
from codctl.evaluate.suites.shipped import descriptions, find_suite, shipped

KNOWN = {"frozen_lake": FrozenLake(), "alchemy": Alchemy()}
TINY = tuple(WorldRef(family=family, preset="tiny") for family in KNOWN)
MIXTURE = Defaults(TINY, {"rendering": "compact", "length": 4})


def parts(suite: str, *overrides: str, home: Defaults | None = None) -> tuple[EvalSpec, ...]:
    file = find_suite(suite)
    return expand(load_suite(file.path, file.shown, overrides), home or Defaults(), KNOWN)


def told(specs: tuple[EvalSpec, ...]) -> list[str]:
    return [f"{s.name} {s.strategy} {s.packs}x{s.length} {'+'.join(s.arms)}" for s in specs]


EXPANSIONS = {
    "position-curve": ["curve/frozen_lake-easy cod 500x4 own+none+shuffled+oracle+history"],
    "in-domain-hard": ["harder/frozen_lake-hard cod 300x4 own+none+oracle"],
    "cross-domain": ["other/alchemy-easy cod 300x4 own+none+oracle"],
    "ralph-loop": [
        "full/frozen_lake-easy ralph_full 400x8 own+none",
        "sample/frozen_lake-easy ralph_sample 400x8 own+none",
    ],
    "long-life": [
        "long-16/frozen_lake-easy long 200x16 own+none",
        "long-32/frozen_lake-easy long 100x32 own+none",
    ],
    "robustness": [
        "control/frozen_lake-easy cod 200x8 own+none",
        "drift/frozen_lake-easy drift 200x8 own+none",
        "distractor/frozen_lake-easy distractor 200x8 own+none",
        "poison-low/frozen_lake-easy poison 200x8 own",
        "poison-high/frozen_lake-easy poison 200x8 own",
    ],
}

SHIPPED = [*EXPANSIONS, "published"]


@pytest.mark.parametrize("suite", EXPANSIONS)
def test_shipped_suites_for_a_subject_that_was_never_trained(suite: str) -> None:
    assert told(parts(suite)) == EXPANSIONS[suite]


def test_every_shipped_suite_is_listed_with_a_line() -> None:
    assert list(descriptions()) == SHIPPED
    assert all("\n" not in line and line.endswith("?") for line in descriptions().values())
    assert [suite.path.stem for suite in shipped()] == SHIPPED


def test_the_published_suite_plays_what_was_published() -> None:
    file = find_suite("published")
    found = expand(load_suite(file.path, file.shown), Defaults(), families())
    worlds = [
        "frozen_lake-hard-paper", "alchemy-easy-paper", "alchemy-hard-paper", "terminal-easy-paper",
    ]  # fmt: skip
    assert [s.name for s in found] == [f"{name}/{world}" for name in ("packs", "ralph") for world in worlds]
    for spec in found:
        assert (spec.packs, spec.length, spec.temperature) == (500, 8, 1.0)
        assert (spec.solve_tokens, spec.update_tokens, spec.suggested_tokens) == (2000, 2000, 1500)


def test_a_mixture_plays_every_family_it_was_trained_on() -> None:
    assert [s.name for s in parts("position-curve", home=MIXTURE)] == ["curve/frozen_lake-tiny", "curve/alchemy-tiny"]
    harder = [s.name for s in parts("in-domain-hard", home=MIXTURE)]
    assert harder == [f"harder/{family}-{p}" for family in KNOWN for p in KNOWN[family].presets[1:]]
    assert {s.rendering for s in parts("robustness", home=MIXTURE)} == {"compact"}


def test_the_training_length_holds_where_the_suite_names_none() -> None:
    home = Defaults((WorldRef(family="frozen_lake", preset="tiny"),), {"length": 6})
    assert [s.length for s in parts("position-curve", home=home)] == [6]
    assert [s.length for s in parts("ralph-loop", home=home)] == [8, 8]


def test_hard_strategies_get_their_numbers() -> None:
    by_name = {spec.name.partition("/")[0]: spec for spec in parts("robustness")}
    assert by_name["drift"].drift_at == 4
    assert (by_name["distractor"].distractor_family, by_name["distractor"].distractor_preset) == ("alchemy", "easy")
    assert (by_name["poison-low"].poison, by_name["poison-high"].poison) == (0.25, 0.5)
    of_mixture = {spec.name: spec for spec in parts("robustness", home=MIXTURE)}
    distractors = of_mixture["distractor/alchemy-tiny"]
    assert (distractors.distractor_family, distractors.distractor_preset) == ("frozen_lake", "tiny")


def test_overrides_hold_for_every_part() -> None:
    specs = parts("robustness", "length=6", "arms=[own]", "packs=7", "family=alchemy", "poison=0.1")
    assert {(s.length, s.arms, s.packs, s.family, s.preset) for s in specs} == {(6, ("own",), 7, "alchemy", "easy")}
    assert [s.poison for s in specs if s.strategy == "poison"] == [0.1, 0.1]
    assert [s.drift_at for s in specs if s.strategy == "drift"] == [3]


def test_family_and_preset_replace_the_worlds() -> None:
    assert [s.name for s in parts("in-domain-hard", "family=alchemy")] == ["harder/alchemy-hard"]
    assert [s.name for s in parts("in-domain-hard", "preset=easy")] == ["harder/frozen_lake-easy"]
    assert [s.name for s in parts("cross-domain", "family=frozen_lake", "preset=hard")] == ["other/frozen_lake-hard"]
    assert [s.name for s in parts("position-curve", "variant=paper", "family=alchemy")] == ["curve/alchemy-easy-paper"]
    worlds = "worlds=[{family:alchemy,preset:hard},frozen_lake]"
    assert [s.name for s in parts("position-curve", worlds)] == ["curve/alchemy-hard", "curve/frozen_lake-easy"]


def test_a_policy_plays_own_alone_unless_asked() -> None:
    home = Defaults(arms=("own",))
    assert [s.arms for s in parts("position-curve", home=home)] == [("own",)]
    assert [s.arms for s in parts("position-curve", "arms=[own,oracle]", home=home)] == [("own", "oracle")]


REFUSED = {
    "nothing is harder": (
        ("in-domain-hard", "family=alchemy"),
        Defaults((WorldRef(family="alchemy", preset="hard"),)),
        "harder: no preset is harder than alchemy hard",
    ),
    "no other family": (
        ("cross-domain",),
        Defaults((WorldRef(family="frozen_lake", preset="easy"), WorldRef(family="alchemy", preset="easy"))),
        "other: there is no family other than alchemy, frozen_lake",
    ),
    "unknown family": (
        ("position-curve", "family=lake"),
        Defaults(),
        "unknown family 'lake'; did you mean 'frozen_lake'? (known: frozen_lake, alchemy)",
    ),
    "unknown distractor preset": (
        ("robustness", "distractor_preset=esy"),
        Defaults(),
        "unknown preset of alchemy 'esy'; did you mean 'easy'? (known: tiny, easy, hard)",
    ),
    "unknown variant": (
        ("position-curve", "variant=papre"),
        Defaults(),
        "unknown variant of frozen_lake 'papre'; did you mean 'paper'? (known: default, paper, trinity)",
    ),
    "unknown arm": (
        ("position-curve", "arms=[own,orakel]"),
        Defaults(),
        "unknown arm 'orakel'; did you mean 'oracle'? (known: own, none, shuffled, oracle, history)",
    ),
}


@pytest.mark.parametrize(("asked", "home", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_played_is_refused(asked: tuple[str, ...], home: Defaults, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parts(*asked, home=home)
    assert caught.value.message == message
