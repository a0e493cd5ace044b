"""The families of chat templates that codctl knows to work, each with a small tokenizer that has its special tokens.

`python -m tests.chat_families` writes what codctl makes of each into docs/chat-templates.md; a test keeps it true.
Templates are those that TRL ships, where it ships one; the others are written here from what is publicly known of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codctl.cod.conversation import TemplateChat

PAGE = Path(__file__).parents[1] / "docs" / "chat-templates.md"
BEGIN, END = "<!-- table: python -m tests.chat_families -->\n", "<!-- end of table -->\n"
VOCAB = 512  # room for every one of these tokenizers, so that one small model serves them all

_CHATML = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
_SMOLLM2 = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are SmolLM.<|im_end|>\n' }}{% endif %}" + _CHATML
)
_QWEN3_FIRST = """{%- set ns = namespace(last=0) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- if m.role == 'assistant' %}
{%- set text = m.content.split('</think>')[-1].lstrip('\n') %}
{%- if loop.index0 > ns.last %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + text }}
{%- else %}{{ '<|im_start|>assistant\n' + text }}{% endif %}
{%- else %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% endif %}{{ '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"""
_ALTERNATE = """{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"""
_SPLIT = """{%- if messages[0].role == 'system' %}
{%- set system = messages[0].content %}{% set messages = messages[1:] %}{% endif %}"""
_LLAMA2 = (
    _SPLIT
    + """
{%- for m in messages %}"""
    + _ALTERNATE
    + """
{%- if m.role == 'user' %}
{%- set text = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + m.content if loop.first and system is defined else m.content %}
{{- bos_token + '[INST] ' + text.strip() + ' [/INST]' }}
{%- else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}
{%- endfor %}"""
)
_MISTRAL_V01 = (
    "{{ bos_token }}{% for m in messages %}"
    + _ALTERNATE
    + """
{%- if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}{% else %}{{ m.content + eos_token + ' ' }}{% endif %}
{%- endfor %}"""
)
_MISTRAL_V03 = (
    _SPLIT
    + """
{{- bos_token }}{% for m in messages %}"""
    + _ALTERNATE
    + """
{%- if m.role == 'user' %}
{{- '[INST] ' + (system + '\n\n' if loop.last and system is defined else '') + m.content + '[/INST]' }}
{%- else %}{{ ' ' + m.content + eos_token }}{% endif %}
{%- endfor %}"""
)
_MISTRAL_SMALL = """{{- bos_token }}
{%- if messages[0].role != 'system' %}
{{- '[SYSTEM_PROMPT]Today is ' + strftime_now('%Y-%m-%d') + '.[/SYSTEM_PROMPT]' }}{% endif %}
{%- for m in messages %}
{%- if m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
{%- elif m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}
{%- else %}{{ m.content + eos_token }}{% endif %}
{%- endfor %}"""
_DEEPSEEK_V3 = """{{- bos_token }}
{%- for m in messages %}
{%- if m.role == 'system' %}{{ m.content }}
{%- elif m.role == 'user' %}{{ '<｜User｜>' + m.content }}
{%- else %}{{ '<｜Assistant｜>' + m.content + eos_token }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"""

Pieces = Literal["gpt2", "words", "llama", "gemma"]


@dataclass(frozen=True)
class Family:
    """A family of models with the same chat template.

    Attributes:
        name: In the table.
        template: Name of TRL's file, or the template itself.
        eos: The tokenizer's end-of-sequence token.
        named: Stop tokens that generation_config.json names.
        bos: Token at the beginning, where there is one.
        pieces: How text is split, after a tokenizer of this kind.
        dropped: What the template leaves out before each earlier reply: an empty thought.
        lead: What the model writes before the text of its reply.
        trail: What it writes behind it, before the stop token.
        specials: Special tokens that the template does not show.
        closes: Between a reply and the next turn, where that is not the token that ends a reply.
    """

    name: str
    template: str
    eos: str = "<|im_end|>"
    named: tuple[str, ...] = ()
    bos: str | None = None
    pieces: Pieces = "words"
    dropped: str = ""
    lead: str = ""
    trail: str = ""
    specials: tuple[str, ...] = ()
    closes: str = ""

    @property
    def is_shipped(self) -> bool:
        return "{" not in self.template

    @property
    def source(self) -> str:
        return _trl(self.template) if self.is_shipped else self.template


_NO_THOUGHT = "<think>\n\n</think>\n\n"
_QWEN = ("<|im_end|>", "<|endoftext|>")
_LLAMA3 = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
_GEMMA = ("<eos>", "<end_of_turn>")
_PHI3 = ("<|endoftext|>", "<|assistant|>", "<|end|>")
_INST = ("[INST]", "[/INST]")
_SYSTEM = ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
_DEEPSEEK = {"eos": "<｜end▁of▁sentence｜>", "bos": "<｜begin▁of▁sentence｜>"}

FAMILIES = (
    Family("ChatML", _CHATML),
    Family("SmolLM2", _SMOLLM2, bos="<|im_start|>", pieces="gpt2"),
    Family("Qwen2.5", "qwen2_5", named=_QWEN),
    Family("Qwen3, first release", _QWEN3_FIRST, named=_QWEN, dropped=_NO_THOUGHT),
    Family("Qwen3", "qwen3", named=_QWEN, dropped=_NO_THOUGHT),
    Family("Qwen3-2507 Instruct", "qwen3_instruct_2507", named=_QWEN),
    Family("Qwen3.5", "qwen3_5_think", named=_QWEN, dropped=_NO_THOUGHT),
    Family("Qwen3.5, not thinking", "qwen3_5_nothink", named=_QWEN, dropped=_NO_THOUGHT),
    Family("Qwen3.6", "qwen3_6", named=_QWEN, dropped=_NO_THOUGHT),
    Family("Qwen3.8", "qwen3_8", named=_QWEN),
    Family("Llama 2", _LLAMA2, eos="</s>", bos="<s>", pieces="llama", lead=" ", trail=" "),
    Family("Llama 3", "llama3", eos="<|eot_id|>", bos="<|begin_of_text|>", named=_LLAMA3[::2]),
    Family("Llama 3.1", "llama3_1", eos="<|eot_id|>", bos="<|begin_of_text|>", named=_LLAMA3),
    Family("Llama 3.2", "llama3_2", eos="<|eot_id|>", bos="<|begin_of_text|>", named=_LLAMA3),
    Family("Mistral v0.1", _MISTRAL_V01, eos="</s>", bos="<s>", pieces="llama"),
    Family("Mistral v0.3", _MISTRAL_V03, eos="</s>", bos="<s>", pieces="llama", specials=_INST, lead=" "),
    Family("Mistral Small", _MISTRAL_SMALL, eos="</s>", bos="<s>", specials=_INST + _SYSTEM),
    Family("Gemma 1 and 2", "gemma", eos="<eos>", bos="<bos>", named=_GEMMA, pieces="gemma"),
    Family("Gemma 3", "gemma3", eos="<eos>", bos="<bos>", named=_GEMMA, pieces="gemma"),
    Family("Gemma 4", "gemma4_v5", eos="<eos>", bos="<bos>", named=("<eos>", "<turn|>"), pieces="gemma"),
    Family("Phi-3", "phi3", eos="<|endoftext|>", bos="<s>", named=_PHI3, pieces="llama"),
    Family("Phi-3.5", "phi3_5", eos="<|endoftext|>", bos="<s>", named=_PHI3, pieces="llama"),
    Family("DeepSeek-V3", _DEEPSEEK_V3, **_DEEPSEEK),
    Family("DeepSeek-V3, thinking", "deepseekv3", dropped=_NO_THOUGHT, lead="\n</think>\n\n", **_DEEPSEEK),
    Family("DeepSeek-R1 distills", "deepseek_r1_distill", dropped=_NO_THOUGHT, lead="\n</think>\n\n", **_DEEPSEEK),
    Family(
        "GLM-4.5",
        "glm4moe",
        eos="<|endoftext|>",
        named=("<|endoftext|>", "<|user|>", "<|observation|>"),
        specials=("/nothink",),
        lead="\n",
    ),
    Family(
        "gpt-oss",
        "gptoss",
        eos="<|return|>",
        named=("<|return|>", "<|endoftext|>", "<|call|>"),
        closes="<|end|>",
        lead="<|channel|>final<|message|>",
    ),
    Family("Cohere Aya", "cohere", eos="<|END_OF_TURN_TOKEN|>", bos="<BOS_TOKEN>"),
    Family("Cohere Command R7B", "cohere2", eos="<|END_OF_TURN_TOKEN|>", bos="<BOS_TOKEN>"),
    Family("LFM2", "lfm2", bos="<|startoftext|>"),
    Family("LFM2.5", "lfm2_2_5_v2", bos="<|startoftext|>"),
    Family("Nemotron 3 Nano", "nemotron_3_nano", named=("<|im_end|>", "</s>"), bos="<s>"),
    Family("Nemotron 3 Super", "nemotron_3_super", named=("<|im_end|>", "</s>"), bos="<s>"),
)

_MARKED = re.compile(r"<\|[^|<>\s']*\|>|<｜[^｜]*｜>|<\|[a-z_]+>|<[a-z_]+\|>|<(?:start|end)_of_turn>")
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def tokenizer_of(family: Family) -> Any:
    """A tokenizer with little more than an alphabet and the family's special tokens."""
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    source = family.source
    core = _letters(family.pieces)
    marked = dict.fromkeys((*_MARKED.findall(source), *family.named, *family.specials))
    if "<think>" in source:  # in most vocabularies no special tokens, so that they stay in decoded text
        core.add_tokens([AddedToken(token, special=False, normalized=False) for token in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token="<|padding|>",
        additional_special_tokens=[token for token in marked if token not in (family.bos, family.eos)],
        chat_template=source,
    )


def _letters(pieces: Pieces) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    if pieces in ("gpt2", "words"):
        alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ĊĊ"]
        core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[("Ċ", "Ċ")]))
        split = pre_tokenizers.Split(Regex(_WORDS), "isolated")
        words = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        core.pre_tokenizer = (
            pre_tokenizers.Sequence(words) if pieces == "words" else pre_tokenizers.ByteLevel(add_prefix_space=False)
        )
        core.decoder = decoders.ByteLevel()
        return core
    alphabet = ["<unk>", *(f"<0x{n:02X}>" for n in range(256)), "▁", *map(chr, range(33, 127))]
    vocab = {letter: n for n, letter in enumerate(alphabet)}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    spaces = normalizers.Replace(" ", "▁")
    core.normalizer = spaces if pieces == "gemma" else normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    restored = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence(restored if pieces == "gemma" else [*restored, decoders.Strip(" ", 1, 0)])
    return core


def chat_of(family: Family) -> TemplateChat:
    tokenizer = tokenizer_of(family)
    return TemplateChat(tokenizer, stop_ids=tokenizer.convert_tokens_to_ids(list(family.named)))


def _trl(name: str) -> str:
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def table() -> str:
    """What codctl makes of each family, in Markdown."""
    lines = ["| Family | Turns | System text | Stop tokens | Remarks | Template |", "|---|---|---|---|---|---|"]
    for family in FAMILIES:
        chat = chat_of(family)
        found = chat.describe()
        stops = " ".join(f"`{_cell(token)}`" for token in found["stop_tokens"])
        notes = [note.removeprefix("the chat template ") for note in chat.notes]
        if begins := chat.show(chat.reply("up")).partition("up")[0].strip():
            notes.append(f"demonstrations begin with `{_cell(begins)}`")
        remarks = "; ".join(notes) or "–"
        shipped = f"TRL `{family.template}`" if family.is_shipped else "own words"
        lines.append(f"| {family.name} | {found['turns']} | {found['system_text']} | {stops} | {remarks} | {shipped} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page(text: str) -> str:
    """The page with the table as it is now."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
