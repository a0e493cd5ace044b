"""The policy under test: its training worlds, its identity, and the runner made from it."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from codctl.cod.agent import Model
from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import Engine, Sampling
from codctl.cod.references import reference_player
from codctl.cod.rollout import Player
from codctl.cod.settings import RolloutSettings
from codctl.config.defaults import TURN_PENALTY
from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config, SamplingConfig, WorldConfig
from codctl.config.schema.world import ContextConfig
from codctl.engines.provider import Opening, provider_of
from codctl.envs.base import UpdateRule
from codctl.evaluate.suites.expansion import Defaults
from codctl.files.atomic import temp_sibling
from codctl.files.seal import read_hashes, sha256_of
from codctl.models import hub
from codctl.models.architectures import of_folder
from codctl.models.check import check_tokenizer
from codctl.models.files import understood
from codctl.models.load import base_folder, check_folder, check_model, load_chat, load_tokenizer, processes_of
from codctl.models.weights import check_finite, stored_tensors
from codctl.plan.placement import place
from codctl.runs.directory import RunDirectory
from codctl.runs.eval_result import Subject
from codctl.train import foreign
from codctl.train.preflight import check_prompt
from codctl.train.saved_models import NEWEST, SavedModel, choose, lay_out
from codctl.train.setup import SIDE_FILE, load_speaker, open_in_process, read_side_file, rollout_settings

if TYPE_CHECKING:
    from codctl.agents.setup import AgentSetup
    from codctl.engines.nodes.client import Address
    from codctl.engines.openai.engine import OpenAIEngine
    from codctl.engines.openai.settings import EndpointSettings

_SAMPLING = ("temperature", "solve_tokens", "update_tokens", "suggested_tokens", "answers")
_FAILURES_IN_A_ROW = 10
_ENDPOINT_WAIT_S = 24 * 3600.0  # its engine has its own deadline for each try


@dataclass(frozen=True)
class PolicyUnderTest:
    """What is evaluated.

    Attributes:
        kind: A trained run, a model folder, a scripted policy, or a model behind a server.
        name: Run name, folder, policy name, or the model's name on the server.
        folder: Model folder of a run or model.
        config: The run's recipe, when it is one.
        endpoint: The server, when it is one.
        saved: Which of the run's models it is, when it is one.
        resources: Its recipe, or the defaults, with the resource keys of the command line; None without any.
        withheld: Settings that its recipe lacks since the run was made elsewhere; see `stages.foreign`.
        agent: The agent program that it plays in; None for codctl's own loop.
    """

    kind: Literal["run", "model", "policy", "endpoint"]
    name: str
    folder: Path | None = None
    config: Config | None = None
    endpoint: EndpointSettings | None = None
    saved: SavedModel | None = None
    resources: Config | None = None
    withheld: Mapping[str, Any] = field(default_factory=dict)
    agent: AgentSetup | None = None

    @property
    def settings(self) -> Config:
        """Where and how it runs."""
        return self.resources or self.config or Config()

    def describe(self) -> Subject:
        """What result.json says about it."""
        of_run = self.saved if self.config else None
        place = self.saved.checkpoint if self.saved and self.saved.checkpoint else self.folder
        return Subject(
            kind=self.kind,
            name=self.name,
            checkpoint=of_run.label if of_run else None,
            step=of_run.step if of_run else None,
            steps=self.config.train.steps if of_run and self.config else None,
            folder=str(place) if self.folder else None,
            dtype=self.settings.model.dtype if self.folder else None,
            engine=self.settings.engine.kind if self.folder else None,
            endpoint=self.endpoint.url if self.endpoint else None,
            agent=self.agent.describe() if self.agent else None,
        )


@dataclass(frozen=True)
class PolicyRunner:
    """A subject that is ready to play.

    Attributes:
        player: The player of an evaluation.
        at_once: Trajectories that it plays at the same time.
        processes: In which it plays them.
        retries_failed: Whether its failures may pass, as those of a server.
        check: Asks whether it can play at all, and starts what it needs; BackendError when not. All that follows is in
            the same event loop.
        final_check: Asks, where the last that was played failed, whether it still can; BackendError when not.
        usage: What it has used so far: requests, tokens, cost.
        close: Ends it.
        chat: Its chat template, where codctl applies it.
        server: The server, where the model is behind one.
    """

    player: Callable[[EvalSpec], Player]
    at_once: int
    processes: int = 1
    retries_failed: bool = False
    check: Callable[[], Awaitable[None]] | None = None
    final_check: Callable[[], Awaitable[None]] | None = None
    usage: Callable[[], dict[str, Any]] = dict
    close: Callable[[], Awaitable[None]] | None = None
    chat: TemplateChat | None = None
    server: OpenAIEngine | None = None


def subject_of_run(run: RunDirectory, step: str = NEWEST) -> PolicyUnderTest:
    """A saved model of a run, by default the newest.

    Raises:
        StageError: It has saved none yet.
        UsageError: It has no such model.
    """
    config = run.config()
    return subject_of(run, config, choose(run, config, step))


def subject_of(run: RunDirectory, config: Config, saved: SavedModel) -> PolicyUnderTest:
    found, config = foreign.withheld(run, config)
    return PolicyUnderTest("run", run.title, saved.folder, config, saved=saved, withheld=found)


def subject_of_model(name: str) -> PolicyUnderTest:
    """A model folder, or a model of the hub's cache.

    Raises:
        PreflightError: It is not there, or is not a model.
    """
    folder = hub.located(name)
    check_folder(folder)
    return PolicyUnderTest("model", name, folder)


def training_defaults(subject: PolicyUnderTest) -> Defaults:
    """The worlds of its training, and the budgets it was trained with."""
    if subject.kind == "policy":
        # It reads no hints, so that the other arms would only repeat the first.
        return Defaults(defaults={"rendering": "compact"}, arms=("own",))
    if subject.config:
        config = subject.config
        return _home(config.world, config.sampling.model_dump(mode="json"), config.context.update)
    side = read_side_file(subject.folder) if subject.folder else {}
    if "world" not in side or subject.folder is None:
        return Defaults()
    with understood("it cannot be read", subject.folder / SIDE_FILE, "delete it, and give preset= and rendering="):
        world = WorldConfig.model_validate(side["world"]).without_options()  # a folder names no files and no servers
        known = {key: value for key, value in dict(side.get("sampling", {})).items() if key in _SAMPLING}
        SamplingConfig.model_validate(known)
        update = ContextConfig.model_validate({"update": side.get("update", "rewrite")}).update
    return _home(world, known, update)


def _home(world: WorldConfig, sampling: dict[str, Any], update: UpdateRule) -> Defaults:
    budgets = {key: sampling[key] for key in _SAMPLING if key in sampling}
    own = {"rendering": world.rendering, "length": world.length, **budgets, "update": update}
    return Defaults(world.parts, own)


def identity_of(subject: PolicyUnderTest) -> dict[str, Any]:
    """What tells it from others, whatever it is called and wherever it lies: for a model every byte of its folder."""
    if subject.agent:
        return {**identity_of(replace(subject, agent=None)), "agent": subject.agent.identity()}
    if subject.kind == "policy":
        return {"policy": subject.name}
    if subject.endpoint:
        return {"endpoint": subject.endpoint.url, "model": subject.name}
    assert subject.folder is not None
    config = subject.config or Config()
    settings = asdict(rollout_settings(config))
    del settings["deadline_s"]
    settings["turn_penalty"] = TURN_PENALTY if settings["turn_penalty"] is None else settings["turn_penalty"]
    if not settings["turn_penalties"]:  # as before families had their own
        del settings["turn_penalties"]
    if settings["top_p"] == 1:  # as before there was a choice
        del settings["top_p"]
    if settings["update"] == "rewrite":
        del settings["update"]
    about = {"settings": settings, **_changed(config, subject.settings)}
    if subject.saved and subject.saved.checkpoint:
        model = config.model.model_dump(mode="json")
        hashes = read_hashes(subject.saved.checkpoint)
        return {"checkpoint": hashes, "step": subject.saved.step, "model": model, **about}
    files = sorted(path for path in subject.folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(subject.folder).as_posix(): sha256_of(path) for path in files}
    return {"files": hashes, "dtype": config.model.dtype, **about}


def _changed(before: Config, now: Config) -> dict[str, Any]:
    """What the command line sets of the keys that change a result; nothing where it sets none."""
    pairs = {
        "model.dtype": (before.model.dtype, now.model.dtype),
        "engine.kind": (before.engine.kind, now.engine.kind),
        "engine.max_tokens": (before.engine.max_tokens, now.engine.max_tokens),
    }
    changed = {key: after for key, (first, after) in pairs.items() if after != first}
    return {"changed": changed} if changed else {}


def open_runner(
    subject: PolicyUnderTest,
    log: Path,
    parts: Sequence[EvalSpec] = (),
    engines: Callable[[], Sequence[Address]] = tuple,
) -> PolicyRunner:
    """Make it ready to play: load the model, or connect to the server.

    Args:
        subject: What to evaluate.
        log: Where an engine of other processes writes. The model of a checkpoint is laid out beside the log's
            folder until the performer is closed.
        parts: What it will play, so that a server is asked for the like before.
        engines: Finds the engines of other nodes, where there are some.
    """
    if subject.agent:
        from codctl.evaluate.by_agent import inside

        runner = open_runner(replace(subject, agent=None), log, parts, engines)
        return inside(subject.agent, runner, log.parent, parts)
    if subject.saved and subject.saved.checkpoint:
        return _from_checkpoint(subject, log)
    return _open(subject, log, parts, engines)


def _from_checkpoint(subject: PolicyUnderTest, log: Path) -> PolicyRunner:
    """Lay the model out beside the evaluation, with a name that `codctl runs clean` knows, and remove it afterwards."""
    assert subject.config is not None
    assert subject.saved is not None
    beside = log.parent if log.name == "engine.log" else log.with_suffix("")  # its own folder, or only its own name
    folder = temp_sibling(beside.with_name(f"{beside.name}-model"))

    async def close() -> None:
        if performer.close:
            await performer.close()
        shutil.rmtree(folder, ignore_errors=True)

    try:
        lay_out(subject.saved, subject.config, folder)
        performer = _open(replace(subject, folder=folder, saved=None), log)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return replace(performer, close=close)


def _open(
    subject: PolicyUnderTest,
    log: Path,
    parts: Sequence[EvalSpec] = (),
    engines: Callable[[], Sequence[Address]] = tuple,
) -> PolicyRunner:
    from codctl.evaluate.runner import AT_ONCE, SCRIPTED_AT_ONCE

    if subject.kind == "policy":
        return PolicyRunner(
            lambda spec: reference_player(subject.name, spec.rendering, spec.seeds[0], spec.update), SCRIPTED_AT_ONCE
        )
    if subject.endpoint:
        return _endpoint(subject.endpoint, parts)
    assert subject.folder is not None
    config = subject.settings
    if not provider_of(config).in_process:
        foreign.refuse_servers(subject.withheld, config, subject.name)
        return _served(subject.folder, config, log, parts, engines)
    speaker = load_speaker(subject.folder, config.model.dtype, config.model.device)
    _check_prompts(parts, speaker.chat, speaker.max_tokens, subject.folder)
    player = _model_player(open_in_process(config, speaker), speaker.chat, config)
    # Those that are alive keep what they have computed.
    at_once = min(AT_ONCE, config.runtime.max_batch)
    return PolicyRunner(player, at_once, processes=processes_of(config), chat=speaker.chat)


def _check_prompts(parts: Sequence[EvalSpec], chat: TemplateChat, context: int, folder: Path) -> None:
    for part in parts:
        check_prompt(part, chat, context, str(folder))


def _served(
    folder: Path, config: Config, log: Path, parts: Sequence[EvalSpec], engines: Callable[[], Sequence[Address]]
) -> PolicyRunner:
    """A model with an engine beside this process, which then loads no model itself."""
    from codctl.engines.nodes.client import open_on_nodes
    from codctl.evaluate.runner import AT_ONCE

    check_model(folder)
    tokenizer, base = load_tokenizer(folder), base_folder(folder)
    check_tokenizer(tokenizer, folder)
    check_finite(stored_tensors(base), base)
    chat = load_chat(folder, tokenizer)
    context = of_folder(base).max_tokens
    _check_prompts(parts, chat, min(config.engine.max_tokens or context, context), folder)
    engine = open_on_nodes(Opening(config, folder.absolute(), base.absolute(), place(config).engines, log), engines())
    player = _model_player(engine, chat, config)
    return PolicyRunner(player, AT_ONCE, check=engine.start, close=engine.aclose, chat=chat)


def _model_player(engine: Engine, chat: TemplateChat, config: Config) -> Callable[[EvalSpec], Player]:
    def player(spec: EvalSpec) -> Player:
        settings = replace(_as_asked(config, spec), on_parse_failure="keep")  # deployment never wipes
        return Player(engine, chat, settings, spec.seeds[0])

    return player


def _as_asked(config: Config, spec: EvalSpec) -> RolloutSettings:
    """The rollouts of a recipe, with what an evaluation says of rendering and sampling."""
    return replace(
        rollout_settings(config),
        rendering=spec.rendering,
        temperature=spec.temperature,
        solve_tokens=spec.solve_tokens,
        update_tokens=spec.update_tokens,
        suggested_tokens=spec.suggested_tokens,
        answers=spec.answers,
        update=spec.update,
    )


def _endpoint(settings: EndpointSettings, parts: Sequence[EvalSpec]) -> PolicyRunner:
    from codctl.engines.openai.engine import open_endpoint
    from codctl.evaluate.patience import CircuitBreaker

    engine, chat = open_endpoint(settings)
    trial = _hardest(parts)

    async def check() -> None:
        await (engine.probe(trial) if trial else engine.probe())

    patient = CircuitBreaker(Model(engine), check, _FAILURES_IN_A_ROW)

    def player(spec: EvalSpec) -> Player:
        settings = replace(_as_asked(Config(), spec), deadline_s=_ENDPOINT_WAIT_S)
        return Player(patient, chat, settings, spec.seeds[0])

    return PolicyRunner(
        player,
        settings.concurrency,
        retries_failed=True,
        check=check,
        final_check=patient.final_check,
        usage=lambda: engine.stats,
        close=engine.aclose,
        server=engine,
    )


def _hardest(parts: Sequence[EvalSpec]) -> Sampling | None:
    """The sampling with the most tokens, which a server is likeliest to refuse."""
    found = [Sampling(max(part.solve_tokens, part.update_tokens), part.temperature) for part in parts]
    return max(found, key=lambda sampling: sampling.max_new_tokens, default=None)
