"""Chat templates that change earlier turns: Qwen3's own is replaced by TRL's variant, others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from codctl.cod.conversation import Conversation, TemplateChat, breaks_prefixes
from codctl.errors import PreflightError
from codctl.learn.models import load_tokenizer

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
FORGETFUL = (
    "{%- for m in messages -%}<|im_start|>{{ m.role }}\n"
    "{%- if m.role != 'assistant' or loop.last -%}{{ m.content }}{%- endif -%}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"


def save_tokenizer(folder: Path, template: str) -> Path:
    """Bytes as tokens, with the special tokens of Qwen3."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(sorted(alphabet))}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=template,
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tokenizer(tmp_path_factory.mktemp("qwen3"), (TEMPLATES / "qwen3.jinja").read_text())


def test_qwen3_gets_a_template_that_only_appends_and_is_told_once(qwen3: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    assert breaks_prefixes(AutoTokenizer.from_pretrained(qwen3))
    said: list[str] = []
    tokenizer = load_tokenizer(qwen3, said.append)
    assert len(said) == 1
    assert "TRL's variant" in said[0]
    assert tokenizer.chat_template == (TEMPLATES / "qwen3_training.jinja").read_text()
    tokenizer.save_pretrained(tmp_path)  # as a trained model is exported
    again = load_tokenizer(tmp_path, said.append)
    assert again.chat_template == tokenizer.chat_template
    assert len(said) == 1


def test_a_conversation_with_qwen3_has_the_tokens_of_the_whole(qwen3: Path) -> None:
    """Thinking stays off: every turn of the assistant begins with an empty thought, also the earlier ones."""
    tokenizer: Any = load_tokenizer(qwen3)
    chat = TemplateChat(tokenizer)
    messages = [{"role": "system", "content": "a lake"}, {"role": "user", "content": "a1"}]
    conversation = Conversation(chat, messages)
    for reply, observation in (("up", "b1"), ("down", "c1")):
        ids = [*chat.encode(reply), *chat.stop_ids]
        conversation.add_reply(ids, [0.0] * len(ids))
        conversation.add_observation(observation)
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": observation}]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert tokenizer.decode(conversation.ids) == whole
    assert conversation.ids == tokenizer.encode(whole, add_special_tokens=False)
    assert whole.count(EMPTY_THOUGHT) == 3
    assert whole.endswith(f"<|im_start|>assistant\n{EMPTY_THOUGHT}")


def test_an_unknown_template_that_forgets_is_refused_as_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, FORGETFUL), said.append)
    assert said == []
    with pytest.raises(PreflightError, match="the chat template breaks prefixes"):
        TemplateChat(tokenizer)


def test_a_template_that_only_appends_is_left_alone(tiny_folder: Path) -> None:
    said: list[str] = []
    tokenizer = load_tokenizer(tiny_folder, said.append)
    assert tokenizer.chat_template == (tiny_folder / "chat_template.jinja").read_text()
    assert said == []
