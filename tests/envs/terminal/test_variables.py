"""Variables in command lines: expanded as published, refused under house rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codctl.envs.terminal.rules import HouseRules
from codctl.envs.terminal.shell import Shell

Make = Callable[..., Shell]


def said(shell: Shell, line: str) -> str:
    return "\n".join(ran.output for ran in shell.run_line(line, 12, lambda: False))


@pytest.mark.parametrize(
    ("system", "line", "output"),
    [
        ("linux", "echo $HOME ${USER}x '$USER'", "/home/ann annx ann"),
        ("linux", "cd docs; cat $HOME/a.txt", "\nay"),
        ("macos", "echo $HOME", "/Users/ann"),
        ("windows", "echo %USERNAME% %USERPROFILE%\\docs", "ann C:\\Users\\ann\\docs"),
        ("windows", "type %USERPROFILE%\\a.txt", "ay"),
        ("linux", "echo %USERNAME%", "%USERNAME%"),
        ("linux", "echo $NOTHING", "refused, nothing was run: variables and substitutions are not available"),
        ("linux", "echo $(whoami)", "refused, nothing was run: variables and substitutions are not available"),
        ("windows", "echo $HOME", "refused, nothing was run: variables and substitutions are not available"),
    ],
)
def test_as_published(make_shell: Make, system: str, line: str, output: str) -> None:
    assert said(make_shell(system), line) == output


def test_the_machine_that_one_is_on_counts(make_shell: Make) -> None:
    shell = make_shell("windows")
    said(shell, "ssh far")
    assert said(shell, "cd in; pwd") == "\n/home/bob/in"
    assert said(shell, "echo $USER $PWD") == "bob /home/bob/in"


def test_not_under_house_rules(make_shell: Make, rules: HouseRules) -> None:
    assert said(make_shell("linux", rules), "echo $HOME").startswith("refused, nothing was run: variables")
