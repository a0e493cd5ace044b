"""What each command does, on each system."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codctl.envs.terminal.filesystem import File, Folder, find
from codctl.envs.terminal.machine import MAX_NODES
from codctl.envs.terminal.shell import Shell

Make = Callable[..., Shell]


def last(shell: Shell, line: str) -> str:
    """The output of the last command of a line."""
    return shell.run_line(line, 12, lambda: False)[-1].output


def tree(shell: Shell, side: str = "local") -> dict[str, str]:
    """The user's files: path below the home folder → text, or mark of an archive or a folder."""
    found: dict[str, str] = {}

    def walk(node: File | Folder, path: str) -> None:
        if isinstance(node, File):
            found[path] = f"<{node.archive}>" if node.archive else node.text
        elif not node.entries:
            found[path] = "<folder>"
        else:
            for name, below in node.entries.items():
                walk(below, f"{path}/{name}".lstrip("/"))

    machine = shell.machines[side]  # type: ignore[index]
    home = find(machine.root, machine.identity.home)
    assert home is not None
    walk(home, "")
    return found


LOCAL = {"a.txt": "ay", "secret.txt": "hush", "docs/b.txt": "bee", "docs/c.txt": "sea"}
REMOTE = {"r.txt": "are", "in/d.txt": "dee"}

OUTPUTS = [
    ("ls", "a.txt\ndocs/\nsecret.txt"),
    ("ls -a docs", "b.txt\nc.txt"),
    ("ls -l a.txt", "-rw-r--r-- ann 2 a.txt"),
    ("ls docs a.txt", "{home}/docs:\nb.txt\nc.txt\na.txt"),
    ("ls -R docs", "{home}/docs:\nb.txt\nc.txt"),
    ("ls ..", "ann/"),
    ("ls /", "etc/\n{top}/\nopt/\nsrv/\ntmp/"),
    ("ls ../../../../../..", "etc/\n{top}/\nopt/\nsrv/\ntmp/"),
    ("ls nothing", "ls: {home}/nothing: No such file or directory"),
    ("ls -y", "ls: invalid option -- 'y'"),
    ("ls --wide", "ls: unrecognized option '--wide'"),
    ("cd docs && pwd", "{home}/docs"),
    ("cd docs; cd ..; pwd", "{home}"),
    ("cd /etc; cd; pwd", "{home}"),
    ("cd ~/docs; pwd", "{home}/docs"),
    ("cd a.txt", "cd: {home}/a.txt: Not a directory"),
    ("cd a b", "cd: usage: cd [FOLDER]"),
    ("cat a.txt docs/b.txt", "ay\nbee"),
    ("cat docs", "cat: {home}/docs: Is a directory"),
    ("cat secret.txt", "cat: {home}/secret.txt: Permission denied"),
    ("cat", "cat: usage: cat FILE..."),
    ("echo 'a  b' \"c;d\" e", "a  b c;d e"),
    ("whoami", "ann"),
    ("mkdir docs", "mkdir: cannot create directory '{home}/docs': File exists"),
    ("mkdir x/y", "mkdir: {home}/x: No such file or directory"),
    ("mkdir /etc/x", "mkdir: {root}etc/x: Permission denied"),
    ("mkdir a.txt/x", "mkdir: {home}/a.txt: Not a directory"),
    ("cp docs x", "cp: {home}/docs: Is a directory, which needs -r"),
    ("cp a.txt", "cp: usage: cp [-r] SOURCE... TARGET"),
    ("cp a.txt nowhere/", "cp: {home}/nowhere: No such directory"),
    ("cp a.txt docs/b.txt nowhere", "cp: nowhere: No such directory"),
    ("cp -r docs docs/in", "cp: {home}/docs/in: is the source or inside it"),
    ("mv docs docs/in", "mv: {home}/docs/in: is the source or inside it"),
    ("mv a.txt docs", ""),
    ("rm docs", "rm: {home}/docs: Is a directory"),
    ("rm nothing", "rm: {home}/nothing: No such file or directory"),
    ("rm -f nothing", ""),
    ("rm -rf /etc", "rm: {root}etc: Permission denied"),
    ("rm -rf /", "rm: {root}: refused, it is the root"),
    ("rm -r ~", "rm: {home}: Permission denied"),
    ("cd docs; rm -r ../docs", "rm: {home}/docs: refused, you are in it"),
    ("exit", "exit: this is the local machine; there is no session to leave"),
    ("ssh nova", "ssh: Could not resolve hostname nova: no such host is reachable from here"),
    ("ssh eve@far", "ssh: eve@far: Permission denied; your user there is bob"),
    ("ssh -p 99 far", "ssh: port 99: Connection refused"),
    ("ssh far ls", "ssh: usage: ssh [-p PORT] [USER@]HOST (no command: it opens a session)"),
    ("ssh -p", "ssh: option requires an argument -- 'p'"),
    ("ssh far && whoami", "bob"),
    ("ssh bob@far; ls; exit", "Connection to far closed."),
    ("ssh far; ssh near", "ssh: Could not resolve hostname near: no such host is reachable from here"),
    ("ssh far; scp r.txt near:", "scp: Could not resolve hostname near: no such host is reachable from here"),
    ("ssh far; dir", "dir: command not found"),
    ("scp a.txt docs", "scp: exactly one side must be remote: HOST:PATH"),
    ("scp far:r.txt far:x", "scp: exactly one side must be remote: HOST:PATH"),
    ("scp docs far:", "scp: docs: Is a directory, which needs -r"),
    ("scp far:nothing .", "scp: /home/bob/nothing: No such file or directory"),
    ("scp a.txt far:/etc/", "scp: /etc/a.txt: Permission denied"),
    ("unzip a.txt", "unzip: {home}/a.txt: not a zip archive"),
    ("zip x.zip docs", "zip: a folder needs -r"),
    ("zip -r docs.zip docs && unzip -l docs.zip", "docs/b.txt\ndocs/c.txt"),
    ("sudo ls", "sudo: {unknown}"),
    ("cat a.txt && whoami && cat nothing && echo no", "cat: {home}/nothing: No such file or directory"),
    ("cat nothing; echo yes", "yes"),
]


