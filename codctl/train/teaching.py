"""Teachers at work: engines that give the rows of a step their lessons.

Adapters on one base share an engine, in which they take turns. Engines of other processes that are on the learner's
GPUs sleep while others work; models of this process stay in memory, unless `distill.take_turns` lets go of each.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from codctl.cod.conversation import TemplateChat
from codctl.cod.engine import ALL, EngineError, Sampling, Scores, Weights
from codctl.cod.mixture import Mixture
from codctl.config.consistency import targets_head
from codctl.config.schema import Config
from codctl.engines.provider import EngineProvider, LoadedModel, OpenEngine, Opening, provider_of
from codctl.errors import PreflightError, StageError
from codctl.learner.batching import Lesson, Sample
from codctl.models.architectures import of_folder
from codctl.models.files import ADAPTER, read_settings
from codctl.plan.placement import place, teachers_config
from codctl.quantities import counted
from codctl.seeds import derive_seed
from codctl.train import probes
from codctl.train.credited import Scored
from codctl.train.teachers import Teacher

_LEAST, _MOST = 0.25, 4.0  # of a family's scale


class Teachers:
    """All teachers of a run. Everything is called in the event loop that `start` was called in.

    Args:
        config: Recipe.
        teachers: Found and compared with the student.
        chat: Of the student.
        pad_id: Token that fills short rows.
        log: Where engines of other processes write, each with its number.
    """

    def __init__(
        self, config: Config, teachers: Sequence[Teacher], chat: TemplateChat, *, pad_id: int, log: Path
    ) -> None:
        self._config, self._chat, self._pad_id = config, chat, pad_id
        self._mixture = Mixture.of(config.world)
        self._top = {"sampled": 0, "topk": config.distill.top_k, "full": ALL}[config.distill.estimator]
        self._desks = self._made(teachers, log)
        self._of_family = {
            part.family.name: teacher
            for part, world in zip(self._mixture.parts, config.world.parts, strict=True)
            for teacher in teachers
            if world.family in teacher.families
        }

    def _made(self, teachers: Sequence[Teacher], log: Path) -> list[_Desk]:
        at_desks: dict[tuple[Path, bool], list[Teacher]] = defaultdict(list)
        for teacher in {teacher.folder: teacher for teacher in teachers}.values():
            at_desks[teacher.base, teacher.is_adapter].append(teacher)
        places = place(self._config).teachers or ((),)
        shares = not self._config.distill.gpus or len(at_desks) > len(places)
        config = teachers_config(self._config, shares=shares)
        provider = provider_of(config)
        if provider.in_process:
            return [_Beside(config, found, self._chat, self._pad_id) for found in at_desks.values()]
        return [
            _Apart(
                config, found, provider, places[number % len(places)], log.with_stem(f"{log.stem}-{number}"), self._top
            )
            for number, found in enumerate(at_desks.values())
        ]

    async def start(self) -> None:
        """Open every engine once, and see that it scores its own replies as it has sampled them.

        Raises:
            StageError: One does not.
            BackendError: One does not start.
        """
        for desk in self._desks:
            for teacher in desk.teachers:
                engine = await desk.take(teacher)
                await self._check(teacher, engine)
            await desk.rest()

    async def aclose(self) -> None:
        await asyncio.gather(*(desk.aclose() for desk in self._desks), return_exceptions=True)

    async def teach(self, scored: Scored, samples: Sequence[Sample]) -> tuple[list[Sample], dict[str, float]]:
        """Rows with the lessons of their families' teachers, in the same order, and metrics.

        A row that its teacher could not score is dropped and counted, and so is one without a lesson where nothing else
        is learned from it.

        Raises:
            StageError: Most rows could not be scored.
        """
        distill = self._config.distill
        labels = self._labels(scored)
        kinds = [scored.episodes[_episode(sample)].kind for sample in samples]
        wanted = [n for n, kind in enumerate(kinds) if kind in distill.kinds]
        found: dict[int, Scores] = {}
        reason = ""
        for desk in self._desks:
            for teacher in desk.teachers:
                own = [n for n in wanted if self._teacher(labels[_episode(samples[n])]).folder == teacher.folder]
                if own:
                    scores, failed = await self._scores(await desk.take(teacher), [samples[n] for n in own])
                    found |= {n: one for n, one in zip(own, scores, strict=True) if one is not None}
                    reason = reason or failed
            await desk.rest()
        lost = len(wanted) - len(found)
        if 2 * lost > len(wanted):
            raise StageError(f"the teachers could not score {lost} of {counted(len(wanted), 'row')}: {reason}")
        scales = self._scales(samples, found, labels)
        taught: list[Sample] = []
        for number, sample in enumerate(samples):
            if number in found:
                taught.append(replace(sample, lesson=self._lesson(sample, found[number], labels, scales)))
            elif distill.mix.reward and kinds[number] not in distill.kinds:
                taught.append(sample)
        return taught, {
            "distill/unscored": lost / max(len(wanted), 1),
            **({f"distill/scale/{family}": scale for family, scale in scales.items()}),
        }

    def _lesson(self, sample: Sample, scores: Scores, labels: Sequence[str], scales: dict[str, float]) -> Lesson:
        label = labels[_episode(sample)]
        family = _family(label)
        return Lesson(str(self._of_family[family].folder), label, scores, scales.get(family, 1.0))

    def _labels(self, scored: Scored) -> list[str]:
        """`FAMILY/KIND` of each episode."""
        names = [part.family.name for part in self._mixture.parts]
        return [
            f"{next(name for name in names if one.pack.startswith(f'{name}/'))}/{episode.kind}"
            for one in scored.trajectories
            for episode in one.episodes
        ]

    def _teacher(self, label: str) -> Teacher:
        return self._of_family[_family(label)]

    async def _scores(self, engine: OpenEngine, rows: Sequence[Sample]) -> tuple[list[Scores | None], str]:
        """All at once; where that fails one by one, so that one row costs no other. And the first reason."""
        try:
            return list(await engine.score(rows, self._top)), ""
        except EngineError:
            found: list[Scores | None] = []
            reason = ""
            for row in rows:
                try:
                    [scores] = await engine.score([row], self._top)
                    found.append(scores)
                except EngineError as error:
                    found.append(None)
                    reason = reason or str(error)
            return found, reason

    def _scales(self, samples: Sequence[Sample], found: dict[int, Scores], labels: Sequence[str]) -> dict[str, float]:
        """Of each family's losses: the spread of all log-ratios over that of its own, within bounds.

        Source: github.com/LiXin97/DN-MOPD; deviations: none known.
        """
        if self._config.distill.domain_scale == "none":
            return {}
        gaps: dict[str, list[Any]] = defaultdict(list)
        for number, scores in found.items():
            sample = samples[number]
            gaps[_family(labels[_episode(sample)])].append(scores.logprobs_N - sample.logprobs[sample.loss_mask])
        joined = {family: np.concatenate(own).astype(np.float64) for family, own in sorted(gaps.items())}
        spread = float(np.concatenate(list(joined.values())).std()) if joined else 0.0
        return {
            family: float(np.clip(spread / own.std(), _LEAST, _MOST)) if own.std() else 1.0
            for family, own in joined.items()
        }

    async def _check(self, teacher: Teacher, engine: OpenEngine) -> None:
        """Compare what it samples with its scores of that: tells wrong weights, temperatures and places."""
        part = next(part for part in self._mixture.parts if self._of_family[part.family.name].folder == teacher.folder)
        pack = part.family.pack("validation", 0, self._mixture.length, part.world.preset, part.world.variant)
        ids, tag = probes.prompt_of(pack, self._chat, self._config.world.rendering)
        sampling = Sampling(probes.TOKENS, 1.0, self._chat.stop_ids)
        try:
            async with asyncio.timeout(self._config.sampling.deadline_s):
                reply = await engine.generate(ids, sampling, seed=derive_seed("teacher", tag.pack), tag=tag)
                [scores] = await engine.score([probes.row_of(ids, reply)], self._top)
        except (EngineError, TimeoutError) as error:
            raise StageError(f"the teacher {teacher.name} does not score: {error or 'no answer'}") from error
        gap = float(np.abs(scores.logprobs_N - np.array(reply.logprobs)).mean())
        limit = probes.TOLERANCE[self._config.model.dtype]
        if not gap <= limit:
            raise StageError(
                f"the teacher {teacher.name} scores its own reply otherwise than it sampled it: log-probs differ by "
                f"{gap:.3g} on average (limit {limit:.3g})",
                hint="report it with the engine's version; distill.engine=transformers scores in this process",
            )


def _episode(sample: Sample) -> int:
    assert sample.episode is not None
    return sample.episode


def _family(label: str) -> str:
    return label.rpartition("/")[0]


class _Desk:
    """One engine, and the teachers that it serves in turns."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = teachers

    async def take(self, teacher: Teacher) -> OpenEngine:
        """The engine, with a teacher's weights."""
        raise NotImplementedError

    async def rest(self) -> None:
        """Give memory to others."""

    async def aclose(self) -> None:
        """End it."""


