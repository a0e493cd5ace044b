"""Keys that contradict one another are refused where they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from codctl.config.compose import load_config
from codctl.errors import UsageError

VLLM = "engine:\n  kind: vllm\n"
LORA = "model:\n  lora:\n    rank: 8\n"
TARGET = "    target: lm_head\n"

# recipe, line and key of the message, a part of it, what to type
TABLE = {
    "rank that vLLM does not take": (
        VLLM + "model:\n  lora:\n    rank: 12\n",
        (5, "model.lora.rank"),
        "vLLM supports the ranks 1, 8, 16, 32, 64, 128, 256, 320, 512, got 12",
        "model.lora.rank=8",
    ),
    "top_p in training": (
        "sampling:\n  top_p: 0.9\n",
        (2, "sampling.top_p"),
        "training needs 1, got 0.9: with less, the sampler's log-probs are normalised over the likeliest tokens only",
        "sampling.top_p=1",
    ),
    "overlap on the same GPUs": (
        VLLM + "  overlap: true\ncluster:\n  gpus_per_node: 2\n",
        (3, "engine.overlap"),
        "engines on the learner's GPUs cannot sample while it learns",
        "engine.placement=disjoint engine.gpus=N",
    ),
    "a lead without overlap": (
        "engine:\n  lead: 1\n",
        (2, "engine.lead"),
        "lead=1 plays ahead while the learner learns, which overlap=false does not",
        "engine.overlap=true, or engine.lead=0",
    ),
    "a password in a URL": (
        VLLM + "  servers: ['http://me:secret@gpu1:8000']\n",
        (3, "engine.servers"),
        "a server's URL holds a user or password",
        "give the URL without them",
    ),
    "a server that is no URL": (
        VLLM + "  servers: ['gpu1:8000']\n",
        (3, "engine.servers"),
        'expected URLs, got "gpu1:8000"',
        "engine.servers=[http://localhost:8000]",
    ),
    "servers of another engine": (
        "engine:\n  servers: ['http://gpu1:8000']\n",
        (2, "engine.servers"),
        "servers need engine.kind=vllm",
        "engine.kind=vllm",
    ),
    "a key of earlier versions": (
        VLLM + "  transport: http\n",
        (3, "engine.transport"),
        "engine.transport: vLLM is always reached over HTTP now",
        "delete the key",
    ),
    "adapter on a tied head": (
        "model:\n  build:\n    tie_embeddings: true\n  lora:\n    rank: 4\n    target: '.*(q_proj|embed_tokens)'\n",
        (6, "model.lora.target"),
        "which are one matrix in this model",
        "model.lora.target=all-linear",
    ),
    "adapter on a head for vLLM": (
        VLLM + LORA + TARGET,
        (6, "model.lora.target"),
        "vLLM does not support adapters on the output head or the embeddings",
        "model.lora.target=all-linear",
    ),
    "adapter on nothing": (
        "model:\n  lora:\n    rank: 4\n    target: q_proj\n",
        (4, "model.lora.target"),
        'no module of the model is called "q_proj"; PEFT compares full names',
        "'.*\\.(q|v)_proj'",
    ),
    "a pattern that is none": (
        "model:\n  lora:\n    rank: 4\n    target: '*q_proj'\n",
        (4, "model.lora.target"),
        "is not a regular expression",
        "model.lora.target=all-linear",
    ),
}


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("text", "place", "message", "hint"), TABLE.values(), ids=TABLE)
def test_the_message_names_line_reason_and_way_out(
    tmp_path: Path, text: str, place: tuple[int, str], message: str, hint: str
) -> None:
    recipe, (line, key) = written(tmp_path, text), place
    with pytest.raises(UsageError) as error:
        load_config(recipe)
    assert error.value.where == f"{recipe}:{line}"
    assert error.value.message.startswith(f"{key}: ")
    assert message in error.value.message
    assert hint in error.value.hint
    assert "secret" not in error.value.message + error.value.hint


def test_of_an_override_the_message_names_the_override() -> None:
    with pytest.raises(UsageError, match=r"^sampling\.top_p: training needs 1") as error:
        load_config("tiny", ["sampling.top_p=0.5"])
    assert error.value.where == "override sampling.top_p=0.5"


@pytest.mark.parametrize(
    "text",
    [
        VLLM + LORA,
        VLLM + "  overlap: true\n  placement: disjoint\n  gpus: 4\ncluster:\n  gpus_per_node: 8\n",
        "engine:\n  overlap: true\n",
        VLLM + "  overlap: true\n  servers: ['http://localhost:8000', 'https://gpu1/v1']\n",
        "model:\n  lora:\n    rank: 12\n",
        LORA + TARGET,  # untied, and no vLLM
        "model:\n  lora:\n    rank: 4\n    target: '.*layers\\.1\\..*(q|v)_proj'\n",
        "model:\n  path: some/model\n  lora:\n    rank: 4\n    target: c_attn\n",  # unknown modules: PEFT will tell
        "train:\n  enabled: false\nsampling:\n  top_p: 0.9\n",
    ],
)
def test_what_goes_together_passes(tmp_path: Path, text: str) -> None:
    load_config(written(tmp_path, text))
