"""Models that are built: the tiny Qwen3 with a tokenizer of its own, any architecture with random weights."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codctl.cod.context import END, START
from codctl.cod.conversation import ByteChat
from codctl.cod.mixture import Mixture
from codctl.cod.references import demonstrates, usual_policy
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import EachFamily, ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.config.schema import BuildConfig, Config, WorldConfig
from codctl.envs.base import Message, UpdateRule
from codctl.envs.registry import family_of
from codctl.models import hub
from codctl.models.architectures import PUBLISHED, Architecture, of_build
from codctl.models.load import load_tokenizer, pick_device
from codctl.models.weights import read_config
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


def rendered_corpus(world: WorldConfig, update: UpdateRule = "rewrite", packs: int = 100) -> Iterator[str]:
    """Texts that a model of this recipe will read and write, from packs of their own split that are played for it."""
    chat = ByteChat()
    settings = RolloutSettings(world.rendering, solve_tokens=10**6, update_tokens=10**6, update=update)
    families = [family_of(part) for part in world.parts]
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


def build_folder(
    build: BuildConfig, world: WorldConfig, seed: int, folder: Path, update: UpdateRule = "rewrite"
) -> None:
    """Write tokenizer and model as an ordinary Hugging Face folder that `AutoModelForCausalLM` loads."""
    tokenizer = tokenizer_of_worlds(build, world, update, vocab=build.vocab, max_tokens=build.max_tokens)
    tokenizer.save_pretrained(folder)
    build_model(build, len(tokenizer), tokenizer, seed).save_pretrained(folder, safe_serialization=True)


def tokenizer_of_worlds(
    build: BuildConfig, world: WorldConfig, update: UpdateRule = "rewrite", *, vocab: int, max_tokens: int
) -> Any:
    """A tokenizer that knows the words of the training's worlds, or of those that the recipe names."""
    return build_tokenizer(_corpus(build, world, update), vocab, max_tokens)


class BuiltChat(ByteChat):
    """Conversations as a built model has them, without the seconds that transformers takes: enough to count tokens.

    Its tokenizer has at most `model.build.vocab` tokens, fewer where the worlds have few words.
    """

    def __init__(self, build: BuildConfig, world: WorldConfig, update: UpdateRule = "rewrite") -> None:
        self._core = _train_bpe(_corpus(build, world, update), build.vocab)
        self.vocabulary = int(self._core.get_vocab_size())
        self._stop, self._role = (int(self._core.encode(token).ids[0]) for token in (STOP, _SPECIALS[-1]))
        self.stop_ids = (self._stop,)

    def open(self, messages: Sequence[Message]) -> list[int]:
        written = [(self._role, *self.encode(message["content"]), self._stop) for message in messages]
        return [*(token for message in written for token in message), self._role]

    def follow_up(self, text: str, *, ended_by: int | None) -> list[int]:
        stop = [self._stop] if ended_by is None else []
        return [*stop, self._role, *self.encode(text), self._stop, self._role]

    def reply(self, text: str) -> list[int]:
        return [*self.encode(text), self._stop]

    def encode(self, text: str) -> list[int]:
        return list(self._core.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._core.decode([token for token in ids if token != self._stop], skip_special_tokens=False))


def _corpus(build: BuildConfig, world: WorldConfig, update: UpdateRule) -> Iterator[str]:
    # The markers are added tokens: taken out of the corpus, they do not become merges as well.
    return (_without_markers(text) for known in _known_worlds(build, world) for text in rendered_corpus(known, update))


def _known_worlds(build: BuildConfig, world: WorldConfig) -> list[WorldConfig]:
    """The worlds whose words the tokenizer gets: those of the training, unless the recipe names others."""
    alone = {"mixture": (), "variant": None}
    return [world.model_copy(update={**alone, **chosen.model_dump()}) for chosen in build.worlds] or [world]


def _without_markers(text: str) -> str:
    for marker in MARKERS:
        text = text.replace(marker, "")
    return text


_VOCAB = 4096  # of a tokenizer trained on rendered packs: about a token for a word
_INITIALIZER_RANGE = 0.02


def config_of_shape(shape: Architecture, vocab: int, initializer_range: float = _INITIALIZER_RANGE) -> Any:
    """The transformers config of a shape, of Llama's where heads are not normed; special tokens are still to be set."""
    from transformers import LlamaConfig, Qwen3Config

    kind = Qwen3Config if shape.norms_heads else LlamaConfig
    return kind(
        vocab_size=vocab,
        hidden_size=shape.width,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_embeddings,
        bos_token_id=None,
        initializer_range=initializer_range,
    )


def config_of(path: str, revision: str | None = None) -> Any:
    """The transformers config of a folder, a cached hub id, or a hub id whose shape codctl knows; no network.

    Raises:
        PreflightError: None of these, or a config that needs code of its own.
    """
    folder = hub.find(path, revision, weights=False)
    if folder is None and path in PUBLISHED:
        shape = PUBLISHED[path].architecture
        return config_of_shape(shape, shape.vocab)
    place = folder or hub.located(path, revision, weights=False)
    return read_config(place)


def random_model(config: Any, dtype: str, device: str, seed: int) -> Any:
    """Build a model where it will be and in its type: there is never a second copy.

    Args:
        config: Of transformers.
        dtype: float32 or bfloat16.
        device: As `model.device`.
        seed: Another device gives other weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    place = torch.device(pick_device(device) if device in ("auto", "cuda") else device)
    devices = [torch.cuda.current_device()] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), place:
        torch.manual_seed(seed % 2**32)
        return AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()


def build_random_folder(config: Config, folder: Path) -> None:
    """Write tokenizer and random weights of `model.path` as an ordinary Hugging Face folder, in `model.dtype`.

    Raises:
        PreflightError: Its architecture is not known here.
    """
    assert config.model.path is not None
    shape = config_of(config.model.path, config.model.revision)
    tokenizer = _tokenizer(config, shape.max_position_embeddings)
    shape.pad_token_id, shape.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    seed = derive_seed(config.seed, "model", "init")
    model = random_model(shape, config.model.dtype, config.model.device, seed)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder, safe_serialization=True)


def _tokenizer(config: Config, max_tokens: int) -> Any:
    """The model's own where it is at hand, else one trained on the worlds of the recipe."""
    model = config.model
    folder = hub.find(str(model.path), model.revision, weights=False)
    if folder is not None and any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        return load_tokenizer(folder)
    from codctl.models.build import tokenizer_of_worlds

    return tokenizer_of_worlds(model.build, config.world, config.context.update, vocab=_VOCAB, max_tokens=max_tokens)
