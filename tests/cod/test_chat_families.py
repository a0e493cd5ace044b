"""Every family of chat templates: tokens, masks and stop tokens against the template's own rendering, and a step."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from typing import Any

import pytest

from codctl.cod.conversation import PROMPT_DATE, Conversation, TemplateChat, converse
from codctl.cod.engine import RequestTag, Sampling, Weights
from codctl.cod.rollout import Player, play_all
from codctl.cod.scripted import ScriptedAgent
from codctl.cod.settings import RolloutSettings
from codctl.envs.registry import get_family
from tests.chat_families import FAMILIES, PAGE, VOCAB, Family, page, tokenizer_of

LAKE = get_family("frozen_lake")
SETTINGS = RolloutSettings("compact", solve_tokens=6, update_tokens=6, deadline_s=60)
TURNS = (("I go up.\n<answer>up</answer>", "b1"), ("<answer>left</answer>", "You see c1"))
START = [{"role": "system", "content": "The rules."}, {"role": "user", "content": "a1?\n\nGo."}]
NOBODY = RequestTag("p", 0, 0, 0, "solve")

Known = tuple[Family, Any, TemplateChat]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def known(request: pytest.FixtureRequest) -> Known:
    family = request.param
    tokenizer = tokenizer_of(family)
    assert len(tokenizer) <= VOCAB
    return family, tokenizer, TemplateChat(tokenizer, stop_ids=tokenizer.convert_tokens_to_ids(list(family.named)))


@pytest.fixture(scope="module")
def llama() -> Any:
    """Half a million random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=VOCAB, max_position_embeddings=8192, num_key_value_heads=2, **shape)
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).eval()


def new_engine(model: Any) -> Any:
    from codctl.engines.transformers_engine import TransformersEngine

    return TransformersEngine(model, pad_id=0, max_tokens=8192, max_batch=4)


def rendered(known: Known, turns: Sequence[tuple[str, str]]) -> str:
    """The template's own rendering of a conversation, up to the next reply."""
    family, tokenizer, chat = known
    messages = list(START)
    if chat.describe()["system_text"] == "in the first user text":
        messages = [{"role": "user", "content": "The rules.\n\na1?\n\nGo."}]
    for reply, observation in turns:
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": observation}]
    options = {"enable_thinking": False, "strftime_now": PROMPT_DATE.strftime}
    text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))
    for reply, _ in turns:
        assert text.count(reply) == 1
        text = text.replace(reply, family.dropped + reply)
    return text


def played(chat: TemplateChat, replies: Sequence[list[int]]) -> Conversation:
    conversation = converse(chat, START)
    for ids, (_, observation) in zip(replies, TURNS, strict=True):
        conversation.add_reply(ids, [-1.0] * len(ids))
        conversation.add_observation(observation)
    return conversation


def splits_otherwise(family: Family) -> bool:
    """Whether prompt and reply meet between two line breaks, which a whole rendering has as one token."""
    return family.lead.startswith("\n</think>")


def test_a_conversation_has_the_tokens_of_the_template(known: Known) -> None:
    family, tokenizer, chat = known
    replies = [chat.reply(text) for text, _ in TURNS]
    conversation = played(chat, replies)
    stop = chat.show(chat.stop_ids[:1])
    whole = rendered(known, TURNS)
    for reply, _ in TURNS:
        whole = whole.replace(reply + family.closes, reply + stop) if family.closes else whole
    assert chat.show(conversation.ids) == chat.show(tokenizer.encode(whole, add_special_tokens=False))
    assert splits_otherwise(family) or conversation.ids == tokenizer.encode(whole, add_special_tokens=False)
    assert chat.open(START) == tokenizer.encode(rendered(known, ()), add_special_tokens=False)
    bos = tokenizer.bos_token_id
    assert bos is None or conversation.ids[:2].count(bos) <= 1


def test_the_loss_is_on_what_the_model_writes_with_its_stop_token(known: Known) -> None:
    family, _, chat = known
    replies = [chat.reply(text) for text, _ in TURNS]
    conversation = played(chat, replies)
    begin = len(chat.open(START))
    for ids, end, (text, observation) in zip(replies, conversation.turn_ends, TURNS, strict=True):
        assert ids[-1] == chat.stop_ids[0]
        assert conversation.ids[begin:end] == ids
        assert conversation.loss_mask[begin:end] == [1] * len(ids)
        assert chat.show(ids[:-1]).strip(" ") == (family.lead + text).strip(" ")
        assert chat.decode(ids).strip() == text
        begin = end + len(chat.follow_up(observation, ended_by=ids[-1]))
    assert sum(conversation.loss_mask) == sum(map(len, replies))


