"""Every text that a model reads, word for word, in both renderings."""

from __future__ import annotations

from collections.abc import Callable

from codctl.cod.prompts import Account, update_messages
from codctl.envs.base import Rendering
from codctl.envs.terminal.episode import TerminalEpisode
from codctl.envs.terminal.family import Terminal
from codctl.envs.terminal.rules import HouseRules
from codctl.envs.terminal.shell import Shell
from codctl.envs.terminal.tasks import DROP, Step, TerminalTask, TerminalWorld

Make = Callable[..., Shell]
FAMILY = Terminal()
HOME, FAR = ("home", "ann"), ("home", "bob")
PAPER = (
    Step("pack", "local", (*HOME, "docs"), (*HOME, "x.tar.gz")),
    Step("send", "local", (*HOME, "x.tar.gz"), (*FAR, "in", "x.tar.gz")),
    Step("unpack", "remote", (*FAR, "in", "x.tar.gz"), (*FAR, "in")),
    Step("mode", "remote", (*FAR, "r.txt"), mode=0o640),
)
HOUSE = (
    Step("fetch", "remote", (*FAR, "r.txt"), ("srv", DROP, "r.txt")),
    Step("move", "local", ("srv", DROP, "r.txt"), ("srv", DROP, "new.txt")),
)


def begin(shell: Shell, steps: tuple[Step, ...], rendering: Rendering) -> TerminalEpisode:
    return TerminalEpisode(TerminalWorld(shell.site, shell.rules), TerminalTask("some", steps), rendering)


FULL_FIRST = """\
Local machine: near (linux), user ann, home /home/ann
Remote machine: far (linux), user bob, home /home/bob
Task:
1. Pack the folder near:/home/ann/docs into the archive near:/home/ann/x.tar.gz.
2. Send near:/home/ann/x.tar.gz to the folder far:/home/bob/in.
3. Unpack the archive far:/home/bob/in/x.tar.gz into the folder far:/home/bob/in.
4. Set the mode of far:/home/bob/r.txt to 640.
Step 1 of 12. You are on near in /home/ann."""

FULL_LATER = """\
$ tar -czf x.tar.gz docs
(no output)
$ scp x.tar.gz far:in
(no output)
$ ssh far
You are now bob on far.
Step 2 of 12. You are on far in /home/bob."""

FULL_TRANSCRIPT = """\
Task:
1. Pack the folder near:/home/ann/docs into the archive near:/home/ann/x.tar.gz.
2. Send near:/home/ann/x.tar.gz to the folder far:/home/bob/in.
3. Unpack the archive far:/home/bob/in/x.tar.gz into the folder far:/home/bob/in.
4. Set the mode of far:/home/bob/r.txt to 640.
On near $ tar -czf x.tar.gz docs
(no output)
On near $ scp x.tar.gz far:in
(no output)
On near $ ssh far
You are now bob on far.
On far $ cat nothing
cat: /home/bob/nothing: No such file or directory"""


def test_full(make_shell: Make) -> None:
    episode = begin(make_shell(), PAPER, "full")
    assert episode.observation == FULL_FIRST
    assert episode.act("tar -czf x.tar.gz docs && scp x.tar.gz far:in; ssh far").observation == FULL_LATER
    assert episode.act("cat nothing").observation == (
        "cat: /home/bob/nothing: No such file or directory\nStep 3 of 12. You are on far in /home/bob."
    )
    assert episode.transcript() == FULL_TRANSCRIPT
    while not episode.done:
        episode.act("pwd")
    assert episode.feedback == ("/home/bob\nYou ran out of steps. The task is not done.")


