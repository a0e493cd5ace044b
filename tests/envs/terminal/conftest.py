"""Small machines to try commands on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codctl.envs.terminal.filesystem import File, Folder, Parts, folder
from codctl.envs.terminal.machine import Identity
from codctl.envs.terminal.rules import HouseRules, Surface
from codctl.envs.terminal.shell import Shell
from codctl.envs.terminal.sites import Grounds, Site

SURFACE = Surface(
    tools=("bao", "cif", "dulo", "ekko", "fenn", "gavi", "hulk", "ixo"),
    ports=("2200", "3300"),
    drops=("acorn", "badger"),
    modes=("700", "750"),
)
RULES = HouseRules(SURFACE, ("bao", "cif", "dulo", "ekko", "fenn", "gavi", "hulk", "3300", "badger", "750"))


def _root(identity: Identity, home: dict[str, File | Folder]) -> Folder:
    tools = folder({name: File("tool", 0o755, system=True) for name in SURFACE.tools}, system=True)
    return folder(
        {
            identity.home[0]: folder({identity.home[1]: folder(home)}, system=True),
            "etc": folder({"hostname": File(identity.host, system=True)}, system=True),
            "tmp": folder(mode=0o777, system=True),
            "opt": folder({"tools": tools}, system=True),
            "srv": folder({name: folder() for name in SURFACE.drops}, system=True),
        },
        system=True,
    )


def _grounds(identity: Identity, home: dict[str, File | Folder]) -> Grounds:
    files: tuple[Parts, ...] = ((*identity.home, "a.txt"),)
    grounds = Grounds(identity, files, (), (), (*identity.home, "bundle.pak"), (), "house", 0, None)
    grounds.__dict__["root"] = _root(identity, home)  # in place of the tree that it would grow
    return grounds


@pytest.fixture
def make_shell() -> Callable[..., Shell]:
    """A session at a machine of the given system; home holds a.txt, secret.txt (unreadable) and docs with b.txt."""

    def make(system: str = "linux", rules: HouseRules | None = None) -> Shell:
        local = Identity(system, "near", "ann", ("Users" if system != "linux" else "home", "ann"))
        remote = Identity("linux", "far", "bob", ("home", "bob"))
        docs = folder({"b.txt": File("bee"), "c.txt": File("sea")})
        home: dict[str, File | Folder] = {"a.txt": File("ay"), "secret.txt": File("hush", 0o000), "docs": docs}
        return Shell(
            Site(
                _grounds(local, home),
                _grounds(remote, {"r.txt": File("are"), "in": folder({"d.txt": File("dee")})}),
                SURFACE if rules else None,
            ),
            rules,
        )

    return make


@pytest.fixture
def rules() -> HouseRules:
    return RULES
