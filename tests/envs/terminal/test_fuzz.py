"""Hostile command lines: nothing raises, leaves the tree, reaches the real machine, or changes state when it fails.

`CODCTL_FUZZ_EXAMPLES` says how many lines are tried.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.envs.terminal.commands.table import commands_of
from codctl.envs.terminal.family import Terminal
from codctl.envs.terminal.filesystem import MAX_DEPTH, Folder, Node, find
from codctl.envs.terminal.machine import MAX_NODES
from codctl.envs.terminal.rules import TOOLS, VERBS
from codctl.envs.terminal.shell import Shell

EXAMPLES = int(os.environ.get("CODCTL_FUZZ_EXAMPLES", "1200"))
LINES_PER_SHELL = 40
NAMES = (*commands_of("linux"), *commands_of("windows"), "sudo", "python3", "bash", "LS", "Rm")
FLAGS = (
    "-r",
    "-R",
    "-p",
    "-rf",
    "-czf",
    "-xzf",
    "-tf",
    "-C",
    "-d",
    "-l",
    "--",
    "-",
    "--recursive",
    "/q",
    "-p 22",
    "-e",
)
ODD = (
    "..",
    "../../../../..",
    "~",
    "~/..",
    "/",
    "//",
    ".",
    "",
    "~root",
    "C:\\",
    "D:\\x",
    "c:..",
    "\\",
    "/..",
    "é",
    "💥",
    "a" * 300,
)
# N a new name, P a path, R the remote host, T a house tool with its verb, W any word.
TEMPLATES = """mkdir N|mkdir -p N/N|touch N|cp P N|cp -r P N|cp -r N N|mv P N|mv N N|rm P|rm -rf N|chmod 700 P|cd N|cd P
cd ..|cd|ls -laR P|tar -czf N.tar.gz P|tar czf N P|tar -xzf N.tar.gz -C P|zip -r N.zip P|unzip N.zip -d N|gzip P
gzip -k N|gunzip N.gz|scp -r P R:N|scp R:N P|scp P R:|rsync -a N/ R:N|ssh R|ssh W|exit|T N P|T P N|T -p W P R:/srv/W
copy P N|move P N|del P|ren P N|type P|cat P|dir P|echo P|touch /srv/W/N|cp -r / N|mv .. N|rm -rf /|W|chmod -R u-w N"""
JOINS = (" && ", " ; ", "&&", ";", " | ", " > ", " & ", " || ", "\n", " $(", "`", " < ")
NOISE = "'\"\\ \t\x00\x1b$*?[]{}()#!%^~;&|<>=:@/.,-_aZ09é漢💥\u202e\ud800\n"


@contextmanager
def nothing_real_happens() -> Iterator[None]:
    """Fail when files, processes or sockets of the real machine are touched meanwhile."""
    touched: list[str] = []
    _WATCHERS.append(touched)
    try:
        yield
    finally:
        _WATCHERS.remove(touched)
    assert not touched, touched[:5]


_WATCHERS: list[list[str]] = []
_REAL = ("open", "os.", "subprocess.", "socket.", "shutil.", "pathlib.")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _WATCHERS and event.startswith(_REAL):
        _WATCHERS[-1].append(f"{event} {arguments}")


sys.addaudithook(_watch)


def shells(count: int) -> Iterator[tuple[Shell, list[str]]]:
    """Shells of all kinds, with words that mean something there."""
    family = Terminal()
    kinds = [(preset, variant) for preset in family.presets for variant in family.variants]
    for index in range(count):
        preset, variant = kinds[index % len(kinds)]
        slot = family.pack("test", index, 1, preset, variant).slots[0]
        site, rules = slot.task.site_in(slot.world), slot.world.rules  # type: ignore[attr-defined]
        words = [site.remote.identity.host, f"{site.remote.identity.user}@{site.remote.identity.host}"]
        for grounds in (site.local, site.remote):
            paths = [*grounds.files[:4], *grounds.folders, *grounds.scripts, grounds.bundle, grounds.identity.home]
            words += [grounds.identity.write(path) for path in paths]
        words += [f"{site.remote.identity.host}:{word}" for word in words[-6:]]
        if rules:
            words += [*rules.surface.tools, *rules.surface.ports, f"/srv/{rules.truth['drop']}", "/srv"]
            words += [f"{rules.truth[verb]} {verb}" for verb in VERBS]
            words += [f"ssh -p {rules.truth['port']} {site.remote.identity.host}"]
        yield Shell(site, rules), words


def hostile_line(rng: Random, known: list[str]) -> str:
    kind = rng.random()
    if kind < 0.1:
        return "".join(rng.choice(NOISE) for _ in range(rng.randint(0, 60)))
    if kind < 0.12:
        return rng.choice([*NAMES, *known, "'", '"', "~/", ";a"]) * rng.randint(1, 2000)
    if kind < 0.7:
        return rng.choice(JOINS[:2]).join(_likely(rng, known) for _ in range(rng.choice((1, 1, 1, 2, 3, 20))))
    if kind < 0.72:
        return "".join(chr(rng.choice([*range(1, 300), *range(0x2000, 0x2100), 0x1F600])) for _ in range(30))
    return rng.choice(JOINS[:2]).join(_command(rng, known) for _ in range(rng.choice((1, 1, 1, 2, 3, 20))))


def _likely(rng: Random, known: list[str]) -> str:
    """A command that often succeeds."""
    drawn = {"N": lambda: f"n{rng.randint(0, 4)}", "R": lambda: known[0], "W": lambda: rng.choice(known)}
    drawn |= {"P": lambda: rng.choice(known[2:]), "T": lambda: rng.choice([w for w in known if " " in w] or ["ls"])}
    words = re.split(r"\b([NPRTW])\b", rng.choice(re.split(r"[|\n]", TEMPLATES)))
    return "".join(drawn[word]() if word in drawn else word for word in words)


def _command(rng: Random, known: list[str]) -> str:
    words = [rng.choice([*NAMES, *known])]
    words += [_quoted(rng, rng.choice(_pool(rng, known))) for _ in range(rng.randint(0, 4))]
    if rng.random() < 0.05:
        words.insert(rng.randint(0, len(words)), rng.choice(JOINS))
    return " ".join(words)


def _pool(rng: Random, known: list[str]) -> list[str]:
    made = [f"n{rng.randint(0, 3)}", f"n{rng.randint(0, 3)}/n{rng.randint(0, 3)}", "n0.tar.gz", "n1.zip", "n2.gz"]
    return [rng.choice(known), rng.choice(FLAGS), rng.choice(ODD), *made, rng.choice(known) + "/" + rng.choice(ODD)]


def _quoted(rng: Random, word: str) -> str:
    return rng.choice((word, word, word, f"'{word}'", f'"{word}"', word.replace(" ", "\\ "), f"'{word}"))


def state(shell: Shell) -> tuple[Any, ...]:
    return (shell.side, *((machine.root, machine.cwd) for machine in shell.machines.values()))


def is_same(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Whether nothing at all was replaced."""
    return before[0] == after[0] and all(
        a[0] is b[0] and a[1] == b[1] for a, b in zip(before[1:], after[1:], strict=True)
    )