class _Beside(_Desk):
    """Models in this process: scores are the learner's own arithmetic."""

    def __init__(self, config: Config, teachers: Sequence[Teacher], chat: TemplateChat, pad_id: int) -> None:
        super().__init__(teachers)
        self._config, self._chat, self._pad_id = config, chat, pad_id
        self._open: tuple[Any, OpenEngine] | None = None

    async def take(self, teacher: Teacher) -> OpenEngine:
        if self._open is None:
            self._open = self._loaded()
        model, engine = self._open
        if teacher.is_adapter:
            number = self.teachers.index(teacher)
            model.set_adapter(_adapter(number))
            model.requires_grad_(False)
            await engine.update_weights(Weights(number))
        return engine

    async def rest(self) -> None:
        if self._config.distill.take_turns:
            await self.aclose()

    async def aclose(self) -> None:
        if self._open is not None:
            (_, engine), self._open = self._open, None
            await engine.aclose()

    def _loaded(self) -> tuple[Any, OpenEngine]:
        from codctl.learner.scoring import Scorer
        from codctl.models.load import autocast_type, load_adapters, load_model, use_attention

        config, first = self._config, self.teachers[0]
        gpu = place(config).learners[0]
        device, dtype = config.model.device if gpu is None else f"cuda:{gpu}", config.model.dtype
        if first.is_adapter:
            named = {_adapter(number): teacher.folder for number, teacher in enumerate(self.teachers)}
            model = load_adapters(named, dtype, device)
        else:
            model = load_model(first.folder, dtype, device)
        use_attention(model, config.model.attention, dtype)
        model.requires_grad_(False)
        train, autocast = config.train, autocast_type(dtype)
        scorer = Scorer(
            model,
            pad_id=self._pad_id,
            micro_batch_tokens=train.micro_batch_tokens,
            chunk=train.logprob_chunk,
            autocast=autocast,
        )
        context = of_folder(first.base).max_tokens
        loaded = LoadedModel(model, self._pad_id, context, autocast, None, scorer)
        opening = Opening(config, first.folder, first.base, (), Path("teachers.log"), loaded)
        return model, provider_of(config).open(opening)


