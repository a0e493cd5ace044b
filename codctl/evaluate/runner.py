"""Plays every arm of an evaluation, and the reference policies, on the same held-out packs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from codctl.cod.arms import arm_class, play_order
from codctl.cod.attempt import Performer
from codctl.cod.context import Revision
from codctl.cod.references import cheapest_rendering, families_of, reference_player, references
from codctl.cod.rollout import Hints, Player
from codctl.cod.strategies import draw_pack, strategy_of
from codctl.config.evalspec import EvalSpec
from codctl.engines.play_each import Done, play_each
from codctl.envs.base import Episode, Pack
from codctl.envs.registry import family_of
from codctl.evaluate.watched import Watch
from codctl.results.journal import Journal, MemoryJournal, Record, Unit
from codctl.results.rows import Row, row_of
from codctl.results.summary import Summary, summarise
from codctl.results.transcript import CANDIDATES, packed, tell, transcribe

Report = Callable[[str, int, int, dict[str, float]], None]
_SHOWN = 8  # positions


@dataclass
class Tally:
    """Counts tasks and keeps the newest means of each arm.

    Attributes:
        report: Called with the arm, tasks done, tasks in all, and the means.
        total: Tasks in all.
        done: Tasks done.
        is_silent: Whether it only counts.
    """

    report: Report
    total: int = 0
    done: int = 0
    is_silent: bool = False
    _sums: dict[str, dict[int, list[float]]] = field(default_factory=dict)  # arm → position → sum and count
    _read: dict[str, list[bool]] = field(default_factory=dict)  # arm → of each task, whether its replies could be read

    def be_silent(self) -> None:
        """Only count from now on."""
        self.is_silent = True

    def announce(self) -> None:
        """Say how far it is before anything more is played."""
        self.is_silent = False
        self.report("", self.done, self.total, {})

    def task_is_done(self, arm: str) -> None:
        self.done += 1
        if not self.is_silent:
            self.report(arm, self.done, self.total, self._means(arm))

    def trajectory_is_done(self, arm: str, rows: Sequence[Row], *, is_reference: bool) -> None:
        """Its last task is done. A reference policy is not whom one watches: its success is not shown."""
        for row in rows if not is_reference else ():
            self._read.setdefault(arm, []).append(not row.format_error)
            if row.success is not None:
                mean = self._sums.setdefault(arm, {}).setdefault(row.position, [0.0, 0.0])
                mean[0] += row.success
                mean[1] += 1
        self.task_is_done(arm)

    def _means(self, arm: str) -> dict[str, float]:
        sums, read = self._sums.get(arm, {}), self._read.get(arm, [])
        positions = sorted(sums)
        shown = positions[:: max(1, -(-len(positions) // _SHOWN))]
        means = {f"success/position_{p}": sums[p][0] / sums[p][1] for p in shown}
        return means | ({"unreadable": 1 - sum(read) / len(read)} if read else {})


@dataclass(frozen=True)
class CountedHints:
    """The hints of an arm. That they are asked for at a position says that the task before it is done."""

    hints: Hints
    tally: Tally
    arm: str

    @property
    def updates(self) -> bool:
        return self.hints.updates

    def at(self, pack: Pack, position: int, own: Revision, past: Sequence[Episode]) -> str:
        if position:
            self.tally.task_is_done(self.arm)
        return self.hints.at(pack, position, own, past)


AT_ONCE = 512  # trajectories that are alive together, and packs that are in memory
STORED_PACKS = 1000  # as `tracking.trajectory_packs`
SCRIPTED_AT_ONCE = 8  # a policy never waits, so that more at once would only keep Ctrl-C waiting


def evaluate(player: Player, spec: EvalSpec, report: Report, journal: Journal | None = None) -> Summary:
    """Play an evaluation to its end and sum it up. What a killed one had played whole is not played again.

    Args:
        player: Model or policy with its engine; its `hints` and `seed` are replaced by each arm's.
        spec: What to play.
        report: Called with the arm, tasks done, tasks in all, and the newest means.
        journal: Where what was played is kept; in memory by default.
    """
    journal = journal or MemoryJournal()
    asyncio.run(play(player, spec, journal, report, whole_legs=True))
    return summarise(spec, journal)


async def play(
    player: Player,
    spec: EvalSpec,
    journal: Journal,
    report: Report,
    *,
    at_once: int = AT_ONCE,
    processes: int = 1,
    retries_failed: bool = False,
    whole_legs: bool = False,
    stored_packs: int = STORED_PACKS,
    watch: Watch | None = None,
    begin: Callable[[str], None] = lambda arms: None,
) -> None:
    """Play what the journal does not hold yet.

    Packs come in blocks of at most AT_ONCE and each arm plays a whole block, so that memory does not grow with the
    number of packs. What is played does not depend on what was played before: a model that is batched with others, or
    with fewer of them after a resume, may still differ in the last bits of its logits.

    Args:
        player: Model or policy with its engine.
        spec: What to play.
        journal: What was played, and where the rest is kept.
        report: See `evaluate`.
        at_once: Trajectories that are alive together.
        processes: In which they are played (`engines.play_each`).
        retries_failed: Whether a failure of the engine may pass, so that a later attempt plays the trajectory again.
        whole_legs: Play what is missing together with what it was batched with: then not even the last bits differ.
        stored_packs: Packs whose trajectories are stored, from the first on.
        watch: Shows the first pack of each arm while it is played; the arms are then played in turn.
        begin: Called with the arms that are played from now on.
    """
    playing = _Playing(
        spec, journal, at_once, processes, retries_failed, whole_legs, Tally(report), stored_packs, watch, begin
    )
    legs = _legs(player, spec)
    playing.tally.total = len(legs) * spec.packs * spec.length
    for block in blocks(spec.packs):
        await playing.block(block, legs)
    journal.sync()


def trajectories(spec: EvalSpec) -> int:
    """How many trajectories an evaluation plays, those of the references included."""
    return own_trajectories(spec) + len(references(families_of(spec))) * spec.packs


def own_trajectories(spec: EvalSpec, *, updating: bool = False) -> int:
    """How many of them the subject plays itself; with `updating` those in which it writes hints."""
    arms = [arm for arm in play_order(spec.arms) if not updating or arm_class(arm).updates]
    return len(set(spec.seeds)) * len(arms) * spec.packs


def draw(spec: EvalSpec, numbers: Iterable[int]) -> list[Pack]:
    """Packs of an evaluation by number, the same for every arm and every subject."""
    family = family_of(spec)
    strategy = strategy_of(spec)
    return [draw_pack(family, strategy, spec.split, n, spec.length, spec.preset, spec.variant) for n in numbers]


def blocks(packs: int) -> Iterator[range]:
    """Pack numbers in as few blocks as AT_ONCE allows, all of about the same size."""
    count = -(-packs // AT_ONCE)
    return (range(i * packs // count, (i + 1) * packs // count) for i in range(count))


@dataclass(frozen=True, eq=False)
class _Leg:
    """One arm with one sampling seed, or a reference policy: what every pack is played with."""

    arm: str
    seed: int
    player: Player
    is_reference: bool = False

    @property
    def borrows(self) -> bool:
        """Whether it hands out what the arm `own` wrote."""
        return not self.is_reference and arm_class(self.arm).borrows


@dataclass(frozen=True, eq=False)
class _Job:
    """A pack that a leg plays.

    Attributes:
        leg: Who plays.
        player: The leg's, with its hints.
        number: Of the pack.
        pack: What is played.
        donor: Who gives the hints, for an arm that borrows them.
    """

    leg: _Leg
    player: Player
    number: int
    pack: Pack
    donor: Record | None


def _legs(player: Player, spec: EvalSpec) -> list[_Leg]:
    """In the order in which they are played: the references last, for what goes wrong goes wrong with the subject."""
    found = [
        _Leg(arm, seed, replace(player, seed=seed, performer=_named(player, arm, seed, spec)))
        for seed in dict.fromkeys(spec.seeds)
        for arm in play_order(spec.arms)
    ]
    families = families_of(spec)
    for name in references(families):
        scripted = reference_player(name, cheapest_rendering(families), spec.seeds[0])
        found.append(_Leg(name, spec.seeds[0], scripted, is_reference=True))
    return found


def _named(player: Player, arm: str, seed: int, spec: EvalSpec) -> Performer | None:
    """The player's agent program, where it has one: what its sessions leave behind says to which leg they belong."""
    which = f"-seed{seed}" if len(set(spec.seeds)) > 1 else ""
    return player.performer and player.performer.within(f"{arm}{which}", seed)


