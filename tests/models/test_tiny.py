"""The model that is built from nothing: an ordinary Hugging Face folder, the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from codctl.cod.context import END, START
from codctl.config.schema import BuildConfig, WorldConfig
from codctl.envs.frozen_lake.names import CODES, DIRECTIONS
from codctl.envs.frozen_lake.text import reply
from codctl.envs.frozen_lake.world import LakeWorld
from codctl.envs.registry import get_family
from codctl.models.build import MARKERS, STOP, build_folder
from tests.conftest import BUILD

PLAIN = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
messages = [{"role": "system", "content": "lake hints up K"}, {"role": "user", "content": "a1 > c3 5"}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
output = model.generate(**prompt, max_new_tokens=4, do_sample=False)
assert output.shape[1] > prompt["input_ids"].shape[1]
assert not any(name.split(".")[0] == "codctl" for name in sys.modules)
print(type(model).__name__, model.config.model_type, len(tokenizer))
"""


def test_plain_transformers_loads_the_folder(tiny_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PLAIN, str(tiny_folder)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    kind, name, size = done.stdout.split()
    assert (kind, name) == ("Qwen3ForCausalLM", "qwen3")
    assert int(size) <= 448


def test_the_vocabulary_of_the_model_fits_the_tokenizer(tiny_folder: Path, tokenizer: Any) -> None:
    config = json.loads((tiny_folder / "config.json").read_text())
    assert config["vocab_size"] >= len(tokenizer)
    assert config["eos_token_id"] == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids(STOP)
    assert config["pad_token_id"] == tokenizer.pad_token_id
    assert config["rope_parameters"]["rope_theta"] == 100.0


def test_words_of_compact_prompts_are_single_tokens(tokenizer: Any) -> None:
    words = ["lake", "hints", "none", "update", "seen", "reward", ">", *"0123456"]
    cells = [f"{row}{column}" for row in "abcd" for column in "1234"]
    facts = [f"{direction}={code}" for direction in (*DIRECTIONS, "wall") for code in CODES]
    intentions = [f"{direction}:" for direction in DIRECTIONS]
    for word in (*words, *cells, *facts, *intentions, *CODES, *MARKERS):
        [alone] = tokenizer.encode(word, add_special_tokens=False)
        assert tokenizer.encode(f"K {word}", add_special_tokens=False)[1:] == [alone]  # the same inside a text
    family = get_family("frozen_lake")
    prompt = family.solve_prompt(family.truth(LakeWorld((0, 1, 2, 3)), "compact"), "compact", "tiny")
    assert len(tokenizer.encode(prompt, add_special_tokens=False)) == 6


def test_replies_and_updates_take_few_tokens(tokenizer: Any) -> None:
    truth = get_family("frozen_lake").truth(LakeWorld((0, 1, 2, 3)), "compact")
    for direction in DIRECTIONS:
        assert len(tokenizer.encode(reply(direction, "K", "compact"), add_special_tokens=False)) == 4
    assert len(tokenizer.encode(f"{START} {truth} {END}", add_special_tokens=False)) == 6


def test_building_in_another_process_gives_the_same_tokenizer(tiny_folder: Path, tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from tests.conftest import BUILD; from codctl.models.build import build_folder\n"
        "from codctl.config.schema import BuildConfig, WorldConfig\n"
        "world = WorldConfig(preset='tiny', rendering='compact')\n"
        "build_folder(BuildConfig(**BUILD), world, 0, pathlib.Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True, timeout=300)
    for name in ("tokenizer.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (tiny_folder / name).read_bytes()


@pytest.mark.parametrize("text", ["héllo 世界 🙂", "tab\there", "a\n\nb", "<|unknown|>", "\x00\x7f"])
def test_any_text_can_be_encoded(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids).split() == text.split()  # spaces around words are implied


def test_the_template_only_appends(tokenizer: Any) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    earlier = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    for number in range(4):
        messages += [{"role": "assistant", "content": f"a{number}"}, {"role": "user", "content": f"u{number}"}]
        later = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert later.startswith(earlier + f"a{number}" + STOP)
        earlier = later


def test_building_twice_gives_the_same_bytes(tiny_folder: Path, tmp_path: Path) -> None:
    world = WorldConfig(preset="tiny", rendering="compact")
    build_folder(BuildConfig(**BUILD), world, 0, tmp_path / "again")
    build_folder(BuildConfig(**BUILD), world, 1, tmp_path / "other")
    for name in ("model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tiny_folder / name).read_bytes()
    other = (tmp_path / "other" / "model.safetensors").read_bytes()
    assert other != (tiny_folder / "model.safetensors").read_bytes()


def test_a_tokenizer_knows_the_words_of_worlds_that_are_not_trained_on(tokenizer: Any, tmp_path: Path) -> None:
    from codctl.models.load import load_tokenizer

    brewing = "make n 2 dud=a+c o=c+c"
    worlds = [{"family": "frozen_lake"}, {"family": "alchemy"}]
    world = WorldConfig(preset="tiny", rendering="compact")
    build_folder(BuildConfig(**BUILD, worlds=worlds), world, 0, tmp_path / "model")
    both = load_tokenizer(tmp_path / "model")
    assert both.tokenize(brewing) == ["Ġmake", "Ġn", "Ġ2", "Ġdud=a+c", "Ġo=c+c"]
    assert len(tokenizer.tokenize(brewing)) > 10
    assert len(both.tokenize("right=Q c3 > d3 3")) == len(tokenizer.tokenize("right=Q c3 > d3 3"))
