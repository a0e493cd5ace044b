"""Estimators of the reverse KL: golden values, gradients, and that a model learns nothing from itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from codctl.cod.engine import ALL
from codctl.config.schema import Config, DistillConfig, LoraConfig, LossConfig, TeacherConfig, TrainConfig
from codctl.config.schema.distill import MixConfig
from codctl.learner.batching import Lesson, Sample, by_teacher
from codctl.learner.distillation import Distilled, full, sampled, topk
from codctl.learner.group import open_group
from codctl.learner.learner import Learner
from codctl.learner.scoring import Scorer
from codctl.models.load import add_lora, use_attention
from tests.learner.samples import on_policy, random_samples
from tests.learner.several import recipe, several

STUDENT = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
TEACHER = torch.log(torch.tensor([[0.25, 0.6, 0.1, 0.05]]))
KL = 0.5 * math.log(2) + 0.3 * math.log(0.5) + 0.15 * math.log(1.5)  # 0.199449
TOP = {"sampled": 0, "topk": 3, "full": ALL}


def numbers(found: Distilled) -> list[float]:
    return [float(column[0]) for column in found]


def test_sampled_by_hand() -> None:
    """−g·log π with g = log 0.25/0.5; the sampled estimate of the KL is −g; clamped at 0.5."""
    gap = math.log(0.5)
    found = sampled(STUDENT[:, 0], TEACHER[:, 0], 20.0)
    assert numbers(found) == pytest.approx([-gap * math.log(0.5), -gap, 0.0])
    assert numbers(sampled(STUDENT[:, 0], TEACHER[:, 0], 0.5)) == pytest.approx([0.5 * math.log(0.5), -gap, 1.0])


def test_full_by_hand() -> None:
    assert pytest.approx(0.199449, abs=1e-6) == KL
    assert numbers(full(STUDENT, TEACHER, 20.0)) == pytest.approx([KL, KL, 0.0])
    clamped = 0.5 * 0.5 - 0.3 * 0.5 + 0.15 * math.log(1.5)
    assert numbers(full(STUDENT, TEACHER, 0.5)) == pytest.approx([clamped, KL, 0.8])


def test_topk_by_hand() -> None:
    """Events: the teacher's likeliest token 1, the sampled one, and the rest."""

    def found(token: int, clamp: float = 20.0) -> list[float]:
        ids, top = torch.tensor([token]), torch.tensor([[1]])
        return numbers(topk(STUDENT, ids, top, TEACHER[:, 1:2], TEACHER[:, token], clamp))

    two = 0.3 * math.log(0.5) + 0.7 * math.log(0.7 / 0.4)  # token 1 was sampled: it counts once
    three = 0.5 * math.log(2) + 0.3 * math.log(0.5) + 0.2 * math.log(0.2 / 0.15)
    assert found(1) == pytest.approx([two, two, 0.0])
    assert found(0) == pytest.approx([three, three, 0.0])
    assert two <= three <= KL
    assert found(0, 0.6) == pytest.approx([0.5 * 0.6 - 0.3 * 0.6 + 0.2 * math.log(0.2 / 0.15), three, 0.8])