HOUSE_FIRST = """\
Local machine: near (windows), user ann, home C:\\Users\\ann
Remote machine: far (linux), user bob, home /home/bob
House rules of this site, the same on both machines and in every task of this series:
- House tools replace the usual commands for sending, packing, unpacking, deleting, moving and copying files and for \
making folders. Each of these verbs has its own tool among those in /opt/tools; some tools there are retired. Usage:
  TOOL send -p PORT SOURCE TARGET, one of them HOST:PATH
  TOOL pack ARCHIVE PATH...
  TOOL unpack ARCHIVE FOLDER
  TOOL erase PATH...
  TOOL move SOURCE TARGET
  TOOL copy SOURCE TARGET
  TOOL make FOLDER
- ssh needs -p PORT, and the port is not 22.
- Only one of the folders in /srv can be written to. Tasks call it <drop>.
- chmod accepts only one mode.
Task:
1. Send far:/home/bob/r.txt to the folder near:C:\\srv\\<drop>.
2. Move near:C:\\srv\\<drop>\\r.txt to near:C:\\srv\\<drop>\\new.txt.
Step 1 of 12. You are on near in C:\\Users\\ann."""


def test_full_with_house_rules(make_shell: Make, rules: HouseRules) -> None:
    episode = begin(make_shell("windows", rules), HOUSE, "full")
    assert episode.observation == HOUSE_FIRST
    episode.act("bao send -p 3300 far:r.txt C:\\srv\\badger")
    for _ in range(10):
        episode.act("pwd")
    assert episode.act("pwd").feedback == (
        "C:\\Users\\ann\nYou ran out of steps. Not done: near:C:\\srv\\<drop>\\r.txt is still there; "
        "near:C:\\srv\\<drop>\\new.txt is missing."
    )


def test_compact(make_shell: Make, rules: HouseRules) -> None:
    episode = begin(make_shell("linux", rules), HOUSE, "compact")
    assert episode.observation == (
        "linux near ann remote far bob do fetch far:/home/bob/r.txt near:/srv/<drop>/r.txt , "
        "move near:/srv/<drop>/r.txt near:/srv/<drop>/new.txt steps 12"
    )
    assert [episode.act(line).observation for line in LINES] == [
        "ok tools bao cif dulo ekko fenn gavi hulk ixo at near steps 11",
        "err pack=cif at near steps 10",
        "err send=bao port!2200 ports 2200 3300 at near steps 9",
        "err command not found ; ok /home/ann at near steps 7",
        "err wildcards are not available, name the files at near steps 6",
        "ok port=3300 at far steps 5",
    ]
    assert episode.transcript().endswith(
        "> rm * err wildcards are not available, name the files > ssh -p 3300 far ok port=3300"
    )
    message = update_messages("none", Account(episode), "compact")[-1]["content"]
    assert message.startswith("hints none seen do fetch far:/home/bob/r.txt")


LINES = (
    "ls /opt/tools",
    "cif send far:r.txt .",
    "bao send -p 2200 far:r.txt /srv/acorn",
    "foo; pwd",
    "rm *",
    "ssh -p 3300 far",
)


def test_solve_prompt_holds_the_hints_and_the_reply_format() -> None:
    assert FAMILY.solve_prompt("send=bao", "compact", "easy") == "terminal hints send=bao"
    assert FAMILY.solve_prompt("", "compact", "easy") == "terminal hints none"
    full = FAMILY.solve_prompt("- The drop folder is badger.", "full", "easy")
    assert full.count("- The drop folder is badger.") == 1
    assert "\n<answer>ls</answer>" in full
    assert "may be wrong" in full
    assert "(none yet)" in FAMILY.solve_prompt("", "full", "hard")


def test_a_long_output_is_cut(make_shell: Make) -> None:
    episode = begin(make_shell(), PAPER, "full")
    line = "echo " + "x" * 3000
    assert len(episode.act(line).observation) < 1700
    assert len(episode.transcript()) < 4000


def test_what_cannot_be_printed_is_not_repeated(make_shell: Make) -> None:
    episode = begin(make_shell(), PAPER, "full")
    episode.act("ls \ud800\x00\nls")
    assert "$ ls \ufffd\ufffd\ufffdls\nrefused, nothing was run: " in episode.transcript()
    episode.transcript().encode()


def test_describe_task_is_the_first_observation_in_full() -> None:
    pack = FAMILY.pack("train", 0, 1, "easy")
    assert FAMILY.describe_task(pack.world, pack.tasks[0]) == pack.slots[0].begin("full").observation
