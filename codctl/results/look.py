"""What a look at the model before CoD-Train has shown: whether its replies can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from codctl.quantities import share
from codctl.results.outcomes import Episode, TokenLimits, did, unreadable

PHASE = "look"  # in metrics.jsonl
EPISODES: dict[Episode, str] = {"solve": "solve episodes", "update": "updates"}


def sentence(metrics: Mapping[str, float], limits: TokenLimits) -> str:
    """How many replies could be read, what the others did, and the success by position.

    Args:
        metrics: As the look has logged them.
        limits: Of replies.
    """
    counts = {episode: _counts(metrics, episode) for episode in EPISODES}
    read, why = [], []
    for episode, words in EPISODES.items():
        if total := counts[episode].total():
            bad = unreadable(counts[episode])
            read.append(f"{total - bad.total()} of {total} {words}")
            if bad:
                why.append(f"of the {words}, {did(limits, episode, counts[episode])}")
    success = [metrics[name] for place in range(len(metrics)) if (name := f"success/position_{place}") in metrics]
    reasons = f" ({'; '.join(why)})" if why else ""
    return f"{' and '.join(read)} could be read{reasons}; success {' '.join(map(share, success))}"


def worst(metrics: Mapping[str, float]) -> tuple[str, float]:
    """The kind of episode of which the largest share could not be read, and that share."""
    shares = {}
    for episode, words in EPISODES.items():
        counts = _counts(metrics, episode)
        shares[words] = unreadable(counts).total() / max(counts.total(), 1)
    words = max(shares, key=lambda one: shares[one])
    return words, shares[words]


def _counts(metrics: Mapping[str, float], episode: str) -> Counter[str]:
    prefix, of = f"outcome/{episode}/", metrics.get(f"episodes/{episode}", 0)
    found = {name.removeprefix(prefix): round(of * value) for name, value in metrics.items() if name.startswith(prefix)}
    return Counter({outcome: n for outcome, n in found.items() if n})
