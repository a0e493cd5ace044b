"""The credit of a stored rollout step as a table: pack × position × rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codctl.cod.trajectory import read_parquet
from codctl.errors import UsageError

_MOST_NAMES = 6


@dataclass(frozen=True)
class Entry:
    """The credit of one episode. `hint` is what a solve read, or what an update wrote."""

    pack: str
    position: int
    kind: str
    rollout: int
    reward: float
    # Named as in the stored rows.
    episode_return: float | None
    baseline: float | None
    advantage: float | None
    hint: str


@dataclass(frozen=True)
class Ledger:
    """One stored step."""

    step: int
    path: Path
    packs: tuple[str, ...]
    entries: tuple[Entry, ...]

    def as_dict(self) -> dict[str, Any]:
        episodes = [asdict(entry) for entry in self.entries]
        for episode in episodes:
            episode["return"] = episode.pop("episode_return")
        return {"step": self.step, "path": str(self.path), "packs": list(self.packs), "episodes": episodes}


def read_ledger(run: Path, *, step: int | None = None, pack: str | None = None) -> Ledger:
    """Read the credit of a run's stored rollouts.

    Args:
        run: The run's folder.
        step: Which stored step; the last by default.
        pack: Only this pack: its id, or its number.

    Raises:
        UsageError: Nothing was stored, or not this step or pack.
    """
    stored = {int(path.stem.removeprefix("step-")): path for path in _folder(run).glob("step-*.parquet")}
    if not stored:
        raise UsageError("the run has stored no rollouts yet", where=str(_folder(run)), hint="codctl runs list")
    chosen = max(stored) if step is None else step
    if chosen not in stored:
        known = _listed([str(number) for number in sorted(stored)])
        raise UsageError(f"no rollouts were stored for step {chosen}; stored: {known}", where=str(_folder(run)))
    rows = read_parquet(stored[chosen])
    packs = tuple(dict.fromkeys(str(row["pack"]) for row in rows))
    if pack is not None:
        wanted = [name for name in packs if name == pack or name.rpartition("/")[2] == pack]
        if not wanted:
            raise UsageError(f"step {chosen} has no pack {pack!r}; it has {_listed(packs)}", where=str(stored[chosen]))
        rows = [row for row in rows if row["pack"] in wanted]
    order = {name: number for number, name in enumerate(packs)}
    kinds = {"solve": 0, "update": 1}
    entries = [_entry(row) for row in rows]
    entries.sort(key=lambda e: (order[e.pack], e.position, kinds.get(e.kind, 2), e.rollout))
    return Ledger(chosen, stored[chosen], packs, tuple(entries))


def _listed(names: Sequence[str]) -> str:
    """A few names; of more, both ends and how many there are."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:3])}, …, {names[-1]} ({len(names)} in all)"


def _folder(run: Path) -> Path:
    return run / "stages" / "cod_train" / "rollouts"


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        pack=row["pack"],
        position=row["position"],
        kind=row["kind"],
        rollout=row["rollout"],
        reward=row["shaped_reward"],
        episode_return=row.get("return"),
        baseline=row.get("baseline"),
        advantage=row.get("advantage"),
        hint=row["hints"],
    )
