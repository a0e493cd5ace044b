"""A site: the two machines of a task and what lies on them, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal

from codctl.envs.terminal.filesystem import File, Folder, Node, Parts, folder
from codctl.envs.terminal.machine import Identity
from codctl.envs.terminal.rules import SERVICE, TOOLS, Surface

Side = Literal["local", "remote"]
SYSTEMS = ("linux", "macos", "windows")
HOSTS = ("altair", "bellatrix", "capella", "deneb", "electra", "fomalhaut", "gienah", "hadar", "izar", "kochab", "mira")
USERS = ("anna", "boris", "chen", "dara", "emil", "fatou", "gita", "hugo", "ines", "jonas", "kofi", "lena")
FOLDERS = (
    "audio",
    "books",
    "charts",
    "docs",
    "exports",
    "forms",
    "grants",
    "invoices",
    "labs",
    "maps",
    "notes",
    "plans",
)
STEMS = (
    *("agenda", "budget", "census", "diary", "errata", "figures", "glossary", "history", "index", "journal", "keys"),
    *("ledger", "menu", "nodes", "outline", "prices", "quotes", "roster", "survey", "tables", "units", "votes"),
    *("wishes", "yields", "zones", "badges", "costs", "drafts", "events", "flights", "goals", "hours", "ideas"),
)
ENDINGS = ("txt", "csv", "md", "log", "json")
SCRIPTS = ("deploy.sh", "build.sh", "clean.sh", "sync.sh", "start.sh")
SCRIPT_MODE = 0o600
FOLDERS_EACH, FILES_EACH = 4, 3
BUNDLED = 2  # files in the archive that lies in a home folder
NEW_NAMES = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "haven", "islet", "jade", "knoll", "lotus")


@dataclass(frozen=True)
class Grounds:
    """One machine, what tasks can be about there, and its tree.

    Attributes:
        files: Plain files in the user's folders; no name occurs twice on the two machines of a site.
        folders: The user's folders, each with some files.
        scripts: Scripts in the home folder, for the owner only.
        bundle: An archive in the home folder, of the format `archive`.
        bundled: Names of the files in it.
        serial: Number from which the texts of the files are made.
        surface: What the house rules are about, if there are any.
    """

    identity: Identity
    files: tuple[Parts, ...]
    folders: tuple[Parts, ...]
    scripts: tuple[Parts, ...]
    bundle: Parts
    bundled: tuple[str, ...]
    archive: str
    serial: int
    surface: Surface | None

    @cached_property
    def root(self) -> Folder:
        """The tree, grown when the machine is first used: drawing a world costs little."""
        home: dict[str, Node] = {path[-1]: self._folder(path) for path in self.folders}
        for path in self.scripts:
            home[path[-1]] = File(f"echo {path[-1]}", SCRIPT_MODE)
        home[self.bundle[-1]] = File(archive=self.archive, packed=folder({n: self._file(n) for n in self.bundled}))
        return _root(self.identity, folder(home), self.surface)

    def _folder(self, path: Parts) -> Folder:
        return folder({file[-1]: self._file(file[-1]) for file in self.files if file[:-1] == path})

    def _file(self, name: str) -> File:
        return File(f"{name.split('.')[0]} {self.serial}")


@dataclass(frozen=True)
class Site:
    """Where tasks take place. Paths of `surface` exist on both machines; None without house rules."""

    local: Grounds
    remote: Grounds
    surface: Surface | None

    def side(self, side: Side) -> Grounds:
        return self.local if side == "local" else self.remote


def draw_site(rng: Random, surface: Surface | None) -> Site:
    """Draw machines, users and trees; with a surface also what the house rules are about."""
    system = rng.choice(SYSTEMS)
    local_host, remote_host = rng.sample(HOSTS, 2)
    local_user, remote_user = rng.choice(USERS), rng.choice(USERS)
    half = FOLDERS_EACH * FILES_EACH + BUNDLED
    stems, folders, scripts = rng.sample(STEMS, 2 * half), rng.sample(FOLDERS, 2 * FOLDERS_EACH), list(SCRIPTS)
    homes = {"linux": "home", "macos": "Users", "windows": "Users"}
    local = Identity(system, local_host, local_user, (homes[system], local_user))
    remote = Identity("linux", remote_host, remote_user, ("home", remote_user))
    archive = "house" if surface else "zip" if system == "windows" else rng.choice(("zip", "tgz"))
    return Site(
        _grounds(rng, local, folders[:FOLDERS_EACH], stems[:half], scripts[:2], archive, surface),
        _grounds(rng, remote, folders[FOLDERS_EACH:], stems[half:], scripts[2:], archive, surface),
        surface,
    )


def _grounds(
    rng: Random,
    identity: Identity,
    folders: list[str],
    stems: list[str],
    scripts: list[str],
    archive: str,
    surface: Surface | None,
) -> Grounds:
    endings = rng.choices(ENDINGS, k=len(stems))
    names = [f"{stem}.{ending}" for stem, ending in zip(stems, endings, strict=True)]
    home = identity.home
    return Grounds(
        identity,
        tuple((*home, folders[i // FILES_EACH], name) for i, name in enumerate(names[:-BUNDLED])),
        tuple((*home, name) for name in folders),
        tuple((*home, script) for script in scripts),
        (*home, "bundle" + suffix(archive)),
        tuple(names[-BUNDLED:]),
        archive,
        rng.randrange(1000, 10000),
        surface,
    )


def _root(identity: Identity, home: Folder, surface: Surface | None) -> Folder:
    host = folder({"hostname": File(identity.host, system=True)}, system=True)
    top: dict[str, Node] = {
        identity.home[0]: folder({identity.home[1]: home}, system=True),
        "etc": host,
        "tmp": folder(mode=0o777, system=True),
    }
    if surface:
        tools = folder({name: File("tool", 0o755, system=True) for name in surface.tools}, system=True)
        top[TOOLS[0]] = folder({TOOLS[1]: tools}, system=True)
        top[SERVICE] = folder({name: folder() for name in surface.drops}, system=True)
    return folder(top, system=True)


def suffix(archive: str) -> str:
    """How the name of an archive of this format ends."""
    return {"tar": ".tar", "tgz": ".tar.gz", "zip": ".zip", "gz": ".gz", "house": ".pak"}[archive]
