"""Model folders with one thing wrong each, and sound ones of many kinds, all made from a tiny model.

`python -m tests.models.damaged_models` prints what `codctl eval --model` says about each.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
GENERATION, TOKENIZER, TEMPLATE = "generation_config.json", "tokenizer.json", "chat_template.jinja"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 538090408\n"
Q_PROJ = "model.layers.1.self_attn.q_proj.weight"
LORA = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"

EVAL = ["eval", "preset=tiny", "rendering=compact", "length=2", "--limit", "1", "--model"]

Damage = Callable[[Path], None]
Case = tuple[str, Damage, str]
"""Name, what is done to a sound folder, and what the message has to say."""


def write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text) and None


def remove(pattern: str) -> Damage:
    def damage(folder: Path) -> None:
        for path in list(folder.glob(pattern)):
            path.unlink()

    return damage


def cut(name: str, size: int | None = None) -> Damage:
    """Keep the first bytes, by default half of them."""

    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2 if size is None else size])

    return damage


def change(name: str, **values: Any) -> Damage:
    """Set keys of a JSON file; None of the type `...` removes one."""

    def damage(folder: Path) -> None:
        found = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        found = {key: value for key, value in {**found, **values}.items() if value is not ...}
        (folder / name).write_text(json.dumps(found))

    return damage


def tensors(edit: Callable[[dict[str, torch.Tensor]], object], name: str = WEIGHTS) -> Damage:
    def damage(folder: Path) -> None:
        found = load_file(folder / name)
        edit(found)
        save_file({key: value.contiguous() for key, value in found.items()}, folder / name, metadata={"format": "pt"})

    return damage


def without(*names: str, file: str = WEIGHTS) -> Damage:
    return tensors(lambda found: [found.pop(name) for name in names], file)


def replaced(name: str, value: Callable[[torch.Tensor], torch.Tensor], file: str = WEIGHTS) -> Damage:
    return tensors(lambda found: found.update({name: value(found[name])}), file)


def spoil(count: int, value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def edit(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[:count] = value
        return tensor

    return edit


def both(*damages: Damage) -> Damage:
    def damage(folder: Path) -> None:
        for one in damages:
            one(folder)

    return damage


def link(name: str, target: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return damage


def fifo(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def shard(folder: Path) -> None:
    """Split the weights in two files with an index."""
    found = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(found)
    halves = {SHARDS[0]: names[::2], SHARDS[1]: names[1::2]}
    for file, own in halves.items():
        save_file({name: found[name] for name in own}, folder / file, metadata={"format": "pt"})
    mapped = {name: file for file, own in halves.items() for name in own}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": mapped}))


def mapped(edit: Callable[[dict[str, Any]], object]) -> Damage:
    """Split the weights, and edit the index's map."""

    def damage(folder: Path) -> None:
        shard(folder)
        index = json.loads((folder / INDEX).read_text())
        edit(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return damage


def elsewhere(file: str) -> Damage:
    """An index that names another file for one tensor."""
    return mapped(lambda found: found.update({Q_PROJ: file}))


def sharded(damage: Damage) -> Damage:
    return both(shard, damage)


def swap_shards(folder: Path) -> None:
    shard(folder)
    one, other = (folder / name for name in SHARDS)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def in_both_shards(folder: Path) -> None:
    shard(folder)
    first, second = (load_file(folder / name) for name in SHARDS)
    name = next(iter(first))
    save_file({**second, name: first[name]}, folder / SHARDS[1], metadata={"format": "pt"})


def tie(folder: Path) -> None:
    """A model whose head is its embeddings, as it is saved: with one matrix."""
    without("lm_head.weight")(folder)
    change(CONFIG, tie_word_embeddings=True)(folder)


def rename_as_gpt2(found: dict[str, torch.Tensor]) -> None:
    for name in list(found):
        found[name.replace("model.layers", "transformer.h").replace("self_attn", "attn")] = found.pop(name)


def other_tokenizer(size: int) -> Damage:
    """A sound tokenizer with as many tokens, of no model here."""

    def damage(folder: Path) -> None:
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        template = (folder / TEMPLATE).read_text()
        vocab = {f"t{number}": number for number in range(size - 2)} | {"<|end|>": size - 2, "[UNK]": size - 1}
        core = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
        remove("tokenizer*")(folder)
        PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", chat_template=template).save_pretrained(
            folder
        )

    return damage


LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
FLOOD = "{% for a in range(3000) %}{{ 'x' * 1000 }}{% endfor %}"
DOUBLING = "{% set n = namespace(s='x' * 1000) %}{% for a in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"

FILES: list[Case] = [
    ("no config.json", remove(CONFIG), "no config.json"),
    ("config.json is empty", write(CONFIG, ""), "config.json cannot be read"),
    ("config.json is cut off", cut(CONFIG), "config.json cannot be read"),
    ("config.json is a list", write(CONFIG, "[1]"), "it holds a list"),
    ("config.json is null", write(CONFIG, "null"), "it holds null"),
    ("config.json is nested deeply", write(CONFIG, '{"a":' * 50_000), "nested too deeply"),
    ("config.json has a number of 5,000 digits", write(CONFIG, '{"vocab_size": 1' + "0" * 5000 + "}"), "4300 digits"),
    (
        "config.json is no text",
        lambda f: (f / CONFIG).write_bytes(b"\xff\xfe\0") and None,
        "config.json cannot be read",
    ),
    ("config.json is an LFS pointer", write(CONFIG, POINTER), "config.json is a Git LFS pointer"),
    ("config.json is a broken link", link(CONFIG, "../../gone"), "config.json is a link to a file that is not there"),
    ("config.json is a pipe", fifo(CONFIG), "config.json is no ordinary file"),
    ("generation_config.json is cut off", cut(GENERATION), "generation_config.json cannot be read"),
    ("the stop token is a word", change(GENERATION, eos_token_id="stop"), "eos_token_id has to be a token id"),
    ("the stop token is beyond the tokenizer", change(GENERATION, eos_token_id=[1, 9999]), "the stop token 9999"),
    ("no weights", remove(WEIGHTS), "no model.safetensors"),
    ("weights are pickled", pickled, "pickled weights are not loaded"),
    ("weights are empty", write(WEIGHTS, ""), "model.safetensors is empty"),
    ("weights are cut off in the header", cut(WEIGHTS, 100), "model.safetensors is damaged"),
    ("weights are cut off in the middle", cut(WEIGHTS), "model.safetensors is damaged"),
    ("weights are an LFS pointer", write(WEIGHTS, POINTER), "model.safetensors is a Git LFS pointer"),
    ("weights are a web page", write(WEIGHTS, "<html>log in</html>" * 99), "model.safetensors is damaged"),
    ("weights have no tensors", tensors(lambda found: found.clear()), "has no tensors"),
]
INDICES: list[Case] = [
    ("the index is cut off", sharded(cut(INDEX)), "index.json cannot be read"),
    ("the index is a list", sharded(write(INDEX, "[]")), "it holds a list"),
    ("the index has no weight_map", sharded(write(INDEX, "{}")), "no weight_map"),
    ("the index maps to numbers", mapped(lambda found: found.update({Q_PROJ: 1})), "no weight_map that names files"),
    ("the index names a pickle", elsewhere("pytorch_model.bin"), "only safetensors are loaded"),
    ("the index leaves the folder", elsewhere("../../../../etc/passwd"), "which is not in the folder"),
    ("the index names an absolute path", elsewhere("/etc/x.safetensors"), "which is not in the folder"),
    ("a shard is missing", sharded(remove(SHARDS[1])), f"no {SHARDS[1]}"),
    ("a shard is cut off", sharded(cut(SHARDS[1])), f"{SHARDS[1]} is damaged"),
    ("a shard is an LFS pointer", sharded(write(SHARDS[1], POINTER)), f"{SHARDS[1]} is a Git LFS pointer"),
    ("shards are swapped", swap_shards, "do not fit together"),
    ("a tensor is in two shards", in_both_shards, "is in model-00001"),
    ("the index names a tensor too many", mapped(lambda m: m.update({"a.weight": SHARDS[0]})), "which no shard has"),
    ("the index names a tensor too few", mapped(lambda m: m.pop(Q_PROJ)), "which a shard has"),
]
TENSORS: list[Case] = [
    ("a tensor is missing", without(Q_PROJ), f"lack 1 tensor that the model of config.json has: {Q_PROJ}"),
    ("the head is missing", without("lm_head.weight"), "lack 1 tensor that the model of config.json has: lm_head"),
    ("tied embeddings are missing", both(tie, without("model.embed_tokens.weight")), "lack"),
    ("a tensor of a shard is missing", sharded(without(Q_PROJ, file=SHARDS[0])), "which no shard has"),
    ("a tensor too many", tensors(lambda t: t.update({"score.weight": torch.ones(2, 32)})), "has not: score.weight"),
    ("a tensor has another shape", replaced(Q_PROJ, lambda t: t[:-1]), f"{Q_PROJ} has the shape 63×32"),
    ("a tensor is of whole numbers", replaced(Q_PROJ, lambda t: t.to(torch.int64)), "is stored as I64"),
    ("a tensor is in float8", replaced(Q_PROJ, lambda t: t.to(torch.float8_e4m3fn)), "is stored as F8_E4M3"),
    ("tied, but with two matrices", change(CONFIG, tie_word_embeddings=True), "ties lm_head.weight to model.embed"),
    ("2,000 numbers are NaN", replaced(Q_PROJ, spoil(2000, float("nan"))), "2,000 of 2,048 numbers"),
    ("one number is infinite", replaced(Q_PROJ, spoil(1, float("inf"))), "1 of 2,048 numbers"),
    ("tensors of another architecture", tensors(rename_as_gpt2), "lack"),
]
BNB = {"quant_method": "bitsandbytes", "load_in_4bit": True}
SETTINGS: list[Case] = [
    (
        "fewer layers than weights",
        change(CONFIG, num_hidden_layers=1, layer_types=["full_attention"]),
        "has not: model.l",
    ),
    ("more layers than weights", change(CONFIG, num_hidden_layers=3, layer_types=["full_attention"] * 3), "lack 11"),
    ("another width", change(CONFIG, hidden_size=64), "has the shape"),
    ("another vocabulary", change(CONFIG, vocab_size=400), "has the shape"),
    ("an unknown architecture", change(CONFIG, model_type="qwen99"), "model_type 'qwen99'"),
    ("no architecture", change(CONFIG, model_type=...), "model_type None"),
    ("an architecture that is a list", change(CONFIG, model_type=["qwen3"]), "model_type ['qwen3']"),
    (
        "code of its own",
        change(CONFIG, model_type="mine", auto_map={"AutoModelForCausalLM": "modeling.Mine"}),
        "Python code of its own",
    ),
    ("a classifier", change(CONFIG, architectures=["Qwen3ForSequenceClassification"]), "expected Qwen3ForCausalLM"),
    ("an image model", change(CONFIG, model_type="vit"), "no causal language model"),
    ("an unknown activation", change(CONFIG, hidden_act="tanh9"), "tanh9"),
    ("an unknown rope", change(CONFIG, rope_parameters={"rope_type": "spiral", "rope_theta": 1e4}), "spiral"),
    ("rope_theta is 10 ** 400", change(CONFIG, rope_parameters={"rope_theta": 10**400}), "rope_theta has to be"),
    ("rope_theta is a word", change(CONFIG, rope_parameters={"rope_theta": "big"}), "rope_theta has to be"),
    ("an unknown dtype", change(CONFIG, dtype="float7"), "dtype is 'float7'"),
    ("no heads", change(CONFIG, num_attention_heads=0), "num_attention_heads has to be a number from 1"),
    ("heads that cannot share", change(CONFIG, num_attention_heads=3), "shape"),
    ("a billion layers", change(CONFIG, num_hidden_layers=10**9), "num_hidden_layers has to be a number from 1"),
    ("a size that is a word", change(CONFIG, hidden_size="wide"), "hidden_size has to be a number"),
    ("too few types of layers", change(CONFIG, layer_types=["full_attention"]), "layer_types"),
    ("8 positions", change(CONFIG, max_position_embeddings=8), "the model reads 8"),
    ("bitsandbytes is not installed", change(CONFIG, quantization_config=BNB), "bitsandbytes"),
    ("an unknown quantization", change(CONFIG, quantization_config={"quant_method": "zip"}), "zip"),
    ("weights of another name", change(CONFIG, transformers_weights="../x.safetensors"), "transformers_weights"),
]
TOKENIZERS: list[Case] = [
    ("no tokenizer", remove("tokenizer*"), "no tokenizer"),
    ("tokenizer.json is empty", write(TOKENIZER, ""), "the tokenizer cannot be loaded"),
    ("tokenizer.json is cut off", cut(TOKENIZER), "the tokenizer cannot be loaded"),
    ("tokenizer.json holds something else", write(TOKENIZER, '{"a": 1}'), "the tokenizer cannot be loaded"),
    ("tokenizer.json is an LFS pointer", write(TOKENIZER, POINTER), "tokenizer.json is a Git LFS pointer"),
    ("tokenizer_config.json is cut off", cut("tokenizer_config.json"), "tokenizer_config.json cannot be read"),
    ("a tokenizer of a larger model", other_tokenizer(500), "is beyond the model's 374 embeddings"),
    (
        "a tokenizer of a smaller model",
        both(other_tokenizer(50), change(GENERATION, eos_token_id=300)),
        "stop token 300",
    ),
    (
        "no chat template",
        both(remove(TEMPLATE), change("tokenizer_config.json", chat_template=...)),
        "no chat template",
    ),
    ("a template with a fault", write(TEMPLATE, "{% for %}"), "chat template cannot render"),
    ("a template that raises", write(TEMPLATE, "{{ raise_exception('no') }}"), "chat template cannot render"),
    ("a template that looks for Python", write(TEMPLATE, "{{ ''.__class__.__mro__ }}"), "chat template cannot render"),
    ("a template that never ends", write(TEMPLATE, LOOPS), "it does not end in"),
    ("a template that writes 3 MB", write(TEMPLATE, FLOOD), "it writes 3,000,000 characters"),
    ("a template that takes all memory", write(TEMPLATE, DOUBLING), "it takes too much memory"),
    ("codctl.json is cut off", write("codctl.json", '{"world"'), "codctl.json cannot be read"),
    ("codctl.json of another kind", write("codctl.json", '{"world": {"preset": 3}}'), "preset"),
]
ADAPTERS: list[Case] = [
    ("adapter: settings are empty", write(ADAPTER, ""), "adapter_config.json cannot be read"),
    ("adapter: settings are null", write(ADAPTER, "null"), "it holds null"),
    ("adapter: settings are {}", write(ADAPTER, "{}"), "names no base model"),
    ("adapter: base is null", change(ADAPTER, base_model_name_or_path=None), "names no base model"),
    ("adapter: base is gone", change(ADAPTER, base_model_name_or_path="/gone"), "base model is missing"),
    (
        "adapter: base is not in the cache",
        change(ADAPTER, base_model_name_or_path="a/b"),
        "is not in the cache of hub models",
    ),
    ("adapter: base is a URL", change(ADAPTER, base_model_name_or_path="http://h/m"), "base model is missing"),
    (
        "adapter: base is an adapter",
        lambda f: change(ADAPTER, base_model_name_or_path=str(f))(f),
        "is an adapter itself",
    ),
    ("adapter: base is no name", change(ADAPTER, base_model_name_or_path="a/b--c"), "is not in the cache"),
    ("adapter: revision leaves the cache", change(ADAPTER, revision="../../../x"), "revision '../../../x'"),
    ("adapter: no weights", remove(ADAPTER_WEIGHTS), f"no {ADAPTER_WEIGHTS}"),
    ("adapter: weights are cut off", cut(ADAPTER_WEIGHTS), f"{ADAPTER_WEIGHTS} is damaged"),
    ("adapter: a tensor is missing", without(LORA, file=ADAPTER_WEIGHTS), "the adapter lacks 1 tensor"),
    ("adapter: another rank", change(ADAPTER, r=8), "has the shape"),
    ("adapter: other modules", change(ADAPTER, target_modules=["q_proj"]), "that do not fit its base model"),
    ("adapter: unknown modules", change(ADAPTER, target_modules=["w_pack"]), "w_pack"),
    ("adapter: a kind that is not LoRA", change(ADAPTER, peft_type="IA3"), "of the kind 'IA3', codctl knows LoRA"),
    ("adapter: an unknown kind", change(ADAPTER, peft_type="MAGIC"), "MAGIC"),
    ("adapter: rank is a word", change(ADAPTER, r="big"), "the adapter"),
    ("adapter: NaN", replaced(LORA, spoil(3, float("nan")), ADAPTER_WEIGHTS), "are NaN or infinite"),
    ("adapter: base of another width", lambda f: rebase(f, "wide"), "has the shape"),
    ("adapter: base with fewer layers", lambda f: rebase(f, "short"), "that do not fit its base model"),
    ("adapter: base lacks a tensor", lambda f: without(Q_PROJ)(base_of(f)), f"has: {Q_PROJ}"),
]
ON_MODELS = [*FILES, *INDICES, *TENSORS, *SETTINGS, *TOKENIZERS]


