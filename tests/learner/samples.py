"""Random training rows with the shape of episodes: a prompt, then replies and observations in turn."""

from __future__ import annotations

from random import Random
from typing import Any

from codctl.learner.batching import Sample


def random_sample(rng: Random, *, turns: int | None = None) -> Sample:
    ids, mask = [rng.randrange(2, 300) for _ in range(rng.randint(3, 20))], []
    mask = [0] * len(ids)
    for _ in range(turns or rng.randint(1, 4)):
        for sampled, length in ((1, rng.randint(1, 6)), (0, rng.randint(0, 5))):
            ids += [rng.randrange(2, 300) for _ in range(length)]
            mask += [sampled] * length
    return Sample(ids, mask, [0.0] * len(ids), rng.uniform(-1, 1))


def on_policy(model: Any, samples: list[Sample], *, noise: float = 0.0, seed: int = 0) -> list[Sample]:
    """The same rows with the model's own log-probs, each moved by up to `noise`."""
    from dataclasses import replace

    import torch

    rng = Random(seed)
    found = []
    for sample in samples:
        with torch.no_grad():
            logprobs = torch.log_softmax(model(input_ids=torch.tensor(sample.ids.tolist())[None]).logits[0].float(), -1)
        own = [0.0] + [float(logprobs[t - 1, sample.ids[t]]) for t in range(1, len(sample.ids))]
        old = [m * (p + rng.uniform(-noise, noise)) for m, p in zip(sample.loss_mask, own, strict=True)]
        found.append(replace(sample, logprobs=old))
    return found


def random_samples(count: int, seed: int = 0) -> list[Sample]:
    rng = Random(seed)
    return [random_sample(rng) for _ in range(count)]