@dataclass(frozen=True)
class _Playing:
    """What all legs of one evaluation share."""

    spec: EvalSpec
    journal: Journal
    at_once: int
    processes: int
    retries_failed: bool
    whole_legs: bool
    tally: Tally
    stored_packs: int
    watch: Watch | None
    begin: Callable[[str], None]

    async def block(self, block: range, legs: Sequence[_Leg]) -> None:
        """Let every leg play the packs of a block that it has not played."""
        missing = self._missing(legs, block)
        self.tally.done += sum(len(block) - len(numbers) for numbers in missing.values()) * self.spec.length
        if not any(missing.values()):
            return
        packs = dict(zip(block, draw(self.spec, block), strict=True))
        groups = self._groups(legs)
        if legs[0].player.performer:
            # References first: a session takes seconds and they take none, so what is left is told from sessions alone.
            groups.sort(key=lambda group: not group[0].is_reference)
            self.tally.be_silent()
        else:
            self.tally.announce()
        for group in groups:
            if self.tally.is_silent and not group[0].is_reference:
                self.tally.announce()
            if any(missing[leg] for leg in group):
                self.begin(_label(group))
            for wave in self._waves(group, block):
                plays = [self._leg(leg, {n: packs[n] for n in missing[leg] if n in wave}, block) for leg in group]
                jobs = [job for of_pack in zip_longest(*plays) for job in of_pack if job]
                at_once = SCRIPTED_AT_ONCE if group[0].is_reference else self.at_once
                await self._together(jobs, at_once)

    def _groups(self, legs: Sequence[_Leg]) -> list[list[_Leg]]:
        """Legs that are played together; those that borrow hints come after `own`; what is shown comes in turn."""
        if self.watch:
            return [[leg] for leg in legs]
        apart = [leg for leg in legs if leg.is_reference]
        borrowing = [leg for leg in legs if leg.borrows]
        others = [leg for leg in legs if leg not in apart and leg not in borrowing]
        return [group for group in (others, borrowing, apart) if group]

    def _waves(self, group: Sequence[_Leg], block: range) -> list[range]:
        """What is played from begin to end before more is: all, or what always has to be batched alike."""
        if not self.whole_legs or group[0].is_reference:
            return [block]
        size = max(1, self.at_once // len(group))
        return [block[first : first + size] for first in range(0, len(block), size)]

    def _missing(self, legs: Sequence[_Leg], block: range) -> dict[_Leg, list[int]]:
        """Packs that each leg has to play: with `whole_legs` all of a wave in which one is missing."""
        found = {leg: [n for n in block if not self.journal.is_done(self._unit(leg, n))] for leg in legs}
        if self.whole_legs:
            for group in self._groups(legs):
                absent = {number for leg in group for number in found[leg]}
                again = [number for wave in self._waves(group, block) if absent & set(wave) for number in wave]
                found |= dict.fromkeys(group, again)
        return found

    def _leg(self, leg: _Leg, packs: Mapping[int, Pack], block: range) -> Iterator[_Job]:
        donors = self._donors(leg, packs, block)
        donated = {packs[number].id: own.hints or () for number, own in donors.items()}
        hints = leg.player.hints if leg.is_reference else arm_class(leg.arm)(self.spec.rendering, donated)
        player = replace(leg.player, hints=CountedHints(hints, self.tally, leg.arm))
        return (_Job(leg, player, n, pack, donors.get(n)) for n, pack in packs.items())

    async def _together(self, jobs: Sequence[_Job], at_once: int) -> None:
        """Play them, so many at a time; the first error stops all."""
        if not jobs:
            return
        await play_each(
            jobs,
            self._play,
            self._keep,
            player=jobs[0].player,
            packs=(job.pack for job in jobs),
            processes=1 if self.watch else self.processes,
            at_once=at_once,
            at_fork=self.tally.be_silent,
        )

    async def _play(self, job: _Job) -> Record:
        leg, player, number, pack, donor = job.leg, job.player, job.number, job.pack, job.donor
        is_shown = number == 0 and not leg.is_reference
        watched = self.watch(leg.arm, pack, player) if self.watch and is_shown else player
        trajectory = await watched.play(pack, 0)
        is_lost = any(e.fault and e.fault.kind in ("rejected", "lost") for e in trajectory.episodes)
        has_failed = is_lost or (donor is not None and donor.again)
        is_own = leg.arm == "own"
        is_candidate = is_own and leg.seed == self.spec.seeds[0] and number < CANDIDATES
        solves, updates = trajectory.of("solve"), {e.position: e for e in trajectory.of("update")}
        return Record(
            unit=self._unit(leg, number),
            pack_id=pack.id,
            rows=tuple(
                row_of(e, updates.get(e.position), distractor=slot.distractor)
                for e, slot in zip(solves, pack.slots, strict=True)
            ),
            hints=tuple(e.hints for e in solves) if is_own else None,
            walkthrough=tell(pack, trajectory, cheapest_rendering([pack.slots[0].family])) if is_candidate else None,
            again=has_failed and self.retries_failed,
            transcript=packed(transcribe(trajectory, pack, player.chat, player.settings.rendering))
            if number < self.stored_packs
            else None,
        )

    def _keep(self, one: Done[_Job, Record]) -> None:
        leg, record = one.job.leg, one.result
        self.journal.append(record)
        if one.in_fork:
            self.tally.done += len(record.rows) - 1  # nothing was heard of the tasks before the last
        self.tally.trajectory_is_done(leg.arm, record.rows, is_reference=leg.is_reference)

    def _unit(self, leg: _Leg, number: int) -> Unit:
        return Unit(self.spec.name, leg.arm, leg.seed, number)

    def _donors(self, leg: _Leg, packs: Iterable[int], block: range) -> dict[int, Record]:
        """For an arm that borrows, who gives the hints: the next pack of the block, the first after the last."""
        if not leg.borrows:
            return {}
        step = strategy_of(self.spec).packs_per_world(self.spec.length) % len(block)
        found = {}
        for number in packs:
            donor = block[(block.index(number) + (step or 1)) % len(block)]
            own = self.journal.get(Unit(self.spec.name, "own", leg.seed, donor))
            assert own is not None  # `own` is played before
            found[number] = own
        return found


def _label(group: Sequence[_Leg]) -> str:
    """The arms of a group in words."""
    names = list(dict.fromkeys(leg.arm for leg in group))
    kind = "reference" if group[0].is_reference else "arm"
    return f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}"
