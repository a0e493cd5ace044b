"""How facts are written, and what a hint claims."""

from __future__ import annotations

from random import Random

import pytest

from codctl.envs.base import HintScore
from codctl.envs.terminal.family import Terminal
from codctl.envs.terminal.hints import claims, hint_from
from codctl.envs.terminal.rules import SLOTS, HouseRules
from codctl.envs.terminal.tasks import TerminalWorld

FAMILY = Terminal()

FULL = """- To send: use `bao send …` instead of scp, rsync.
- To pack: use `cif pack …` instead of tar, zip, gzip.
- To unpack: use `dulo unpack …` instead of unzip, gunzip.
- To erase: use `ekko erase …` instead of rm, del.
- To move: use `fenn move …` instead of mv, move, ren.
- To copy: use `gavi copy …` instead of cp, copy.
- To make: use `hulk make …` instead of mkdir.
- The port of the remote machine is 3300.
- The drop folder is badger.
- The mode that chmod takes is 750."""
COMPACT = "send=bao pack=cif unpack=dulo erase=ekko move=fenn copy=gavi make=hulk port=3300 drop=badger mode=750"


def test_the_whole_truth(rules: HouseRules) -> None:
    world = TerminalWorld(None, rules)
    assert FAMILY.truth(world, "full") == FULL
    assert FAMILY.truth(world, "compact") == COMPACT
    for text in (FULL, COMPACT):
        assert claims(text, rules.surface) == set(rules.truth.items())
    assert hint_from({}, "full") == "Nothing is known for certain yet."
    assert hint_from({}, "compact") == "none"


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("", set()),
        ("none", set()),
        ("send=bao", {("send", "bao")}),
        ("send=bao send=cif", {("send", "bao"), ("send", "cif")}),
        ("send=zzz nonsense=bao", {("send", "zzz")}),
        ("bao uploads files; cif is for archives", {("send", "bao"), ("pack", "cif")}),
        ("Use bao to transfer, and ekko to delete.", {("send", "bao"), ("erase", "ekko")}),
        ("scp is replaced by bao", {("send", "bao")}),
        ("ssh works on port 3300.", {("port", "3300")}),
        ("Only /srv/badger is writable", {("drop", "badger")}),
        ("chmod 750 only", {("mode", "750")}),
        ("- **send**: `bao`\n- **port** = 3300", {("send", "bao"), ("port", "3300")}),
        ("Use `bao`, not scp, to send files", {("send", "bao")}),
        ("The drop folder might be badger", set()),
        ("chmod 750 (uncertain)", set()),
        ("bao is not for sending", set()),
        ("unknown: send", set()),
        ("bao", set()),
        ("SEND: BAO", {("send", "bao")}),
        ("port acorn; drop 3300", set()),
        ("the tool zzz sends", set()),
    ],
)
def test_claims(rules: HouseRules, hint: str, expected: set[tuple[str, str]]) -> None:
    assert claims(hint, rules.surface) == expected


@pytest.mark.parametrize(
    ("hint", "score"),
    [
        (COMPACT, HintScore(right=10, wrong=0, missing=0, knowable=0, knowable_right=0)),
        ("send=bao drop=acorn", HintScore(right=1, wrong=1, missing=9, knowable=0, knowable_right=0)),
        ("send=bao send=cif", HintScore(right=0, wrong=2, missing=10, knowable=0, knowable_right=0)),
    ],
)
def test_scores(rules: HouseRules, hint: str, score: HintScore) -> None:
    assert FAMILY.score_context(TerminalWorld(None, rules), hint, []) == score


def test_what_was_seen_is_knowable() -> None:
    pack = FAMILY.pack("train", 0, 1, "easy")
    episode, truth = pack.slots[0].begin("full"), pack.world.rules.truth
    episode.act(f"{truth['copy']}; touch /srv/{truth['drop']}/x")
    score = FAMILY.score_context(pack.world, f"drop={truth['drop']} make={truth['make']}", [episode])
    assert score == HintScore(right=2, wrong=0, missing=8, knowable=2, knowable_right=1)


def test_paper_worlds_have_nothing_to_state() -> None:
    world = FAMILY.pack("train", 0, 1, "easy", "paper").world
    assert FAMILY.score_context(world, COMPACT, []) == HintScore(0, 0, 0, 0, 0)
    assert FAMILY.partial_truth(world, "full", Random(0)) == ""


def test_parts_of_the_truth_are_true(rules: HouseRules) -> None:
    world, rng = TerminalWorld(None, rules), Random(0)
    sizes = set()
    for _ in range(100):
        claimed = claims(FAMILY.partial_truth(world, "compact", rng), rules.surface)
        assert claimed <= set(rules.truth.items())
        sizes.add(len(claimed))
    assert sizes == set(range(len(SLOTS) + 1))
