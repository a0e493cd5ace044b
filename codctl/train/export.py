"""What goes beside trained weights, so that the folder is an ordinary Hugging Face one: tokenizer, base, model card."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codctl import __version__
from codctl.cod.mixture import Mixture
from codctl.cod.prompts import solve_messages
from codctl.config.freeze import digest
from codctl.config.schema import Config, ModelConfig
from codctl.files.seal import is_sealed
from codctl.models import hub
from codctl.models.load import load_chat
from codctl.quantities import counted, percent, share
from codctl.report.findings import ordinal
from codctl.runs.directory import RunDirectory
from codctl.tracking import jsonl
from codctl.train.setup import write_side_file

_ADAPTER = "adapter_config.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def describe(run: RunDirectory, config: Config, tokenizer: Any, folder: Path) -> None:
    """Complete a folder that holds a model or PEFT adapter: tokenizer, codctl.json, model card, name of the base model.

    The same training gives the same bytes: nothing in it depends on time or on where the run lies.

    Args:
        run: Whose metrics the card shows.
        config: Its recipe.
        tokenizer: With the chat template that the model was trained with.
        folder: Not sealed yet.
    """
    tokenizer.save_pretrained(folder)
    write_side_file(config, load_chat(folder, tokenizer), folder)
    is_adapter = (folder / _ADAPTER).is_file()
    own_base = is_adapter and _has_own_base(run)
    if is_adapter and not own_base:
        name_base(folder, config.model)
    records, licence = jsonl.read(run.metrics_path), hub.licence(config.model.path, config.model.revision)
    card = model_card(config, records, is_adapter=is_adapter, own_base=own_base, licence=licence)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _has_own_base(run: RunDirectory) -> bool:
    """Whether the run's adapters sit on a model of its own: one whose weights its warm start has trained."""
    warm = run.warm_start
    return is_sealed(warm) and not (warm / "model" / _ADAPTER).is_file()


def name_base(folder: Path, model: ModelConfig) -> None:
    """Let an adapter name its base model by hub id and commit, so that it loads on any machine."""
    if not model.path or not hub.is_hub_id(model.path):
        return
    cached = hub.find(model.path, model.revision, weights=False)
    commit = cached.name if cached and _COMMIT.fullmatch(cached.name) else model.revision
    path = folder / _ADAPTER
    settings = {**json.loads(path.read_text()), "base_model_name_or_path": model.path, "revision": commit}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


_PAPER = "[arXiv 2606.20002](https://arxiv.org/abs/2606.20002)"
_POSITION = re.compile(
    r"(?:(?P<family>\w+)/)?(?P<measure>success|raw_reward|hint_correctness)/position_(?P<position>\d+)"
)
_MEASURES = {
    "success": "success",
    "raw_reward": "mean reward",  # of graded families only
    "hint_correctness": "knowable facts that the hints state correctly",
}