def run_and_check(shell: Shell, line: str) -> None:
    before = state(shell)
    ran = shell.run_line(line, 12, lambda: False)
    assert ran or not line.strip()
    assert len(ran) <= 12
    if all(one.failed for one in ran):
        assert is_same(before, state(shell)), line
    for machine in shell.machines.values():
        assert isinstance(find(machine.root, machine.cwd), Folder), line
        assert machine.root.nodes <= MAX_NODES
        assert machine.root.height <= MAX_DEPTH


def check_tree(shell: Shell) -> None:
    for side, machine in shell.machines.items():
        assert counted(machine.root) == machine.root.nodes
        original = shell.site.side(side).root
        for path in (("etc",), TOOLS):
            assert find(machine.root, path) is find(original, path) or find(machine.root, path) == find(original, path)


def counted(node: Node) -> int:
    """Nodes counted anew, looking at every name."""
    if not isinstance(node, Folder):
        return 1 + (counted(node.packed) if node.packed else 0)
    assert not {"", ".", ".."} & set(node.entries)
    assert not any("/" in name for name in node.entries)
    return 1 + sum(counted(below) for below in node.entries.values())


def test_hostile_lines_change_nothing_that_they_must_not() -> None:
    rng = Random(20260620)
    refused = changed = 0
    with nothing_real_happens():
        for shell, known in shells(max(1, EXAMPLES // LINES_PER_SHELL)):
            for _ in range(LINES_PER_SHELL):
                before = state(shell)
                line = hostile_line(rng, known)
                run_and_check(shell, line)
                changed += not is_same(before, state(shell))
            check_tree(shell)
            refused += any("refused, nothing was run" in one.output for one in shell.run_line("a | b", 1, bool))
    assert refused == max(1, EXAMPLES // LINES_PER_SHELL)
    assert changed > EXAMPLES // 20  # the fuzzer does reach the commands


def test_the_watch_over_the_real_machine_works(tmp_path: Any) -> None:
    with pytest.raises(AssertionError, match="open"), nothing_real_happens():
        (tmp_path / "x").write_text("x")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=6), st.integers(0, 7))
def test_any_text_is_answered(lines: list[str], index: int) -> None:
    family = Terminal()
    episode = family.pack("test", index, 1, "hard", family.variants[index % 2]).slots[0].begin("full")
    for line in lines:
        if not episode.done:
            step = episode.act(line)
            assert step.done or step.observation
            assert episode.unreadable == (not line.strip())
    episode.transcript()


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab/\\.~ '\"&;|", max_size=40))
def test_a_refused_line_is_told_apart_and_runs_nothing(line: str) -> None:
    shell, _ = next(shells(1))
    before = state(shell)
    ran = shell.run_line(line, 12, lambda: False)
    if "|" in line.replace("'", "").replace('"', "") and not {"'", '"', "\\"} & set(line):
        assert len(ran) == 1
        assert ran[0].output.startswith("refused, nothing was run: ")
        assert is_same(before, state(shell))