def test_topk_with_the_whole_vocabulary_is_full() -> None:
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(9, 7, generator=generator).log_softmax(-1) for _ in range(2))
    ids, all_ids = torch.arange(9) % 7, torch.arange(7).expand(9, 7)
    found = topk(mine, ids, all_ids, theirs, theirs.gather(1, ids[:, None])[:, 0], 20.0)
    for one, other in zip(found, full(mine, theirs, 20.0), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("estimator", ["sampled", "topk", "full"])
def test_expected_gradients_are_those_of_the_kl(estimator: str) -> None:
    """Summed over all tokens that may be sampled, by their probability; `topk` has the gradient of its coarser KL."""
    logits = torch.randn(1, 6, generator=torch.Generator().manual_seed(1), requires_grad=True)
    teacher = torch.randn(1, 6, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    mine = logits.log_softmax(-1)
    top = teacher.topk(2)
    total, wanted = torch.zeros(()), torch.zeros(())
    for token in range(6):
        ids, p = torch.tensor([token]), mine[0, token].exp().detach()
        own = teacher[:, token]
        if estimator == "sampled":
            total = total + p * sampled(mine[:, token], own, 20.0).losses_N[0]
            wanted = wanted + p * (mine.exp() * (mine - teacher)).sum()
        elif estimator == "full":
            total = total + p * full(mine, teacher, 20.0).losses_N[0]
            wanted = wanted + p * (mine.exp() * (mine - teacher)).sum()
        else:
            total = total + p * topk(mine, ids, top.indices, top.values, own, 20.0).losses_N[0]
            known = sorted({*top.indices[0].tolist(), token})
            rest = [one for one in range(6) if one not in known]
            events = [[one] for one in known] + [rest]
            mass, theirs = (torch.stack([x[0, event].exp().sum() for event in events]) for x in (mine, teacher))
            wanted = wanted + p * (mass * (mass / theirs).log()).sum()
    [found], [expected] = (torch.autograd.grad(one, logits, retain_graph=True) for one in (total, wanted))
    assert found == pytest.approx(expected, abs=1e-6)


def settings(estimator: str, **more: Any) -> DistillConfig:
    teachers = (TeacherConfig(families=("frozen_lake",), model="t"), TeacherConfig(families=("alchemy",), model="u"))
    return DistillConfig(teachers=teachers, estimator=estimator, **more)  # type: ignore[arg-type]


def config(**more: Any) -> TrainConfig:
    return TrainConfig(lr=1e-3, micro_batch_tokens=256, logprob_chunk=more.pop("chunk", 4096), **more)


def taught(model: Any, samples: list[Sample], top: int, chunk: int = 4096) -> list[Sample]:
    """Rows with the lessons of a model, in turns for two families."""
    scorer = Scorer(model, pad_id=0, micro_batch_tokens=256, chunk=chunk, autocast=None)
    found: dict[int, Sample] = {}
    for number, family in enumerate(("alchemy", "frozen_lake")):
        rows = samples[number::2]
        for place, scores in enumerate(scorer(rows, top)):
            lesson = Lesson(family, f"{family}/{'solve' if place % 2 else 'update'}", scores)
            found[2 * place + number] = replace(rows[place], lesson=lesson, advantage=0.0)
    return [found[index] for index in sorted(found)]


def learner(model: Any, distill: DistillConfig | None, **more: Any) -> Learner:
    return Learner(model, config(**more), pad_id=0, temperature=1.0, seed=0, distill=distill)


def weights(model: Any) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


@pytest.mark.parametrize("estimator", ["sampled", "topk", "full"])
@pytest.mark.parametrize("kind", ["padded", "packed", "lora", "chunks"])
def test_a_model_learns_exactly_nothing_from_itself(model: Any, estimator: str, kind: str) -> None:
    chunk = 7 if kind == "chunks" else 4096
    if kind == "lora":
        model = add_lora(model, LoraConfig(rank=4), 0)
    if kind == "packed":
        use_attention(model, "varlen")
    before = weights(model)
    rows = taught(model, on_policy(model, random_samples(31, seed=2)), TOP[estimator], chunk)
    found = learner(model, settings(estimator, domain_scale="std"), chunk=chunk).learn(rows, 1)
    assert (found["grad_norm"], found["loss"], found["distill/kl"], found["distill/clamped"]) == (0, 0, 0, 0)
    assert found.get(f"distill/kl_{estimator}", 0.0) == 0
    assert all(torch.equal(one, other) for one, other in zip(weights(model), before, strict=True))


@pytest.fixture
def teacher(tiny_folder: Any) -> Any:
    from codctl.models.load import load_model

    found = load_model(tiny_folder, "float32", "cpu")
    with torch.no_grad():
        for number, weight in enumerate(found.parameters()):
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) * weight.std() * 0.5)
    return found