def _adapter(number: int) -> str:
    return f"teacher{number}"


class _Apart(_Desk):
    """An engine of other processes; adapters are handed to it by their folders."""

    def __init__(
        self,
        config: Config,
        teachers: Sequence[Teacher],
        provider: EngineProvider,
        gpus: tuple[int, ...],
        log: Path,
        top: int,
    ) -> None:
        # An engine has room for adapters of the rank that it begins with.
        super().__init__(sorted(teachers, key=_rank, reverse=True))
        first = self.teachers[0]
        for teacher in teachers:
            _refuse_head(teacher)
        self._sleeps = config.engine.placement == "colocate"
        self._is_up = self._is_asleep = False
        opening = Opening(config, first.folder.absolute(), first.base.absolute(), (gpus,) if gpus else (), log, top=top)
        self._engine = provider.open(opening)

    async def take(self, teacher: Teacher) -> OpenEngine:
        if not self._is_up:
            await self._engine.start()
            self._is_up = True
        elif self._is_asleep:
            await self._engine.wake()
            self._is_asleep = False
        if len(self.teachers) > 1:
            await self._engine.update_weights(Weights(self.teachers.index(teacher), teacher.folder.absolute()))
        return self._engine

    async def rest(self) -> None:
        if self._sleeps and self._is_up and not self._is_asleep:
            await self._engine.sleep()
            self._is_asleep = True

    async def aclose(self) -> None:
        await self._engine.aclose()


def _rank(teacher: Teacher) -> int:
    return int(read_settings(teacher.folder / ADAPTER)["r"]) if teacher.is_adapter else 0


def _refuse_head(teacher: Teacher) -> None:
    """An adapter on the output layer, which engines of other processes would leave out of their log-probs."""
    targets = read_settings(teacher.folder / ADAPTER).get("target_modules") if teacher.is_adapter else None
    names = [targets] if isinstance(targets, str) else targets or []
    if any(targets_head(str(name)) or str(name) in ("lm_head", "embed_tokens") for name in names):
        raise PreflightError(
            f"the adapter of the teacher {teacher.name} is also on the output head or the embeddings",
            where="distill.engine",
            hint="distill.engine=transformers, or merge it into its base: PeftModel.merge_and_unload()",
        )
