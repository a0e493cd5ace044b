"""codctl sweep: many trainings from one recipe or study, and what they show together."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codctl.cli import _complete as complete
from codctl.cli import _output
from codctl.cli._browser import open_page
from codctl.cli._options import RUNS_DIR, Json, On, OpenPage, Overrides, RunsDir, launcher_of
from codctl.cli._sweep_text import results_text, say_counts, show
from codctl.quantities import counted, was_or_were

if TYPE_CHECKING:
    from codctl.errors import UsageError
    from codctl.runs.directory import RunDirectory
    from codctl.sweeps.plan import Plan
    from codctl.sweeps.run import Limits
    from codctl.sweeps.trials import TrialState

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="STUDY|RECIPE",
        autocompletion=complete.studies,
        help="A study or a recipe: a file, or the name of a shipped one.",
    ),
]


@dataclass(frozen=True)
class _Way:
    """How the trials are run, as typed."""

    where: str | None  # a launcher; None for this terminal
    limits: Limits
    opens: bool = False


def sweep(
    source: Source = None,
    overrides: Overrides = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the sweep.")] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            metavar="NAME",
            autocompletion=complete.suites,
            help="Evaluate every trained model on this suite; can be repeated.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=2, help="Packs for each suite.")] = None,
    slurm: Annotated[bool, typer.Option("--slurm/--local", help="Submit to SLURM and return; or run here.")] = False,
    on: On = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background and return once it is running.")
    ] = False,
    max_parallel: Annotated[
        int | None, typer.Option("--max-parallel", metavar="N", min=1, help="Trials running at once.")
    ] = None,
    max_failures: Annotated[
        int | None, typer.Option("--max-failures", metavar="N", min=1, help="Start no more trials after N have failed.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed and dead trials again.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew; an earlier sweep is moved aside.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the trials and what is left to do; write nothing.")
    ] = False,
    opens: OpenPage = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Train with every combination of values, then evaluate and sum up.

    KEY=A,B and seed=0..2 (0, 1 and 2) make the combinations. The same command again continues: it skips what is
    complete and adds what is new. With --slurm and nothing named it is the study of generalization.
    """
    from codctl.sweeps import record as records
    from codctl.sweeps.ask import ask
    from codctl.sweeps.run import Limits

    where = launcher_of(on, slurm=slurm, detach=detach)
    if source is not None and "=" in source:  # only overrides were typed
        overrides, source = [source, *(overrides or [])], None
    if source is None and not (where not in (None, "local") or dry_run):
        raise _what_could_run(overrides or [])
    plan = ask(
        source,
        overrides or [],
        name=name,
        suites=suite or (),
        limit=limit,
        earlier_axes=lambda found: [] if fresh else records.axes_of(records.folder_of(runs_dir, found)),
    )
    way = _Way(where, Limits(max_parallel, max_failures), opens)
    command = ["codctl", *sys.argv[1:]]
    if dry_run:
        show(
            plan,
            runs_dir,
            command,
            where=where,
            limits=way.limits,
            fresh=fresh,
            retry_failed=retry_failed,
            as_json=as_json,
        )
        return
    with ExitStack() as held:
        ready = _ready(
            plan, runs_dir, command, held, here=where in (None, "local"), fresh=fresh, retry_failed=retry_failed
        )
        _go(ready, way, held, as_json=as_json)


def _what_could_run(overrides: Sequence[str]) -> UsageError:
    """Nothing was named: an hour of trainings does not start by itself."""
    from codctl.errors import Problem, UsageError
    from codctl.sweeps.study_file import USUAL, shipped_studies

    typed = shlex.join(overrides)
    lines = [f"codctl sweep {study} {typed}".rstrip() for study in shipped_studies()]
    lines.append(f"codctl sweep RECIPE {typed or 'train.lr=4e-4,8e-4 seed=0..2'}")
    return UsageError(
        "name a study or a recipe",
        hint=f"codctl sweep {USUAL} --dry-run shows its trainings, their time and memory",
        problems=tuple(Problem(line) for line in lines),
    )