@pytest.mark.parametrize("estimator", ["sampled", "topk", "full"])
def test_a_student_comes_nearer_to_its_teacher(model: Any, teacher: Any, estimator: str) -> None:
    rows = taught(teacher, on_policy(model, random_samples(40)), TOP[estimator])
    student = learner(model, settings(estimator))
    found = [student.learn(taught(teacher, rows, TOP[estimator]), step) for step in range(1, 4)]
    name = "distill/kl" if estimator == "sampled" else f"distill/kl_{estimator}"
    assert found[0][name] > found[-1][name]
    labels = [
        f"distill/{family}/{kind}/tokens" for family in ("alchemy", "frozen_lake") for kind in ("solve", "update")
    ]
    assert sum(found[0][label] for label in labels) == found[0]["distill/tokens"] == sum(r.loss_tokens for r in rows)
    assert found[0]["distill/entropy"] == pytest.approx(found[0]["entropy"])
    if estimator == "topk":
        exact = learner(model, settings("full")).learn(taught(teacher, rows, ALL), 9)["distill/kl_full"]
        coarse = student.learn(taught(teacher, rows, TOP["topk"]), 9)["distill/kl_topk"]
        assert 0 < coarse <= exact + 1e-3


def test_the_mix_adds_the_loss_of_the_rewards(model: Any, teacher: Any) -> None:
    rows = taught(teacher, on_policy(model, random_samples(30)), 0)
    rewarded = [replace(row, advantage=(-1.0) ** number) for number, row in enumerate(rows)]
    without = [replace(row, lesson=None) for row in rewarded]

    def loss(samples: list[Sample], distill: DistillConfig | None) -> float:
        found = learner(model, distill, loss=LossConfig(red=False))
        return found.learn(samples, 1, judge=lambda metrics: False)["loss"]

    distilled = loss(rows, settings("sampled"))
    both = loss(rewarded, settings("sampled", mix=MixConfig(distill=0.5, reward=2.0)))
    assert both == pytest.approx(0.5 * distilled + 2 * loss(without, None), rel=1e-4)
    assert loss(rewarded, settings("sampled")) == pytest.approx(distilled)  # rewards have no weight by default


def test_rows_are_grouped_by_teacher_in_the_order_of_their_scoring() -> None:
    rows = [replace(row, index=index) for index, row in enumerate(random_samples(6))]
    lessons = [None, Lesson("b", "b", None), Lesson("a", "a", None)] * 2  # type: ignore[arg-type]
    mixed = [replace(row, lesson=lesson) for row, lesson in zip(rows, lessons, strict=True)][::-1]
    assert [[row.index for row in part] for part in by_teacher(mixed)] == [[3, 0], [2, 5], [1, 4]]


def test_ratio_weighs_by_what_sampled(model: Any, teacher: Any) -> None:
    fresh = taught(teacher, on_policy(model, random_samples(20)), 0)
    stale = [replace(row, logprobs=row.logprobs - np.float32(0.5) * row.loss_mask) for row in fresh]
    found = [
        learner(model, settings("sampled", weight=weight)).learn(stale, 1, judge=lambda metrics: False)["loss"]
        for weight in ("none", "ratio")
    ]
    assert found[1] == pytest.approx(math.exp(0.5) * found[0], rel=1e-4)


@pytest.mark.parametrize(
    ("estimator", "more"),
    [
        ("topk", {"strategy": "ddp"}),
        ("full", {"strategy": "fsdp", "split_long_rows": True, "attention": "varlen", "micro_batch_tokens": 65}),
    ],
)
def test_two_processes_distil_as_one(
    tiny_folder: Path, model: Any, teacher: Any, tmp_path: Path, estimator: str, more: dict[str, Any]
) -> None:
    """Also where they share the tokens of long rows, and where one has rows and the other none."""
    both = {"mixture": [{"family": "frozen_lake"}, {"family": "alchemy"}]}
    plain = recipe(**more).model_dump(mode="json")
    config = Config.model_validate({**plain, "world": both, "distill": settings(estimator).model_dump(mode="json")})
    steps = [taught(teacher, on_policy(model, random_samples(count, seed=count)), TOP[estimator]) for count in (13, 1)]
    found = []
    for name, opened in (("one", open_group(config, tiny_folder, pad_id=0)), ("two", several(config, tiny_folder))):
        with opened as group:
            metrics = [group.learn(rows, step) for step, rows in enumerate(steps, start=1)]
            group.publish(tmp_path / name)
        found.append((metrics, load_file(tmp_path / name / "model.safetensors")))
    (alone, weights), (together, others) = found
    for own, other in zip(alone, together, strict=True):
        assert own["distill/tokens"] > 0
        for name in set(own) - {"tokens/forwarded", "tokens/useful_fraction"}:
            assert other[name] == pytest.approx(own[name], rel=1e-5, abs=1e-6), name
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 1e-6