@pytest.mark.parametrize("system", ["linux", "macos", "windows"])
@pytest.mark.parametrize(("line", "output"), OUTPUTS)
def test_output(make_shell: Make, system: str, line: str, output: str) -> None:
    shell = make_shell(system)
    top = "home" if system == "linux" else "Users"
    expected = output.format(
        home=f"/{top}/ann",
        top=top,
        root="/",
        unknown="not recognized as an internal or external command" if system == "windows" else "command not found",
    )
    if system == "windows":
        expected = _windows_paths(expected)
    # Sorted: where the home folder's own folder stands in a listing of the root differs by system.
    assert sorted(last(shell, line).splitlines()) == sorted(expected.splitlines())


def _windows_paths(text: str) -> str:
    """Local paths as Windows writes them."""
    words = text.split(" ")
    for i, word in enumerate(words):
        lines = word.split("\n")
        for j, line in enumerate(lines):
            bare = line.lstrip("'")
            if bare.startswith(("/Users", "/etc", "/:")) and not text.startswith("scp"):
                lines[j] = line.replace("/", "C:\\", 1).replace("/", "\\")
        words[i] = "\n".join(lines)
    return " ".join(words)


CHANGES = [
    ("mkdir x", {"x": "<folder>"}),
    ("mkdir -p x/y/z && mkdir -p x", {"x/y/z": "<folder>"}),
    ("cp a.txt b.txt", {"b.txt": "ay"}),
    ("cp a.txt docs", {"docs/a.txt": "ay"}),
    ("cp a.txt docs/b.txt docs/c.txt", {}),
    ("cp a.txt docs/c.txt", {"docs/c.txt": "ay"}),
    ("cp -r docs x", {"x/b.txt": "bee", "x/c.txt": "sea"}),
    ("mkdir x; cp -r docs x; cp -r docs x", {"x/docs/b.txt": "bee", "x/docs/c.txt": "sea"}),
    ("mv a.txt x.txt", {"a.txt": None, "x.txt": "ay"}),
    ("mv a.txt docs/b.txt x", {}),
    ("mkdir x; mv a.txt docs x", {"a.txt": None, "docs/b.txt": None, "docs/c.txt": None, "x/a.txt": "ay",
                                  "x/docs/b.txt": "bee", "x/docs/c.txt": "sea"}),
    ("mv docs a.txt", {}),
    ("mv a.txt docs/b.txt", {"a.txt": None, "docs/b.txt": "ay"}),
    ("rm a.txt", {"a.txt": None}),
    ("rm a.txt nothing", {}),
    ("rm -r docs", {"docs/b.txt": None, "docs/c.txt": None}),
    ("zip -r d.zip docs; rm -r docs; unzip d.zip", {"d.zip": "<zip>"}),
    ("zip -r d docs a.txt; unzip d.zip -d x", {"d.zip": "<zip>", "x/a.txt": "ay", "x/docs/b.txt": "bee",
                                               "x/docs/c.txt": "sea"}),
    ("scp far:r.txt .", {"r.txt": "are"}),
    ("scp far:in/d.txt bob@far:r.txt docs", {"docs/d.txt": "dee", "docs/r.txt": "are"}),
    ("scp -r far:in x", {"x/d.txt": "dee"}),
    ("scp far:~/r.txt x.txt", {"x.txt": "are"}),
    ("scp far:r.txt docs/none/", {}),
]  # fmt: skip
UNIX = [
    ("touch x a.txt", {"x": ""}),
    ("tar -czf d.tar.gz docs; rm -r docs; tar xzf d.tar.gz", {"d.tar.gz": "<tgz>"}),
    ("tar -cf d.tar -C docs b.txt; mkdir x; tar -xf d.tar -C x", {"d.tar": "<tar>", "x/b.txt": "bee"}),
    ("tar -cf d.tar a.txt; gzip d.tar; rm a.txt; tar -xzf d.tar.gz", {"d.tar.gz": "<tgz>"}),
    ("tar -czf d.tar.gz a.txt; gunzip d.tar.gz", {"d.tar": "<tar>"}),
    ("tar -xzf a.txt", {}),
    ("tar -czf d.tar.gz nothing", {}),
    ("gzip a.txt", {"a.txt": None, "a.txt.gz": "<gz>"}),
    ("gzip -k a.txt; rm a.txt; gunzip a.txt.gz", {}),
    ("gzip a.txt; gzip -d a.txt.gz", {}),
    ("gunzip a.txt", {}),
    ("rsync -av far:in .", {"in/d.txt": "dee"}),
    ("rsync -av far:in/ x", {"x/d.txt": "dee"}),
    ("rsync far:in .", {}),
]
WINDOWS = [
    ("copy a.txt docs", {"docs/a.txt": "ay"}),
    ("copy /y a.txt docs\\b.txt", {"docs/b.txt": "ay"}),
    ("COPY docs x", {}),
    ("move C:\\Users\\ann\\a.txt x.txt", {"a.txt": None, "x.txt": "ay"}),
    ("del /q a.txt", {"a.txt": None}),
    ("del docs", {}),
    ("ren a.txt x.txt", {"a.txt": None, "x.txt": "ay"}),
    ("ren a.txt docs\\x.txt", {}),
    ("ren docs\\b.txt c.txt", {}),
]


