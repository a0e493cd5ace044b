"""codctl eval: a suite on a run, a model folder, a scripted policy or a served model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codctl.cli import _output
from codctl.cli._browser import open_page
from codctl.cli._options import RUNS_DIR, Json, OpenPage, Overrides, RunsDir

if TYPE_CHECKING:
    from codctl.engines.openai.settings import EndpointSettings
    from codctl.stages.subject import Subject
    from codctl.stages.suite import Plan


def evaluate(
    overrides: Overrides = None,
    suite: Annotated[
        str, typer.Option("--suite", metavar="NAME", help="A shipped suite (--list), or a YAML file of your own.")
    ] = "position-curve",
    run: Annotated[str | None, typer.Option("--run", help="A run: its newest saved model, or see --step.")] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="N", help="With --run: N, final, warm-start or newest.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="A Hugging Face folder, or the id of a cached model.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="NAME", help="A scripted policy: bayes, informed, random.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="An OpenAI-compatible server, with --model-name.")
    ] = None,
    model_name: Annotated[
        str | None, typer.Option("--model-name", metavar="NAME", help="What the server calls the model.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="VAR", help="Environment variable that holds the key.")
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Requests in flight at once.")] = 8,
    price: Annotated[
        str | None, typer.Option("--price", metavar="IN,OUT", help="Per million tokens read and written, for the cost.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=2, help="Play N packs.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Play anew; earlier results are moved aside.")] = False,
    slurm: Annotated[bool, typer.Option("--slurm", help="Submit to SLURM and return.")] = False,
    list_suites: Annotated[bool, typer.Option("--list", help="Show the shipped suites.")] = False,
    opens: OpenPage = False,
    runs_dir: RunsDir = RUNS_DIR,
    as_json: Json = False,
) -> None:
    """Play a suite. The same command again continues, or shows the result. KEY=VALUE: preset=hard length=8."""
    if list_suites:
        _list(as_json)
        return
    from codctl.cli._progress import open_display
    from codctl.cli._suite_table import text
    from codctl.stages.suite import plan, run_suite

    served = _endpoint(endpoint, model_name, api_key_env, concurrency, price)
    subject = _subject(run, step, model, policy, served, runs_dir)
    limited = [f"packs={limit}"] if limit is not None else []
    planned = plan(subject, suite, [*(overrides or []), *limited], runs_dir, ["codctl", *sys.argv[1:]])
    if slurm:
        _submit(planned, runs_dir, fresh=fresh, as_json=as_json)
        return
    if subject.folder:
        from codctl.stages.setup import prepare_process

        prepare_process(subject.config.runtime.threads if subject.config else 2)
    with open_display(10.0) as display:
        found = run_suite(planned, display, fresh=fresh)
    _output.result("eval", found, text(found), as_json=as_json)
    if opens:
        open_page(planned.folder / "report.html")


def _submit(planned: Plan, runs_dir: Path, *, fresh: bool, as_json: bool) -> None:
    """Let a job type the same command, with the cluster of the run; a finished suite is not played again."""
    from codctl.config.schema import ClusterConfig
    from codctl.dispatch.launch import command_on_slurm
    from codctl.runs.directory import move_aside
    from codctl.stages.suite_result import finished

    if fresh:
        move_aside(planned.folder)
    if finished(planned.folder, planned.digest) is not None:
        text = f"{planned.folder} is finished: the same command without --slurm shows it"
        _output.result("eval", {"folder": str(planned.folder), "jobs": []}, text, as_json=as_json)
        return
    config = planned.subject.config
    argv = [word for word in sys.argv[1:] if word not in ("--slurm", "--fresh")]
    cluster = config.cluster if config else ClusterConfig()
    sent = command_on_slurm(argv, cluster, folder=planned.folder, name=planned.folder.name, runs_dir=runs_dir)
    text = f"results  {sent['folder']}\nsent     job {sent['jobs'][0]}\nlook     the same command without --slurm"
    _output.result("eval", sent, text, as_json=as_json)


def _list(as_json: bool) -> None:
    from codctl.evaluate.suites.shipped import descriptions

    found = descriptions()
    _output.result("eval", {"suites": found}, _output.table(["suite", "asks"], list(found.items())), as_json=as_json)


def _subject(
    run: str | None,
    step: str | None,
    model: Path | None,
    policy: str | None,
    endpoint: EndpointSettings | None,
    runs_dir: Path,
) -> Subject:
    from codctl.errors import UsageError
    from codctl.stages.saved_models import NEWEST
    from codctl.stages.subject import Subject, subject_of_run

    if sum(value is not None for value in (run, model, policy, endpoint)) != 1:
        raise UsageError("give one of --run, --model, --policy and --endpoint", hint="codctl eval --policy bayes")
    if run is not None:
        from codctl.runs.directory import find_run

        return subject_of_run(find_run(runs_dir, run), step or NEWEST)
    if step is not None:
        raise UsageError("--step chooses a model of a run", hint=f"--run RUN --step {step}")
    if model is not None:
        from codctl.learn import hub
        from codctl.learn.models import check_folder

        folder = hub.located(str(model))
        check_folder(folder)
        return Subject("model", str(model), folder)
    if endpoint is not None:
        return Subject("endpoint", endpoint.model, endpoint=endpoint)
    return Subject("policy", str(policy))


def _endpoint(
    url: str | None, model_name: str | None, api_key_env: str | None, concurrency: int, price: str | None
) -> EndpointSettings | None:
    from codctl.errors import UsageError

    if url is None:
        given = {"--model-name": model_name, "--api-key-env": api_key_env, "--price": price}
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} is for --endpoint", hint=f"--endpoint URL {option} …")
        return None
    from codctl.engines.openai.settings import EndpointSettings

    if not model_name:
        raise UsageError("--endpoint needs --model-name", hint=f"--endpoint {url} --model-name NAME")
    prices = _prices(price)
    return EndpointSettings(
        url, model_name, api_key_env, concurrency, price_prompt=prices[0], price_completion=prices[1]
    )


def _prices(price: str | None) -> tuple[float | None, float | None]:
    from codctl.errors import UsageError

    if price is None:
        return None, None
    try:
        tokens_in, tokens_out = map(float, price.split(","))
    except ValueError:
        raise UsageError(f'--price: expected two numbers, got "{price}"', hint="--price 0.15,0.60") from None
    return tokens_in, tokens_out
