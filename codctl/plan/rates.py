"""Assumed speeds and shares that no data sheet has, in one table: each with its source, each replaceable.

Figures that were measured on a kind of GPU stand in `MEASURED` and hold wherever a plan is made for that kind. A file
with other figures (`codctl plan RECIPE --rates FILE`) comes last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codctl.errors import UsageError


@dataclass(frozen=True)
class Rate:
    """A figure that plans are made with.

    Attributes:
        value: In `unit`.
        unit: Of the value; a share has none.
        meaning: What it is.
        source: Where it is from.
    """

    value: float
    unit: str
    meaning: str
    source: str


_ASSUMED = "assumed"
_ROLLOUTS = "measured: recipes/tiny with up to 16 and 128 sequences, one thread (AMD EPYC, experiments/bench)"
ASSUMED: dict[str, Rate] = {
    "learn_share": Rate(0.35, "", "of a GPU's FLOP/s on its data sheet, in learner steps", _ASSUMED),
    "learn_layer_s": Rate(0.6e-3, "s", "a layer of a learner's micro-batch on a GPU, at least: its kernels are started",
                          "assumed: a hundred kernels forward and back"),
    "prefill_share": Rate(0.4, "", "the same for prompts, and for replies of many sequences", _ASSUMED),
    "decode_share": Rate(0.75, "", "of a GPU's memory bandwidth on its data sheet, for replies",
                         "vLLM 0.21, Llama-3.1-8B, one H100: 6.5 ms a token (InferenceBench, concurrency sweep)"),
    "step_s": Rate(2e-3, "s", "a decoding step of an engine apart, beside weights, caches and products",
                   "assumed: scheduling, HTTP, log-probs; the sweep above left 0.1 ms at four sequences"),
    "row_s": Rate(8e-6, "s", "the same for each sequence: with a seed of its own it is sampled by itself",
                  "assumed: one kernel more"),
    "layer_s": Rate(1.35e-3, "s", "a decoding step of the transformers engine on a GPU, each layer",
                    "Qwen3-8B on an H100, 64 sequences: 61.6 ms a step, without CUDA graphs (experiments/bench)"),
    "sum_s": Rate(9e-6, "s", "a sum over the GPUs of an engine; two in each layer",
                  "vLLM's kernel on H100 (sgl-project/sglang, pull request 2904)"),
    "sum_share": Rate(0.12, "", "of the bandwidth between GPUs of a node, in such a sum",
                      "the same table: 1 MB in 27 µs on two, 40 on four, 45 on eight GPUs"),
    "link_share": Rate(0.6, "", "the same, for a learner's weights and gradients", _ASSUMED),
    "node_link": Rate(25e9, "B/s", "between two nodes, each GPU", "assumed: half of 400 Gbit/s"),
    "node_weights": Rate(0.7e9, "B/s", "weights to the engines of each further node",
                         "measured: 1.5 CPU seconds a GiB to receive and check them, one thread on an AMD EPYC"),
    "gather": Rate(4e9, "B/s", "weights out of the learner's GPUs", _ASSUMED),
    "publish": Rate(2.5e9, "B/s", "weights into a file in memory", "measured: one thread on an AMD EPYC"),
    "load": Rate(3.7e9, "B/s", "weights out of that file into an engine", _ASSUMED),
    "probes_s": Rate(2.0, "s", "replies that are compared after each update of the weights", _ASSUMED),
    "to_host": Rate(10e9, "B/s", "from a GPU into main memory", _ASSUMED),
    "disk": Rate(1e9, "B/s", "checkpoints onto the disk", _ASSUMED),
    "reply_spread": Rate(0.66, "", "deviation of a reply's tokens over their mean, of a model that was shown none",
                         "assumed: log-normal with a sigma of 0.6, as experiments/bench draws them"),
    "cpu_share": Rate(0.85, "", "of a CPU's FLOP/s in a large matrix product, for products with rows of hundreds",
                      "measured: 91 to 99 GFLOP/s, where a large product has 112 (AMD EPYC, experiments/bench)"),
    "cpu_decode_share": Rate(0.55, "", "the same for the few rows of a decoding step",
                             "measured: 44 to 55 GFLOP/s with ten rows, where a large product has 90 (AMD EPYC)"),
    "cpu_bandwidth": Rate(10e9, "B/s", "of main memory", _ASSUMED),
    "cpu_passes": Rate(10, "", "times that a learner step on a CPU moves what its layers keep: all but the products",
                       "measured: 27 µs a token of recipes/tiny beside its products (AMD EPYC, experiments/bench)"),
    "cpu_layer_s": Rate(0.6e-3, "s", "a decoding step of the transformers engine on a CPU, each layer", _ROLLOUTS),
    "cpu_row_s": Rate(0.11e-3, "s", "the same for each sequence: a token is drawn, and worlds answer", _ROLLOUTS),
}  # fmt: skip
MEASURED: dict[str, dict[str, Rate]] = {}  # by the kind of GPU (`cluster.gpu`), by name


@dataclass(frozen=True)
class Rates:
    """The figures of a plan, by name.

    Attributes:
        table: All of them, as `ASSUMED` names them.
    """

    table: Mapping[str, Rate]

    def __getitem__(self, name: str) -> float:
        return self.table[name].value

    def source(self, name: str) -> str:
        """Where a figure is from."""
        return self.table[name].source


def rates_for(gpu: str | None, own: Mapping[str, Any] | None = None) -> Rates:
    """The figures for a kind of GPU.

    Args:
        gpu: Kind, as `cluster.gpu` names it; None for a CPU.
        own: Figures of the user's, by name.

    Raises:
        UsageError: A name that there is not, or no number above zero.
    """
    table = {**ASSUMED, **MEASURED.get(gpu or "", {})}
    for name, value in (own or {}).items():
        if name not in table:
            raise UsageError(f"no rate is called {name!r}", hint=f"known: {', '.join(sorted(table))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise UsageError(f"rate {name}: expected a number above zero, got {value!r}")
        known = table[name]
        table[name] = Rate(float(value), known.unit, known.meaning, "yours")
    return Rates(table)