@pytest.mark.parametrize(
    ("system", "line", "change"),
    [
        *((system, *case) for system in ("linux", "windows") for case in CHANGES),
        *((system, *case) for system in ("linux", "macos") for case in UNIX),
        *(("windows", *case) for case in WINDOWS),
    ],
)
def test_change(make_shell: Make, system: str, line: str, change: dict[str, str | None]) -> None:
    shell = make_shell(system)
    last(shell, line)
    expected = {path: text for path, text in {**LOCAL, **change}.items() if text is not None}
    assert (tree(shell), tree(shell, "remote")) == (expected, REMOTE)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("scp a.txt far:", {"a.txt": "ay"}),
        ("scp a.txt docs/b.txt bob@far:in", {"in/a.txt": "ay", "in/b.txt": "bee"}),
        ("scp -r docs far:/home/bob/x", {"x/b.txt": "bee", "x/c.txt": "sea"}),
        ("scp a.txt far:r.txt", {"r.txt": "ay"}),
        ("scp a.txt far:in/none/x", {}),
        ("ssh far; mkdir y; cd y; touch z", {"y/z": ""}),
        ("ssh far; mv r.txt in; exit; scp a.txt far:in", {"r.txt": None, "in/r.txt": "are", "in/a.txt": "ay"}),
    ],
)
@pytest.mark.parametrize("system", ["linux", "windows"])
def test_change_of_the_remote_machine(make_shell: Make, system: str, line: str, change: dict[str, str | None]) -> None:
    shell = make_shell(system)
    last(shell, line)
    assert tree(shell, "remote") == {p: text for p, text in {**REMOTE, **change}.items() if text is not None}
    assert tree(shell) == LOCAL