def base_of(adapter: Path) -> Path:
    return Path(json.loads((adapter / ADAPTER).read_text())["base_model_name_or_path"])


def rebase(adapter: Path, name: str) -> None:
    """Put an adapter on a sound model of another shape."""
    from transformers import AutoConfig, AutoModelForCausalLM

    base = base_of(adapter)
    config = AutoConfig.from_pretrained(base)
    if name == "wide":
        config.hidden_size = 64
    else:
        config.num_hidden_layers, config.layer_types = 1, ["full_attention"]
    other = adapter.with_name(name)
    shutil.copytree(base, other)
    AutoModelForCausalLM.from_config(config).save_pretrained(other)
    change(ADAPTER, base_model_name_or_path=str(other))(adapter)


def make_adapter(base: Path, folder: Path, rank: int = 4) -> Path:
    """A LoRA adapter with its tokenizer on a model folder."""
    from codctl.config.schema import LoraConfig
    from codctl.models.load import add_lora, load_model

    add_lora(load_model(base, "float32", "cpu"), LoraConfig(rank=rank), 0).save_pretrained(folder)
    for path in (*base.glob("tokenizer*"), base / TEMPLATE):
        shutil.copy(path, folder)
    return folder


def _table(tiny: Path, scratch: Path) -> Iterator[tuple[str, int, str]]:
    import contextlib
    import io

    from codctl.cli.main import run

    adapter = make_adapter(tiny, scratch / "adapter")
    for source, cases in ((tiny, ON_MODELS), (adapter, ADAPTERS)):
        for number, (name, damage, _) in enumerate(cases):
            folder = scratch / f"{source.name}-{number}" / "m"
            shutil.copytree(source, folder)
            if source is adapter:
                shutil.copytree(tiny, folder.with_name("base"))
                change(ADAPTER, base_model_name_or_path=str(folder.with_name("base")))(folder)
            damage(folder)
            said = io.StringIO()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                code = run([*EVAL, str(folder), "--runs-dir", str(folder.with_name("runs"))])
            lines = [line for line in said.getvalue().splitlines() if line.startswith("error")]
            yield name, code, "; ".join(lines) or said.getvalue()[-500:]


if __name__ == "__main__":
    for name, code, said in _table(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"{name} | {code} | {said}", flush=True)