def resume_sweep(folder: Path, where: str | None, *, local: bool, as_json: bool) -> None:
    """Go on with what is not complete, failed trials too, from the frozen configs alone.

    Args:
        folder: Of the sweep.
        where: The launcher that was asked for; None for the one that it ran on before, or this terminal.
        local: Run here, even if it ran elsewhere before.
        as_json: Print one JSON object.
    """
    from codctl.errors import UsageError
    from codctl.jobs.jobs import Jobs
    from codctl.runs import stop
    from codctl.runs.directory import TRIALS, RunDirectory
    from codctl.sweeps import prepare
    from codctl.sweeps import record as records
    from codctl.sweeps.run import Limits, read_dispatch
    from codctl.sweeps.trials import states_of
    from codctl.train import foreign

    content = records.read(folder)
    sent = read_dispatch(folder)
    if where is None and not local and sent.get("where") != "local":
        where = sent.get("where")
    with ExitStack() as held:
        held.enter_context(prepare.locked(folder))
        states = states_of(folder, content["trials"], Jobs(), retry_failed=True, can_remake=False)
        todo = [one.name for one in states if one.verdict == "run"]
        say_counts(folder.name, states, kept=0)
        unmade = [name for name in todo if not (folder / TRIALS / name / "manifest.json").is_file()]
        damaged = {one.name: one.message for one in states if one.status == "unreadable"}
        remake = shlex.join([*content["command"], *(["--retry-failed"] if damaged else [])])
        if unmade and len(unmade) == len(todo):
            raise UsageError(
                f"{counted(len(unmade), 'trial')} {was_or_were(len(unmade))} planned but never created: "
                f"{', '.join(unmade[:3])}",
                where=str(folder),
                hint=remake,
            )
        todo = [name for name in todo if name not in unmade]
        for name, why in damaged.items():
            _output.talk(f"  {name} is left out: {why}")
        stop.clear(folder)
        runs = [RunDirectory.open(folder / TRIALS / name) for name in todo]
        for run in runs:
            foreign.refuse(run, run.config(), as_job=where not in (None, "local"))
            run.clear_stop()
        limits = Limits(sent.get("max_parallel"), sent.get("max_failures"))
        again = remake if damaged or unmade else ""
        _go(_Ready(folder, tuple(states), tuple(runs), again), _Way(where, limits), held, as_json=as_json)


@dataclass(frozen=True)
class _Ready:
    """A sweep that may start: how its trials stand, and the run directories of those that are to run."""

    folder: Path
    states: tuple[TrialState, ...]
    runs: tuple[RunDirectory, ...]
    remake: str = ""  # the command that makes trials again which cannot be resumed

    def has(self, verdict: str) -> bool:
        return any(one.verdict == verdict for one in self.states)


def _ready(
    plan: Plan,
    runs_dir: Path,
    command: Sequence[str],
    held: ExitStack,
    *,
    here: bool,
    fresh: bool,
    retry_failed: bool,
) -> _Ready:
    """Write everything that the trials need, under the sweep's lock."""
    from codctl.files.atomic import make_folder
    from codctl.jobs.jobs import Jobs
    from codctl.sweeps import prepare
    from codctl.sweeps import record as records
    from codctl.sweeps.trials import states_of
    from codctl.tracking import sinks

    sinks.remember(trial.config.tracking for trial in plan.trials)
    folder = records.folder_of(runs_dir, plan.name)
    prepare.refuse_if_in_use(folder)
    if fresh:
        prepare.preflight_trials(plan.trials, here=here)
        prepare.move_aside(folder)
    record = records.reconcile(plan, folder, command)
    states = states_of(folder, record.entries, Jobs(), retry_failed=retry_failed)
    todo = [one.name for one in states if one.verdict == "run"]
    prepare.preflight_trials([trial for trial in record.asked if trial.name in set(todo)], here=here)
    make_folder(folder)
    held.enter_context(prepare.locked(folder))
    say_counts(plan.name, states, kept=record.kept, repeated=plan.repeated)
    runs = prepare.prepare(plan, record, todo, runs_dir, command, _output.talk)
    return _Ready(folder, tuple(states), tuple(runs))