@pytest.mark.parametrize("name", ["chmod", "touch", "rsync", "tar", "gzip", "gunzip"])
def test_missing_on_windows(make_shell: Make, name: str) -> None:
    assert last(make_shell("windows"), name) == f"{name}: not recognized as an internal or external command"
    assert "usage" in last(make_shell("linux"), name)


@pytest.mark.parametrize("name", ["dir", "type", "copy", "move", "del", "ren"])
def test_only_on_windows(make_shell: Make, name: str) -> None:
    assert last(make_shell("macos"), name) == f"{name}: command not found"
    assert "not recognized" not in last(make_shell("windows"), name)


def test_dir_and_type(make_shell: Make) -> None:
    shell = make_shell("windows")
    assert last(shell, "dir C:\\Users\\ann\\docs") == "b.txt\nc.txt"
    assert last(shell, "type docs\\b.txt") == "bee"
    assert last(shell, "cd D:\\x") == "cd: D:\\x: there is no such drive"
    assert last(shell, "cd docs && pwd") == "C:\\Users\\ann\\docs"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("755", 0o755),
        ("0600", 0o600),
        ("u+x", 0o744),
        ("+x", 0o755),
        ("go-r,u=rwx", 0o700),
        ("a=r", 0o444),
        ("o=", 0o640),
    ],
)
def test_chmod(make_shell: Make, mode: str, expected: int) -> None:
    shell = make_shell()
    assert last(shell, f"chmod {mode} a.txt") == ""
    file = shell.here.find(shell.here.path("a.txt"))
    assert file is not None
    assert file.mode == expected


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("chmod 9 a.txt", "chmod: invalid mode: '9'"),
        ("chmod 755", "chmod: usage: chmod [-R] MODE PATH..."),
        ("chmod 755 /etc/hostname", "chmod: /etc/hostname: Operation not permitted"),
        ("chmod 755 /", "chmod: /: Operation not permitted"),
        ("chmod -R 500 docs && touch docs/x", "touch: /home/ann/docs/x: Permission denied"),
        ("chmod -R 000 docs; cat docs/b.txt", "cat: /home/ann/docs/b.txt: Permission denied"),
        ("chmod 400 docs; rm docs/b.txt", "rm: /home/ann/docs/b.txt: Permission denied"),
        ("chmod 644 secret.txt; cat secret.txt", "hush"),
    ],
)
def test_permissions(make_shell: Make, line: str, output: str) -> None:
    assert last(make_shell(), line) == output


def test_copies_of_system_files_belong_to_the_user(make_shell: Make) -> None:
    assert last(make_shell(), "cp /etc/hostname . && chmod 600 hostname && cat hostname") == "near"


def test_the_disk_is_finite(make_shell: Make) -> None:
    shell = make_shell()
    outputs = [last(shell, "mkdir x && cp -r docs x/a && cp -r docs x/b && rm -r docs && mv x docs") for _ in range(30)]
    assert "No space left on device" in "".join(outputs)
    assert shell.here.root.nodes <= MAX_NODES


def test_a_deep_tree_ends_somewhere(make_shell: Make) -> None:
    shell = make_shell()
    assert "File name too long" in last(shell, "mkdir -p " + "x/" * 60)
    for _ in range(60):
        last(shell, "mkdir x; mv docs x; mv x docs")
    assert shell.here.root.height <= 40
