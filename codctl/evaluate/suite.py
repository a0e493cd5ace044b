"""Stage: a suite on any subject, in a folder of its own, and continued there when it was interrupted."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl import __version__
from codctl.cod.references import families_of
from codctl.config.evalspec import EvalSpec
from codctl.config.names import plain
from codctl.config.suite_file import SuiteSpec, load_suite
from codctl.engines.reply_progress import Pulse
from codctl.envs.registry import edition_of, families, family_of
from codctl.errors import BackendError, RefusedError, StageError, UsageError
from codctl.evaluate.runner import own_trajectories, play, trajectories
from codctl.evaluate.subject import PolicyRunner, PolicyUnderTest, identity_of, open_runner, training_defaults
from codctl.evaluate.suite_result import finished, write_result
from codctl.evaluate.suites.expansion import expand
from codctl.evaluate.suites.shipped import find_suite
from codctl.evaluate.watched import Watch
from codctl.files import lock
from codctl.files.atomic import make_folder
from codctl.files.seal import COMPLETE
from codctl.models.load import check_model
from codctl.quantities import counted
from codctl.results import replies
from codctl.results.journal import FileJournal
from codctl.runs import eval_result, machine
from codctl.runs.directory import RunDirectory, move_aside
from codctl.runs.eval_result import FINAL, HEAD, Begun, ChatInfo, EvalResult, Head, PartHead
from codctl.runs.evaluations import EVALUATIONS, JOURNAL
from codctl.runs.progress import Progress, Unfailing, of_arm
from codctl.runs.signals import STOPS, Terminated
from codctl.seeds import text_digest
from codctl.train.setup import read_side_file

if TYPE_CHECKING:
    from codctl.agents.setup import AgentSetup
    from codctl.engines.nodes.client import Address

# Bump when the same subject and suite start to mean another result.
IDENTITY_VERSION = 1


@dataclass(frozen=True)
class EvalPlan:
    """What will be played, by which model, and where it is kept.

    Attributes:
        subject: What is evaluated.
        suite: With its overrides.
        parts: What the suite means for this subject.
        digest: Of subject and parts: the same digest means the same result.
        folder: Where journal and results lie.
        command: As typed.
        run: The run that evaluates its own model; None for `codctl eval`. It has checked what fits into its memory,
            and an interrupted evaluation ends with the very bits of one that was not.
        info: What the folder is sealed with.
        engines: Finds the engines of other nodes, where the run's job has some.
    """

    subject: PolicyUnderTest
    suite: SuiteSpec
    parts: tuple[EvalSpec, ...]
    digest: str
    folder: Path
    command: Sequence[str]
    run: RunDirectory | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    engines: Callable[[], Sequence[Address]] = tuple


def plan(
    subject: PolicyUnderTest,
    suite: str,
    overrides: Sequence[str],
    runs_dir: Path,
    command: Sequence[str],
    *,
    of_user: bool = True,
) -> EvalPlan:
    """Work out what a suite means for a subject. Nothing is written.

    Args:
        subject: What is evaluated.
        suite: Name or file.
        overrides: `key=value` each.
        runs_dir: Where evaluations are kept.
        command: As typed.
        of_user: Whether the user has named the suite, not only a run's folder.

    Raises:
        UsageError: All that is wrong with the suite, the overrides or the subject.
    """
    file = find_suite(suite)
    spec = load_suite(file.path, file.shown, overrides, of_user=of_user)
    parts = expand(spec, training_defaults(subject), families())
    if subject.kind == "policy":
        _refuse_sampling(spec)
        for part in parts:
            family_of(part).policy(subject.name)  # refuses a name that it does not know
    digest = _digest(subject, spec, parts)
    which = "-".join(filter(None, (_plain_step(subject), _plain(subject.agent.name) if subject.agent else "")))
    name = folder_name(subject.name, which, spec.name, digest)
    return EvalPlan(subject, spec, parts, digest, runs_dir / EVALUATIONS / name, command)


def run_suite(plan: EvalPlan, progress: Progress, *, fresh: bool = False, watch: Watch | None = None) -> EvalResult:
    """Play what is missing and return the result; a finished suite is only read.

    Args:
        plan: See `plan`.
        progress: Receives phases and messages.
        fresh: Move what was played before aside and start anew.
        watch: Shows the first pack of each arm while it is played.

    Raises:
        RefusedError: Another process plays it.
        BackendError: The server cannot be used, or is gone. What was played is kept.
    """
    progress = Unfailing(progress)
    lock_path = plan.folder / "lock"
    if lock.is_locked(lock_path):
        raise _in_use(plan.folder)
    if fresh:
        move_aside(plan.folder)
    if (result := finished(plan.folder, plan.digest)) is not None:
        return result
    if plan.run is None and plan.subject.folder:
        if plan.subject.kind == "model":
            check_model(plan.subject.folder)
        progress.message(_planned(plan))
    if plan.subject.agent:
        progress.message(_sessions(plan, plan.subject.agent))
    doing = "loading" if plan.subject.kind in ("run", "model") else "preparing"
    progress.update(f"{doing} {plan.subject.name}", 0, 0, {})
    log, parts = (plan.folder, plan.parts) if plan.run is None else (plan.run.path, ())
    runner = open_runner(plan.subject, log / "engine.log", parts, plan.engines)
    asyncio.run(_until_stopped(_session(plan, runner, progress, watch)))
    done = finished(plan.folder, plan.digest, allow_failed=True)
    assert done is not None
    return done


def _planned(plan: EvalPlan) -> str:
    """What it takes of this machine, in a line.

    Raises:
        PreflightError: It does not fit.
    """
    from codctl.plan.evaluation import check_memory

    subject = plan.subject
    assert subject.folder is not None
    was_shown = subject.config is not None and subject.config.warm_start.enabled
    was_shown = was_shown or "world" in read_side_file(subject.folder)
    return check_memory(subject.settings, subject.folder, plan.parts, was_shown=was_shown).sentence()


def _sessions(plan: EvalPlan, agent: AgentSetup) -> str:
    """How many sessions of an agent program it takes; how long one takes, the progress display says once it knows."""
    tasks = sum(own_trajectories(part) * part.length for part in plan.parts)
    updates = sum(own_trajectories(part, updating=True) * (part.length - 1) for part in plan.parts)
    total = tasks + (updates if agent.update == "agent" else 0)
    at_once = f", {agent.concurrency} at a time" if agent.concurrency > 1 else ""
    return (
        f"{counted(total, 'session')} of {agent.title} {agent.version}{at_once}, each of at most {agent.deadline_s:g} s"
    )


def _refuse_sampling(suite: SuiteSpec) -> None:
    """A scripted policy samples nothing, so that what is set of it would count for nothing."""
    for key in sorted(
        suite.overridden & {"temperature", "solve_tokens", "update_tokens", "suggested_tokens", "answers"}
    ):
        raise UsageError(f"{key} means nothing to a scripted policy", hint=f"leave out {key}=")


def refuse_unplayed(result: EvalResult) -> None:
    """Let a suite that brought nothing to score end as an error.

    Raises:
        BackendError: The server gave no reply that could be scored.
        StageError: The local engine played nothing.
    """
    if not replies.is_unplayed(result):
        return
    why = dict.fromkeys(line for part in result.parts for line in replies.sentences(part)[-1:])
    kind = BackendError if result.subject.kind == "endpoint" else StageError
    hint = "the same command plays it again" if result.to_play_again else "once this is mended, add --fresh"
    raise kind(f"nothing could be scored: {'; '.join(why)}", where=result.folder, hint=hint)


async def _until_stopped(session: Coroutine[Any, Any, None]) -> None:
    """Let SIGTERM and SIGHUP end the session as Ctrl-C does: in good order, between two replies."""
    loop, task, received = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    assert task is not None

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    is_main = threading.current_thread() is threading.main_thread()
    handled = [number for number in STOPS if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in handled:
        loop.add_signal_handler(number, stop, number)
    try:
        await session
    except asyncio.CancelledError:
        if received:
            raise Terminated(128 + received[0]) from None
        raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


async def _session(plan: EvalPlan, runner: PolicyRunner, progress: Progress, watch: Watch | None) -> None:
    """One go at the suite, from the check of the engine to the written result."""
    try:
        if runner.check:
            await runner.check()
        for family in (family for part in plan.parts for family in families_of(part)):
            await family.probe()
        make_folder(plan.folder)
        with _locked(plan.folder), FileJournal(plan.folder / JOURNAL, plan.digest) as journal:
            (plan.folder / COMPLETE).unlink(missing_ok=True)
            head = _head(plan, runner)
            eval_result.write(plan.folder / HEAD, _begun(plan, head))
            for note in runner.chat.notes if runner.chat else ():
                progress.message(note)
            started_s = time.monotonic()
            try:
                await _play(plan, runner, journal, progress, watch)
            finally:
                journal.end_session({"seconds": round(time.monotonic() - started_s, 3), "usage": runner.usage()})
            progress.update("writing results and report", 0, 0, {})
            write_result(plan.folder, head, plan.parts, journal, plan.info)
    finally:
        if runner.close:
            await runner.close()


async def _play(
    plan: EvalPlan, runner: PolicyRunner, journal: FileJournal, progress: Progress, watch: Watch | None
) -> None:
    for number, part in enumerate(plan.parts, start=1):
        phase = f"{part.name} ({number} of {len(plan.parts)})" if len(plan.parts) > 1 else part.name

        player = runner.player(part)

        def report(arm: str, done: int, total: int, means: dict[str, float], phase: str = phase) -> None:
            progress.update(phase, done, total, of_arm(arm, means))

        pulse = Pulse(progress, player)
        begin = partial(_begin, pulse, phase)
        try:
            async with pulse:
                await play(
                    player,
                    part,
                    journal,
                    report,
                    at_once=runner.at_once,
                    processes=runner.processes,
                    retries_failed=runner.retries_failed,
                    whole_legs=plan.run is not None,
                    stored_packs=plan.subject.settings.tracking.trajectory_packs,
                    watch=watch,
                    begin=begin,
                )
            if runner.final_check:
                await runner.final_check()
        except BackendError as error:
            hint = f"{error.hint}; " if error.hint else ""
            raise BackendError(
                error.message,
                where=error.where,
                hint=f"{hint}what was played is kept: the same command continues",
                problems=error.problems,
            ) from error


def _begin(pulse: Pulse, phase: str, arms: str) -> None:
    pulse.begin(f"{phase}: {arms}")


def _head(plan: EvalPlan, runner: PolicyRunner) -> Head:
    chat = runner.chat.describe() if runner.chat else None
    return Head(
        suite=plan.suite.name,
        description=plan.suite.description,
        digest=plan.digest,
        subject=plan.subject.describe(),
        chat=eval_result.of(ChatInfo, chat) if chat else None,
        folder=str(plan.folder),
        command=list(plan.command),
        codctl_version=__version__,
        machine=machine.describe(),
    )


def _begun(plan: EvalPlan, head: Head) -> Begun:
    keys = ("name", "family", "preset", "variant", "strategy", "packs", "length")
    parts = tuple(PartHead(**{key: getattr(part, key) for key in keys}) for part in plan.parts)
    return Begun(**vars(head), parts=parts, trajectories=sum(map(trajectories, plan.parts)))


def _digest(subject: PolicyUnderTest, suite: SuiteSpec, parts: Sequence[EvalSpec]) -> str:
    body = {
        "version": IDENTITY_VERSION,
        "subject": identity_of(subject),
        "suite": suite.name,
        "parts": [part.identity() for part in parts],
    }
    editions = {f"{part.family}/{part.preset}": edition_of(part) for part in parts}
    if changed := {world: edition for world, edition in editions.items() if edition > 1}:
        body["editions"] = changed  # left out at 1, so that older digests still hold
    return text_digest(json.dumps(body, sort_keys=True))


def folder_name(subject: str, which: str, suite: str, digest: str) -> str:
    """How the folder of an evaluation is called. `which` tells models of a subject apart, and agent programs."""
    return "-".join(filter(None, (_plain(subject), which, _plain(suite), digest[:8])))


def _plain(name: str) -> str:
    """A name that is good for a folder: the end of a path, without special characters."""
    return plain(Path(name).name).strip("-.") or "subject"


def _plain_step(subject: PolicyUnderTest) -> str:
    """Which model of its run, unless it is the final one."""
    saved = subject.saved
    if saved is None or saved.label == FINAL:
        return ""
    return f"step-{saved.step}" if saved.checkpoint else saved.label


def _locked(folder: Path) -> lock.RunLock:
    return lock.RunLock(folder / "lock")


def _in_use(folder: Path) -> RefusedError:
    held = lock.in_use(folder / "lock")
    return RefusedError(
        held.message.replace("the run", "this evaluation", 1),
        where=held.where,
        hint="wait for it: the same command then shows the result",
    )