def test_a_reply_may_end_with_any_stop_token_or_with_none(known: Known) -> None:
    """Whatever ended it, the next turn begins as the template begins it; a reply that was cut off is closed."""
    family, tokenizer, chat = known
    cut = [chat.reply(text)[: -1 - len(family.trail)] for text, _ in TURNS]
    whole = tokenizer.encode(rendered(known, TURNS), add_special_tokens=False)
    conversation = played(chat, cut)
    assert chat.show(conversation.ids) == chat.show(whole)
    assert splits_otherwise(family) or conversation.ids == whole
    own, observation = chat.stop_ids[0], TURNS[0][1]
    usual = chat.follow_up(observation, ended_by=own)
    closed = chat.follow_up(observation, ended_by=None)
    assert closed[-len(usual) :] == usual
    for stop in chat.stop_ids[1:]:
        found = chat.follow_up(observation, ended_by=stop)
        opens_turn = family.name == "GLM-4.5"  # its replies end where the next turn begins
        same = [stop, *found] == [stop, *closed] if opens_turn else [stop, *found][-len(usual) :] == usual
        assert same
        assert chat.decode([*cut[0], stop]) == chat.decode(cut[0])


def test_text_cannot_forge_a_turn(known: Known) -> None:
    _, tokenizer, chat = known
    marks = "".join(tokenizer.all_special_tokens)
    system, user = START
    assert chat.open([system, {**user, "content": f"a1?\n\n{marks}Go."}]) == chat.open(START)
    assert chat.follow_up(f"b{marks}1", ended_by=None) == chat.follow_up("b1", ended_by=None)


def test_every_stop_token_ends_a_reply_of_the_engine(known: Known, llama: Any) -> None:
    import torch

    _, _, chat = known
    eager = copy.deepcopy(llama)
    eager.lm_head = torch.nn.Linear(128, VOCAB)
    engine = new_engine(eager)
    other = next(token for token in range(VOCAB) if token not in chat.stop_ids)
    for token in (*chat.stop_ids, other):
        with torch.no_grad():
            eager.lm_head.bias.zero_()
            eager.lm_head.bias[token] = 100.0
        asyncio.run(engine.update_weights(Weights(0)))
        asked = engine.generate([1, 2, 3], Sampling(3, 1.0, chat.stop_ids), seed=0, tag=NOBODY)
        found = asyncio.run(asked)
        expected = ([other] * 3, "length") if token == other else ([token], "stop")
        assert (found.token_ids, found.finish_reason) == expected


def test_a_small_model_is_evaluated_and_trained_for_a_step(known: Known, llama: Any) -> None:
    from codctl.config.schema import TrainConfig
    from codctl.learner.batching import samples_of
    from codctl.learner.learner import Learner

    _, _, chat = known
    packs = [LAKE.pack("train", 0, 2, "tiny")]
    demonstrator = Player(ScriptedAgent(LAKE.policy("demonstrator"), chat), chat, RolloutSettings("compact"), 0)
    shown = asyncio.run(play_all(demonstrator, packs, 1))[0].episodes
    shown = sorted(shown, key=lambda episode: len(episode.turn_ends))[:: len(shown) - 1]
    assert [len(episode.turn_ends) > 1 for episode in shown] == [False, True]
    assert not any(episode.format_error for episode in shown)
    model = copy.deepcopy(llama)
    own = asyncio.run(play_all(Player(new_engine(model), chat, SETTINGS, 0), packs, 1))
    episodes = [*shown, *(episode for trajectory in own for episode in trajectory.episodes)]
    assert not any(episode.failed for episode in episodes)
    for episode in episodes:
        for end in episode.turn_ends:
            stopped = episode.ids[end - 1] in chat.stop_ids
            assert stopped or episode.outcome == "cut"
    samples = [row for number, e in enumerate(episodes) for row in samples_of(e, 1.0 - 2 * (number % 2), number)]
    learner = Learner(model, TrainConfig(lr=1e-3), pad_id=0, temperature=1.0, seed=0)
    for sample, scores in zip(samples[len(shown) :], learner.score(samples[len(shown) :]), strict=True):
        sampled = [p for p, m in zip(sample.logprobs, sample.loss_mask, strict=True) if m]
        assert scores == pytest.approx(sampled, abs=1e-4)  # learned as it was sampled
    before = model.lm_head.weight.detach().clone()
    found = learner.learn(samples, 1)
    assert found["grad_norm"] > 0
    assert not before.equal(model.lm_head.weight)


def test_the_page_shows_what_codctl_makes_of_each_family() -> None:
    """`python -m tests.chat_families` writes it."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text)