def _go(ready: _Ready, way: _Way, held: ExitStack, *, as_json: bool) -> None:
    """Run the trials in the way that was typed, or say that there is nothing to do."""
    if way.where is None:
        _here(ready, way, as_json=as_json)
    elif ready.runs:
        held.close()  # the launcher in the background takes it
        _away(ready.folder, ready.runs, way, as_json=as_json)
    elif ready.has("in_progress"):
        name = ready.folder.name
        text = f"nothing left to submit; codctl status {name} shows its state"
        states = {one.name: one.status for one in ready.states}
        _output.result("sweep", {"sweep": str(ready.folder), "trials": [], "states": states}, text, as_json=as_json)
    else:
        _here(ready, way, as_json=as_json)


def _away(folder: Path, runs: Sequence[RunDirectory], way: _Way, *, as_json: bool) -> None:
    """Hand the trials over and return."""
    from codctl.sweeps import run as sweep_run

    if way.where in (None, "local"):
        found = sweep_run.run_detached(folder, runs, way.limits)
        who = f"process {found['pid']}"
    else:
        found = sweep_run.run_on(str(way.where), folder, runs, way.limits)
        who = _jobs(found)
    lines = {"sweep": folder, "started": f"{counted(len(runs), 'trial')}, {who}"}
    lines |= {verb: f"codctl {command} {folder.name}" for verb, command in (("follow", "status"), ("stop", "cancel"))}
    text = "\n".join(f"{word:<7}  {line}" for word, line in lines.items())
    value = {"sweep": str(folder), "trials": [run.name for run in runs], **found}
    _output.result("sweep", value, text, as_json=as_json)


def _jobs(found: dict[str, Any]) -> str:
    arrays = dict.fromkeys(job.partition("_")[0] for job in found["jobs"])
    return f"job {', '.join(arrays)}; job {found['sum_up_job']} sums up"


def _here(ready: _Ready, way: _Way, *, as_json: bool) -> None:
    """Run in the foreground, sum up, and say truthfully how it ended."""
    from codctl.cli._sweep_display import open_watcher
    from codctl.runs import code, stop
    from codctl.sweeps import run as sweep_run
    from codctl.sweeps.study_result import to_json

    codes: dict[str, int] = {}
    if ready.runs:
        code.fix(ready.runs[0].root)
        sweep_run.note_local(ready.folder, ready.runs, way.limits)
        with _resumable(ready), open_watcher(ready.runs) as watcher:
            codes = sweep_run.run_here(ready.folder, ready.runs, way.limits, watcher)
    found = sweep_run.outcome(ready.folder, [one.name for one in ready.states], codes)
    result, why = found["result"], found["incomplete"]
    value = {"sweep": str(ready.folder), "complete": not why, "incomplete": why, "result": to_json(result)}
    _output.result("sweep", value, results_text(result), as_json=as_json)
    if way.opens:
        open_page(ready.folder / "report.html")
    if stop.read(ready.folder) is not None:
        raise typer.Exit(130)
    if why and as_json:
        raise typer.Exit(5)
    if why:
        raise sweep_run.incomplete_error(ready.folder, why, len(ready.states), _again(ready))


@contextmanager
def _resumable(ready: _Ready) -> Iterator[None]:
    """Turn Ctrl-C and the signals that end codctl into an error that says how to go on."""
    from codctl.cli._foreground import CTRL_C, SIGNALLED, StoppedError, resume_command
    from codctl.runs.directory import TRIALS, RunDirectory
    from codctl.runs.signals import Terminated

    try:
        yield
    except (KeyboardInterrupt, Terminated) as stop:
        code = int(str(stop.code)) if isinstance(stop, Terminated) else CTRL_C
        trials = [RunDirectory(ready.folder / TRIALS / one.name) for one in ready.states]
        again = resume_command(ready.folder.name, ready.folder.parents[1])
        kept = f"{sum(trial.status() == 'finished' for trial in trials)} of {counted(len(trials), 'trial')} trained"
        raise StoppedError(SIGNALLED[code], code, kept=kept, hint=again) from None


def _again(ready: _Ready) -> str:
    """What to type for what is not complete."""
    if ready.remake:
        return ready.remake
    if ready.has("in_progress") and not ready.has("failed") and not ready.runs:
        return f"codctl status {ready.folder.name}"
    words = [word for word in ("codctl", *sys.argv[1:]) if word not in ("--fresh", "--retry-failed")]
    return shlex.join(words if words[1:2] == ["resume"] else [*words, "--retry-failed"])