def model_card(
    config: Config,
    records: Sequence[Mapping[str, Any]],
    *,
    is_adapter: bool,
    own_base: bool = False,
    licence: str = "",
) -> str:
    """The README.md of a model folder.

    Args:
        config: Recipe.
        records: The run's metrics, as metrics.jsonl has them.
        is_adapter: Whether the folder holds a PEFT adapter.
        own_base: Whether that adapter sits on the run's own warm-started model, and not on the model of `model.path`.
        licence: Of the model of `model.path`, as its own card names it; empty when that is not known.
    """
    parts = [
        _front_matter(config, is_adapter, own_base, licence),
        _what(config, is_adapter, own_base),
        _training(config),
        _curves(config, records),
        _prompting(config, is_adapter, own_base),
        _limits(config, records, licence),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _front_matter(config: Config, is_adapter: bool, own_base: bool, licence: str) -> str:
    from huggingface_hub import ModelCardData

    path = config.model.path
    base = path if path and hub.is_hub_id(path) else None
    relation = "adapter" if is_adapter and not own_base else "finetune"
    data = ModelCardData(
        base_model=base,
        base_model_relation=relation if base else None,
        license=(licence or "unknown") if path else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["codctl", "connect-the-dots", "reinforcement-learning", *(["lora"] if is_adapter else [])],
    )
    return f"---\n{data.to_yaml()}\n---"


def _what(config: Config, is_adapter: bool, own_base: bool) -> str:
    families = " and ".join(part.family for part in config.world.parts)
    kind = "PEFT adapter for" if is_adapter else "fine-tune of"
    base = _start(config)
    described = f"\n{config.description}\n" if config.description else ""
    after = " after a fine-tune of all its weights" if own_base else ""
    return f"""# {base[0].upper() + base[1:]}, CoD-trained on {families}
{described}
A {kind} {base}{after}, trained with codctl to learn on the job: it solves the tasks of one world in a row, and between
two tasks it rewrites a short text of hints for itself (Connect the Dots, {_PAPER})."""


def _start(config: Config) -> str:
    """What training began with; of a folder only its name, since where it lay is private."""
    path = config.model.path
    if path is None:
        return "a small Qwen3 built from scratch"
    name = path if hub.is_hub_id(path) else Path(path).name
    return f"{name} with random weights" if config.model.init == "random" else name


def _training(config: Config) -> str:
    train, model = config.train, config.model
    worlds = ", ".join(
        f"{p.family} `{p.preset}`" + (f" ({p.variant})" if p.variant else "") for p in config.world.parts
    )
    start = _start(config) + (f" at `{model.revision}`" if model.revision else "")
    packs = counted(config.warm_start.packs, "pack")
    learned = f"loss `{train.loss.kind}`"
    if distill := config.distill.teachers:
        taught = ", ".join(f"{teacher.model} ({' and '.join(teacher.families)})" for teacher in distill)
        learned = f"reverse KL (`{config.distill.estimator}`) to {taught}"
    rows = {
        "worlds": f"{worlds}; {counted(config.world.length, 'task')} each",
        "start": f"{start}, then SFT on {packs}" if config.warm_start.enabled else start,
        config.stage: f"{counted(train.steps, 'step')} of {counted(train.packs, 'pack')} × {train.rollouts} rollouts, "
        f"{learned}, learning rate {train.lr:g}",
        "trained": f"LoRA of rank {model.lora.rank} on `{model.lora.target}`" if model.lora.rank else "all weights",
        "arithmetic": f"`{model.dtype}`; sampled by the `{config.engine.kind}` engine",
        "seed": str(config.seed),
        "recipe digest": f"`{digest(config)}`",
        "codctl": __version__,
    }
    return "## Training\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _curves(config: Config, records: Sequence[Mapping[str, Any]]) -> str:
    """Held-out packs at the start and at the end; where none were played, the rollouts of the training itself."""
    validated = [record for record in records if record["phase"] == "validation"]
    shown = validated or [record for record in records if record["phase"] == "train"]
    if not shown:
        return "## Curves\n\nNo step of CoD-Train was recorded."
    packs = _packs(config, bool(validated))
    source = f"{packs} held-out packs" if validated else f"the training's own {packs} rollouts of a step"
    rows = [
        row
        for measure, words in _MEASURES.items()
        for record in (shown[:1] + shown[1:][-1:])
        for row in _rows(record, measure, words)
    ]
    positions = range(config.world.length)
    head = "| step | what | " + " | ".join(f"{ordinal(i)} task" for i in positions) + " |"
    rule = "|---|---|" + "---|" * len(positions)
    error = _error(packs)
    return (
        f"## Curves\n\nBy position in the pack, on {source}; the standard error of a share is at most {error:.2f}.\n\n"
        + "\n".join([head, rule, *(f"| {cells} |" for cells in rows)])
        + _unreadable(records)
    )


def _packs(config: Config, validated: bool) -> int:
    """How many packs a point of the curves is a mean of."""
    return config.evaluation.every_packs if validated else config.train.packs * config.train.rollouts


def _error(packs: int) -> float:
    """The largest standard error that a share of so many packs can have."""
    return float(0.5 / packs**0.5)


def _unreadable(records: Sequence[Mapping[str, Any]]) -> str:
    trained = [record for record in records if record["phase"] == "train"]
    if not trained:
        return ""
    metrics = trained[-1]["metrics"]
    found = [
        f"{percent(metrics[name])} of its {words}"
        for name, words in (("failures/format", "solve replies"), ("failures/update", "updates"))
        if metrics.get(name) is not None
    ]
    return f"\n\nAt step {trained[-1]['step']}, {' and '.join(found)} could not be read." if found else ""


def _rows(record: Mapping[str, Any], measure: str, words: str) -> list[str]:
    """The rows of one measure at one step: of all packs, and in a mixture of each family."""
    found: dict[str, dict[int, float]] = {}
    for name, value in record["metrics"].items():
        match = _POSITION.fullmatch(name)
        if match and match["measure"] == measure and value is not None:
            found.setdefault(match["family"] or "", {})[int(match["position"])] = value
    rows = []
    for family, values in sorted(found.items()):
        cells = [share(values[i]) if i in values else "" for i in range(max(values) + 1)]
        rows.append(" | ".join([str(record["step"]), f"{words}, {family}" if family else words, *cells]))
    return rows


def _prompting(config: Config, is_adapter: bool, own_base: bool) -> str:
    slot = Mixture.of(config.world).packs("validation", 0, 0, 1)[0].slots[0]
    rendering = config.world.rendering
    first = slot.begin(rendering).first
    messages = solve_messages(slot, "", first, rendering, config.sampling.suggested_tokens)
    system, user = messages[0]["content"], messages[-1]["content"]
    apart = ""
    if own_base:
        apart = (
            "\nIts base is the warm-started model of the same run (`stages/warm_start/model`), whose folder "
            "`adapter_config.json` names: keep the two.\n"
        )
    elif is_adapter and not hub.is_hub_id(config.model.path or ""):
        apart = (
            "\n`adapter_config.json` names the folder in which the base model was during the training: where it is "
            "elsewhere, change `base_model_name_or_path`.\n"
        )
    loader, package = ("AutoPeftModelForCausalLM", "peft") if is_adapter else ("AutoModelForCausalLM", "transformers")
    return f"""## Use

```python
from {package} import {loader}
from transformers import AutoTokenizer

model = {loader}.from_pretrained(FOLDER)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
```
{apart}
Prompt it through the tokenizer's chat template with `enable_thinking=False`. It knows one form of prompt
(`world.rendering={rendering}` in `codctl.json`, which also has the token budgets and, under `chat`, the tokens that
end a reply and the date in its prompts, if there is one); a first task looks like this, and its hints come with the
system message later on:

````text
[system]
{system}

[user]
{user}
````

Its replies end with the action between `<answer>` and `</answer>`. To evaluate it, with control arms that tell whether
its hints are what helps:

    codctl eval --suite position-curve --model FOLDER"""


def _limits(config: Config, records: Sequence[Mapping[str, Any]], licence: str) -> str:
    inherits = ""
    if config.model.path:
        named = f"its own card says `{licence}`" if licence else "unknown here: look at its own card"
        inherits = f"\n* It inherits the limits and the licence of the model that it started from ({named})."
    return f"""## Limits

* Trained on generated worlds only. What it does in other worlds, with other prompts or in longer packs was not measured
  here; `codctl eval --list` names the suites that measure it.
* {_rise(config, records)}
* Nothing was done for its safety or its general abilities, which training may have changed.{inherits}"""


def _rise(config: Config, records: Sequence[Mapping[str, Any]]) -> str:
    """Whether success rises within a pack, by the newest record of the curves."""
    validated = [record for record in records if record["phase"] == "validation"]
    shown = validated or [record for record in records if record["phase"] == "train"]
    found = shown[-1]["metrics"] if shown else {}
    first, last = _ends(found, "success", config)
    if first is None or last is None:
        return "No curve says whether success rises within a pack."
    start, end = _ends(found, "raw_reward", config)
    reward = ""
    if start is not None and end is not None:  # of a graded family
        reward = f" The mean reward goes from {share(start)} to {share(end)}."
    numbers = f"from {share(first)} to {share(last)} at step {shown[-1]['step']}"
    # Of two means over the same packs; where they are alike, less.
    if last - first > 2 * 2**0.5 * _error(_packs(config, bool(validated))):
        why = "The curves do not say why: the arms of an evaluation do."
        return f"Success rises within a pack, {numbers}.{reward} {why}"
    flat = f"Success does not rise measurably within a pack ({numbers})"
    return f"{flat}.{reward}" if reward else f"{flat}: the curves show no learning on the job."


def _ends(metrics: Mapping[str, Any], measure: str, config: Config) -> tuple[float | None, float | None]:
    """A measure at the first position and at the last."""
    return metrics.get(f"{measure}/position_0"), metrics.get(f"{measure}/position_{config.world.length - 1}")
