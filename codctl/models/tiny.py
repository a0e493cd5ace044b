"""The tiny model: Qwen3 architecture and a byte-level tokenizer, built from a recipe without any download."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.cod.context import END, START
from codctl.cod.conversation import ByteChat
from codctl.cod.mixture import Mixture
from codctl.cod.references import demonstrates, usual_policy
from codctl.cod.rollout import Player, RolloutSettings, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.config.schema import BuildConfig, WorldConfig
from codctl.envs.registry import get_family
from codctl.models.architectures import of_build
from codctl.models.random_init import config_of_shape
from codctl.seeds import derive_seed

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

ROLES = ("system", "user", "assistant")
STOP, PAD = "<|end|>", "<|pad|>"
_SPECIALS = [PAD, STOP, *(f"<|{role}|>" for role in ROLES)]
MARKERS = ("<answer>", "</answer>", START, END)  # one token each: a tiny model should not have to spell them

# Each message is one role token, its text and one stop token, whatever comes later: earlier turns never change.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}<|{{ message.role }}|>{{ message.content }}<|end|>{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)

# How a server finds the reply in the text. Without it `transformers serve` goes by the architecture and expects ChatML.
RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {"content": {"close": STOP, "content": "text"}},
}


def build_tokenizer(corpus: Iterable[str], vocab: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on rendered text, so that every word of a compact prompt becomes one token.

    Any text can be encoded. A word at the start of a message gets the same id as inside it (a leading space is
    implied), because copying a fact is then copying a token.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=_train_bpe(corpus, vocab),
        pad_token=PAD,
        eos_token=STOP,
        additional_special_tokens=_SPECIALS[2:],
        chat_template=CHAT_TEMPLATE,
        response_template=RESPONSE_TEMPLATE,
        model_max_length=max_tokens,
        clean_up_tokenization_spaces=False,
    )


def _train_bpe(corpus: Iterable[str], vocab: int) -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[^\s]+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(MARKERS),
        special_tokens=_SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    core.add_tokens([AddedToken(marker, lstrip=True, normalized=False) for marker in MARKERS])
    return core


def build_model(build: BuildConfig, vocab: int, tokenizer: Any, seed: int) -> Qwen3ForCausalLM:
    """A randomly initialised Qwen3 of the recipe's size."""
    import torch
    from transformers import Qwen3ForCausalLM

    config = config_of_shape(of_build(build), vocab, build.width**-0.5)
    config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "model", "init") % 2**32)
        model = Qwen3ForCausalLM(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval()


def rendered_corpus(world: WorldConfig, packs: int = 100) -> Iterator[str]:
    """Texts that a model of this recipe will read and write, from packs of their own split that are played for it."""
    chat = ByteChat()
    settings = RolloutSettings(world.rendering, solve_tokens=10**6, update_tokens=10**6)
    families = [get_family(part.family) for part in world.parts]
    policy = "demonstrator" if all(map(demonstrates, families)) else usual_policy(families)
    player = Player(ScriptedAgent(EachFamily(policy), chat), chat, settings, seed=0)
    drawn = Mixture.of(world).packs("demonstration", 1, 0, packs * len(world.parts))
    for pack, trajectory in zip(drawn, asyncio.run(play_all(player, drawn, 1)), strict=True):
        slot = pack.slots[0]
        for episode in trajectory.episodes:
            yield slot.family.solve_prompt(episode.hints, world.rendering, slot.preset)
            yield from episode.observations
            yield from episode.replies
    yield "update error"


def build_folder(build: BuildConfig, world: WorldConfig, seed: int, folder: Path) -> None:
    """Write tokenizer and model as an ordinary Hugging Face folder that `AutoModelForCausalLM` loads."""
    tokenizer = tokenizer_of_worlds(build, world, vocab=build.vocab, max_tokens=build.max_tokens)
    tokenizer.save_pretrained(folder)
    build_model(build, len(tokenizer), tokenizer, seed).save_pretrained(folder, safe_serialization=True)


def tokenizer_of_worlds(build: BuildConfig, world: WorldConfig, *, vocab: int, max_tokens: int) -> Any:
    """A tokenizer that knows the words of the training's worlds, or of those that the recipe names."""
    return build_tokenizer(_corpus(build, world), vocab, max_tokens)


def vocabulary_size(build: BuildConfig, world: WorldConfig) -> int:
    """Tokens that the tokenizer of a recipe has: at most `model.build.vocab`, fewer where the worlds have few words."""
    return int(_train_bpe(_corpus(build, world), build.vocab).get_vocab_size())


def _corpus(build: BuildConfig, world: WorldConfig) -> Iterator[str]:
    # The markers are added tokens: taken out of the corpus, they do not become merges as well.
    return (_without_markers(text) for known in _known_worlds(build, world) for text in rendered_corpus(known))


def _known_worlds(build: BuildConfig, world: WorldConfig) -> list[WorldConfig]:
    """The worlds whose words the tokenizer gets: those of the training, unless the recipe names others."""
    alone = {"mixture": (), "variant": None}
    return [world.model_copy(update={**alone, **chosen.model_dump()}) for chosen in build.worlds] or [world]


def _without_markers(text: str) -> str:
    for marker in MARKERS:
        text = text.replace(marker, "")
    return text
