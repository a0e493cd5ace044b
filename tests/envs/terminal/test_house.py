"""House rules: what each wrong move answers and teaches, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from codctl.envs.terminal.policies import Belief
from codctl.envs.terminal.rules import SLOTS, VERBS, HouseRules, Lesson, draw_rules
from codctl.envs.terminal.shell import Ran, Shell

Make = Callable[..., Shell]

# The rules of conftest: bao sends, cif packs, dulo unpacks, ekko erases, fenn moves, gavi copies, hulk makes, ixo is
# retired; port 3300, drop folder badger, mode 750.
CASES = [
    ("scp a.txt far:", "scp: not installed here; the house tool for send is one of those in /opt/tools", []),
    ("rm a.txt", "rm: not installed here; the house tool for erase is one of those in /opt/tools", []),
    ("ls /opt/tools", "bao\ncif\ndulo\nekko\nfenn\ngavi\nhulk\nixo", ["tools"]),
    ("ls /srv", "acorn/\nbadger/", ["drops"]),
    ("cat /opt/tools/bao", "tool", []),
    ("bao", "bao: this tool is for send; usage: bao send -p PORT SOURCE TARGET, one of them HOST:PATH", ["send=bao"]),
    ("cif erase a.txt", "cif: this tool is for pack, not for erase; usage: cif pack ARCHIVE PATH...", ["pack=cif"]),
    ("/opt/tools/ekko", "/opt/tools/ekko: this tool is for erase; usage: ekko erase PATH...", ["erase=ekko"]),
    ("ixo send", "ixo: this tool is retired, it does nothing any more", [f"{verb}!ixo" for verb in VERBS]),
    (
        "ssh far",
        "ssh: port 22: Connection refused; the port for logins is one of 2200 3300",
        ["ports"],
    ),
    (
        "ssh -p 2200 far",
        "ssh: port 2200: Connection refused; the port for logins is one of 2200 3300",
        ["port!2200", "ports"],
    ),
    ("ssh -p 3300 far", "You are now bob on far.", ["port=3300"]),
    (
        "chmod 755 a.txt",
        "chmod: mode 755 is not the one that is allowed here, which is one of 700 750",
        ["modes"],
    ),
    (
        "chmod u+x,go= a.txt",
        "chmod: mode 700 is not the one that is allowed here, which is one of 700 750",
        ["mode!700", "modes"],
    ),
    ("chmod 750 a.txt", "", ["mode=750"]),
    (
        "touch /srv/acorn/x",
        "touch: /srv/acorn/x: Read-only file system; of the folders in /srv only the drop folder can be written to, "
        "and this is not it",
        ["drop!acorn"],
    ),
    ("touch /srv/badger/x", "", ["drop=badger"]),
    (
        "hulk make /srv/badger",
        "hulk: cannot create directory '/srv/badger': File exists",
        ["make=hulk"],
    ),
    ("gavi copy a.txt /srv/badger", "", ["copy=gavi", "drop=badger"]),
    ("gavi copy docs x", "gavi: /home/ann/docs: Is a directory", ["copy=gavi"]),
    ("fenn move a.txt docs/b.txt", "fenn: /home/ann/docs/b.txt: exists already", ["move=fenn"]),
    (
        "bao send a.txt far:in",
        "bao: port 22: Connection refused; the port for logins is one of 2200 3300",
        ["send=bao", "ports"],
    ),
    ("bao send -p 3300 a.txt far:in", "", ["send=bao", "port=3300"]),
    (
        "bao send -p 3300 a.txt far:new.txt",
        "bao: /home/bob/new.txt: send keeps names; the target is a folder or a file to replace",
        ["send=bao", "port=3300"],
    ),
    ("bao send -p 3300 docs far:in", "bao: /home/ann/docs: Is a directory", ["send=bao", "port=3300"]),
    ("bao send -r docs far:in", "bao: invalid option -- 'r'", ["send=bao"]),
    ("cif pack x.pak docs", "", ["pack=cif"]),
    ("dulo unpack a.txt docs", "dulo: /home/ann/a.txt: not a house archive", ["unpack=dulo"]),
    ("ekko erase docs", "", ["erase=ekko"]),
    ("ekko erase", "ekko: usage: ekko erase PATH...", ["erase=ekko"]),
]


def run(shell: Shell, line: str) -> Ran:
    return shell.run_line(line, 12, lambda: False)[-1]


def shown(lessons: tuple[Lesson, ...]) -> list[str]:
    return [f"{one.slot}{'=' if one.holds else '!'}{one.value}" if one.value else one.slot for one in lessons]


@pytest.mark.parametrize(("line", "output", "lessons"), CASES)
def test_answers_teach(make_shell: Make, rules: HouseRules, line: str, output: str, lessons: list[str]) -> None:
    ran = run(make_shell("linux", rules), line)
    assert ran.output == output
    assert shown(ran.lessons) == lessons


def test_the_tools_do_what_the_usual_commands_do(make_shell: Make, rules: HouseRules) -> None:
    shell = make_shell("windows", rules)
    line = "cif pack x.pak docs && bao send -p 3300 x.pak far:in && ssh -p 3300 far"
    assert run(shell, line).output == "You are now bob on far."
    line = "cd in && dulo unpack x.pak . && fenn move docs/b.txt e.txt && hulk make new && ekko erase x.pak && ls"
    assert run(shell, line).output == "d.txt\ndocs/\ne.txt\nnew/"


def test_without_house_rules_nothing_of_this_holds(make_shell: Make) -> None:
    shell = make_shell()
    assert run(shell, "bao").output == "bao: command not found"
    assert run(shell, "chmod 755 a.txt").output == ""
    assert run(shell, "ls /opt/tools && ssh far").lessons == ()


def test_rules_are_drawn_evenly(rules: HouseRules) -> None:
    rng = Random(1)
    drawn = [draw_rules(rng, rules.surface) for _ in range(800)]
    for slot in SLOTS:
        values = rules.surface.of(slot)
        counts = [sum(r.truth[slot] == value for r in drawn) for value in values]
        assert min(counts) > 0.6 * 800 / len(values)
    assert all(len({r.truth[verb] for verb in VERBS}) == len(VERBS) for r in drawn)


# --- what follows -----------------------------------------------------------------------------------------------------


def belief(rules: HouseRules, *words: str) -> Belief | None:
    """Of lessons written `send=bao`, `port!2200` or `tools`."""
    lessons = []
    for word in words:
        slot, sign, value = (*word.partition("="),) if "=" in word else (*word.partition("!"),)
        lessons.append(Lesson(slot, value, sign != "!"))
    return Belief(rules.surface).after(lessons)


def test_nothing_is_guessed_before_the_choices_are_known(rules: HouseRules) -> None:
    nothing = Belief(rules.surface)
    assert [nothing.guess(slot) for slot in SLOTS] == [None] * len(SLOTS)
    listed = belief(rules, "tools", "ports")
    assert listed is not None
    assert (listed.guess("send"), listed.guess("port"), listed.guess("drop")) == ("bao", "2200", None)
    assert listed.known() == {}


def test_exclusion_leads_to_knowledge_once_the_choices_are_known(rules: HouseRules) -> None:
    unlisted, listed = belief(rules, "port!2200"), belief(rules, "port!2200", "ports")
    assert unlisted is not None
    assert listed is not None
    assert (unlisted.known(), listed.known()) == ({}, {"port": "3300"})
    tools = [f"{verb}={rules.truth[verb]}" for verb in VERBS[:-1]]
    all_but_one = belief(rules, "tools", *tools, *(f"{verb}!ixo" for verb in VERBS))
    assert all_but_one is not None
    assert all_but_one.is_known("make")


@pytest.mark.parametrize(
    "words",
    [("send=bao", "send=cif"), ("send=bao", "pack=bao"), ("port=2200", "port!2200"), ("port!2200", "port!3300")],
)
def test_contradictions_are_seen(rules: HouseRules, words: tuple[str, str]) -> None:
    assert belief(rules, *words) is None
