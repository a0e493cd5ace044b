"""The batching engine against plain forward passes of the same model."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch

from codctl.cod.engine import EngineError, Generation, RequestTag, Sampling, Weights
from codctl.engines.budget import BLOCK, blocks_for
from codctl.engines.kv_cache import KvCache, token_bytes
from codctl.engines.transformers_engine import TransformersEngine
from codctl.seeds import derive_seed

NOBODY = RequestTag("p", 0, 0, 0, "solve")
STOP = 1
MAX_TOKENS = 128


def new_engine(model: Any, slots: int = 64) -> TransformersEngine:
    return TransformersEngine(model, pad_id=0, max_tokens=MAX_TOKENS, max_batch=slots)


def prompt(seed: int, shortest: int = 3, longest: int = 30) -> list[int]:
    rng = Random(seed)
    return [rng.randrange(2, 300) for _ in range(rng.randint(shortest, longest))]


async def converse(
    engine: TransformersEngine, number: int, turns: int = 3, tokens: int = 6, temperature: float = 1.0
) -> list[tuple[list[int], Generation]]:
    """One trajectory: each prompt is the last one, its reply and something new. Returns (prompt, reply) pairs."""
    ids, found = prompt(number), []
    engine.open_session()
    for turn in range(turns):
        sampling = Sampling(tokens, temperature, (STOP,))
        reply = await engine.generate(ids, sampling, seed=derive_seed(number, turn), tag=NOBODY)
        found.append((ids, reply))
        ids = [*ids, *reply.token_ids, *prompt(1000 * number + turn, 1, 5)]
    engine.close_session()
    return found


def together(
    engine: TransformersEngine, numbers: list[int], **options: Any
) -> list[list[tuple[list[int], Generation]]]:
    async def run() -> list[list[tuple[list[int], Generation]]]:
        return list(await asyncio.gather(*(converse(engine, n, **options) for n in numbers)))

    return asyncio.run(run())


def ask(engine: TransformersEngine, ids: list[int], tokens: int = 6, seed: int = 0) -> Generation:
    return asyncio.run(engine.generate(ids, Sampling(tokens, 1.0, (STOP,)), seed=seed, tag=NOBODY))


@torch.no_grad()
def full_forward(model: Any, ids: list[int], reply: list[int], temperature: float) -> list[float]:
    logits = model(input_ids=torch.tensor([ids + reply])).logits[0].float() / temperature
    logprobs = torch.log_softmax(logits, -1)
    return [float(logprobs[len(ids) + i - 1, token]) for i, token in enumerate(reply)]


def tokens_of(found: list[list[tuple[list[int], Generation]]]) -> list[list[list[int]]]:
    return [[reply.token_ids for _, reply in trajectory] for trajectory in found]


@pytest.mark.parametrize(("slots", "temperature"), [(64, 1.0), (64, 0.7), (4, 1.0)])
def test_log_probs_are_those_of_a_plain_forward_pass(model: Any, slots: int, temperature: float) -> None:
    engine = new_engine(model, slots)
    found = together(engine, list(range(12)), temperature=temperature)
    assert engine.stats.new_tokens == sum(len(reply.token_ids) for t in found for _, reply in t)
    if slots == 64:
        assert engine.stats.cached_tokens > 0.5 * engine.stats.prompt_tokens  # later turns found their past
    for trajectory in found:
        for ids, reply in trajectory:
            expected = full_forward(model, ids, reply.token_ids, temperature)
            assert reply.logprobs == pytest.approx(expected, abs=1e-4)


def test_a_reply_does_not_depend_on_what_else_is_in_the_batch(model: Any) -> None:
    many = together(new_engine(model), list(range(16)))
    for number in (0, 7, 15):
        [alone] = together(new_engine(model), [number])
        assert tokens_of([alone]) == tokens_of([many[number]])
        for (_, a), (_, b) in zip(alone, many[number], strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)


def test_more_trajectories_than_slots(model: Any) -> None:
    assert tokens_of(together(new_engine(model, 3), list(range(16)))) == tokens_of(
        together(new_engine(model), list(range(16)))
    )


def test_two_runs_are_bit_identical(model: Any) -> None:
    first, second = (together(new_engine(model, 8), list(range(12))) for _ in range(2))
    assert first == second  # log-probs too, to the last bit


def test_the_same_engine_gives_the_same_after_each_update(model: Any) -> None:
    engine = new_engine(model)
    first = together(engine, list(range(6)))
    asyncio.run(engine.update_weights(Weights(1)))
    second = together(engine, list(range(6)))
    assert tokens_of(first) == tokens_of(second)
    assert {reply.weight_version for t in second for _, reply in t} == {1}


def test_a_reply_ends_by_length_or_by_its_stop_token(model: Any) -> None:
    replies = [ask(new_engine(model), prompt(1), tokens=4, seed=seed) for seed in range(40)]
    for reply in replies:
        assert len(reply.token_ids) == len(reply.logprobs) <= 4
        if reply.finish_reason == "length":
            assert len(reply.token_ids) == 4
            assert STOP not in reply.token_ids
    free = new_engine(model)
    every_token = tuple(range(448))
    reply = asyncio.run(free.generate(prompt(1), Sampling(4, 1.0, every_token), seed=0, tag=NOBODY))
    assert (len(reply.token_ids), reply.finish_reason) == (1, "stop")
    reply = asyncio.run(free.generate(prompt(1), Sampling(4, 1.0, ()), seed=0, tag=NOBODY))
    assert (len(reply.token_ids), reply.finish_reason) == (4, "length")


def test_the_context_window_ends_a_reply(model: Any) -> None:
    ids = [5] * (MAX_TOKENS - 2)
    reply = asyncio.run(new_engine(model).generate(ids, Sampling(50, 1.0, ()), seed=0, tag=NOBODY))
    assert (len(reply.token_ids), reply.finish_reason) == (2, "length")


def test_a_prompt_that_fills_the_window_is_an_error(model: Any) -> None:
    with pytest.raises(EngineError, match="the prompt has 128 tokens, the model reads 128"):
        ask(new_engine(model), [5] * MAX_TOKENS)


def test_a_cancelled_request_leaves_the_others_alone(model: Any) -> None:
    engine = new_engine(model, 4)

    async def cancelled(ids: list[int]) -> None:
        engine.open_session()
        task = asyncio.ensure_future(engine.generate(ids, Sampling(60, 1.0, ()), seed=0, tag=NOBODY))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        engine.close_session()

    async def run() -> list[Any]:
        return list(
            await asyncio.gather(cancelled(prompt(90)), converse(engine, 1), cancelled(prompt(91)), converse(engine, 2))
        )

    _, one, _, two = asyncio.run(run())
    assert tokens_of([one, two]) == tokens_of(together(new_engine(model), [1, 2]))
    assert len(together(engine, list(range(5)))) == 5  # all four slots are free again


def test_a_deadline_frees_the_slot(model: Any) -> None:
    engine = new_engine(model, 1)

    async def run() -> Generation:
        async def slow() -> None:
            async with asyncio.timeout(0.001):
                await engine.generate(prompt(3), Sampling(100, 1.0, ()), seed=0, tag=NOBODY)

        with pytest.raises(TimeoutError):
            await slow()
        return await engine.generate(prompt(4), Sampling(3, 1.0, ()), seed=0, tag=NOBODY)

    assert len(asyncio.run(run()).token_ids) == 3


def breaks_at(engine: TransformersEngine, call: int) -> Callable[[], None]:
    """Make the n-th forward pass fail; returns what repairs the engine."""
    ask(engine, prompt(0), tokens=1)  # by then it has chosen how to read the model
    assert engine._found is not None
    found = engine._found
    plain, calls = found[0], [0]

    class Broken:
        name, keeps, replays = plain.name, plain.keeps, plain.replays
        forget, step = plain.forget, plain.step

        def __call__(self, *args: Any) -> torch.Tensor:
            calls[0] += 1
            if calls[0] == call:
                raise RuntimeError("CUDA out of memory")
            return plain(*args)

    engine._found = Broken(), found[1]
    return lambda: setattr(engine, "_found", found)


@pytest.mark.parametrize("call", [1, 3])
def test_an_error_in_the_model_reaches_every_caller_and_the_engine_works_on(model: Any, call: int) -> None:
    engine = new_engine(model, 2)
    repair = breaks_at(engine, call)

    async def run() -> list[Any]:
        calls: list[Awaitable[Any]] = [
            engine.generate(prompt(n), Sampling(6, 1.0, ()), seed=n, tag=NOBODY) for n in range(4)
        ]
        async with asyncio.timeout(120):
            return list(await asyncio.gather(*calls, return_exceptions=True))

    found = asyncio.run(run())
    assert [type(error) for error in found] == [EngineError] * 4
    assert str(found[0]) == "RuntimeError: CUDA out of memory"
    repair()
    assert tokens_of(together(engine, [1, 2, 3])) == tokens_of(together(new_engine(model), [1, 2, 3]))


def test_an_error_while_prompts_are_admitted_reaches_every_caller(model: Any) -> None:
    def broken() -> None:
        raise RuntimeError("no memory for blocks")

    async def run() -> list[Any]:
        tags = [NOBODY, replace(NOBODY, begin=broken)]
        calls = [new_engine(model, 2).generate(prompt(0), Sampling(2, 1.0, ()), seed=0, tag=tag) for tag in tags]
        async with asyncio.timeout(120):
            return list(await asyncio.gather(*calls, return_exceptions=True))

    played, failed = asyncio.run(run())
    assert len(played.token_ids) == 2
    assert str(failed) == "RuntimeError: no memory for blocks"


# --- memory -----------------------------------------------------------------------------------------------------------


def of_tokens(model: Any, tokens: int) -> int:
    """Bytes of the keys and values of so many tokens."""
    return tokens * token_bytes(model.config, 4)


def cache_of(engine: TransformersEngine) -> KvCache:
    assert engine._found is not None
    return engine._found[1]


def memories_of(engine: TransformersEngine) -> list[torch.Tensor]:
    """Keys and values of every layer."""
    return [memory.states_SKLD for layer in cache_of(engine).layers for memory in layer or ()]


def watch_blocks(engine: TransformersEngine) -> list[tuple[int, int]]:
    """Blocks in use and resident, after each forward pass."""
    seen = list[tuple[int, int]]()
    forward = engine._forward

    def watched(reader: Any, cache: KvCache, rows: Any) -> None:
        forward(reader, cache, rows)
        seen.append((sum(blocks_for(content.length) for content in cache.contents), cache.resident))

    engine._forward = watched  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("tokens", [4 * MAX_TOKENS, MAX_TOKENS])
def test_what_does_not_fit_the_memory_waits(model: Any, tokens: int) -> None:
    engine = TransformersEngine(model, pad_id=0, max_tokens=MAX_TOKENS, max_batch=64, memory=of_tokens(model, tokens))
    seen = watch_blocks(engine)
    found = together(engine, list(range(16)), tokens=20)
    assert max(resident for _, resident in seen) <= tokens // BLOCK
    assert tokens_of(found) == tokens_of(together(new_engine(model), list(range(16)), tokens=20))


def test_a_sequence_may_have_as_many_tokens_as_there_is_memory_for(model: Any) -> None:
    engine = TransformersEngine(model, pad_id=0, max_tokens=MAX_TOKENS, memory=of_tokens(model, 3 * BLOCK))
    reply = asyncio.run(engine.generate(prompt(1), Sampling(100, 1.0, ()), seed=0, tag=NOBODY))
    assert len(prompt(1)) + len(reply.token_ids) == 3 * BLOCK
    with pytest.raises(EngineError, match="the prompt has 48 tokens, there is memory for 48"):
        ask(engine, [5] * 3 * BLOCK)


def test_only_live_conversations_have_memory(model: Any) -> None:
    engine = new_engine(model)
    seen = watch_blocks(engine)

    async def play() -> None:
        async def trajectory(number: int) -> None:
            for part in range(4):  # one conversation after the other, each of three turns
                await converse(engine, 10 * number + part)

        await asyncio.gather(*(trajectory(number) for number in range(6)))

    asyncio.run(play())
    longest = blocks_for(30 + 3 * 6 + 2 * 5)
    assert max(used for used, _ in seen) <= 6 * longest
    assert max(resident for _, resident in seen) <= 2 * 6 * longest + 32
    assert cache_of(engine).resident == 0
    assert not any(cache_of(engine).layers)


def test_memory_is_given_back_while_others_play_on(model: Any) -> None:
    engine = new_engine(model)
    seen = watch_blocks(engine)

    async def play() -> Generation:
        few = converse(engine, 99, turns=2, tokens=40)
        *_, found = await asyncio.gather(*(converse(engine, n, turns=1, tokens=8) for n in range(60)), few)
        return found[1][1]

    reply = asyncio.run(play())
    assert seen[-1][1] < max(capacity for _, capacity in seen) / 2
    [[_, (_, alone)]] = together(new_engine(model), [99], turns=2, tokens=40)
    assert reply.token_ids == alone.token_ids


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_keys_and_values_are_kept_in_the_type_of_the_arithmetic(model: Any, autocast: torch.dtype | None) -> None:
    engine = TransformersEngine(model, pad_id=0, max_tokens=MAX_TOKENS, autocast=autocast)
    ask(engine, prompt(1))
    memories = memories_of(engine)
    assert {states.dtype for states in memories} == {autocast or torch.float32}
    of_token = token_bytes(model.config, (autocast or torch.float32).itemsize)
    assert sum(states[0, :, 0].nbytes for states in memories) == of_token


@pytest.mark.parametrize("most", [64, 7])  # 7: no prompt fits, and each is read part by part
def test_prompts_that_are_too_much_for_one_pass_are_read_in_several(model: Any, most: int) -> None:
    engine = new_engine(model)
    engine._pass_tokens = most
    whole, parts = together(new_engine(model), list(range(12))), together(engine, list(range(12)))
    assert tokens_of(parts) == tokens_of(whole)
    assert engine.stats.cached_tokens > 0.5 * engine.stats.prompt_tokens


# --- changing weights -------------------------------------------------------------------------------------------------


def second_turn_after_a_change(model: Any, forget: bool) -> tuple[list[int], Generation]:
    """A first turn, other weights in place, then a second turn that extends the first."""
    engine = new_engine(model)
    if not forget:
        engine._reset_cache = lambda: None  # type: ignore[method-assign]
    ids = prompt(5)
    reply = ask(engine, ids)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    asyncio.run(engine.update_weights(Weights(1)))
    longer = [*ids, *reply.token_ids, 7, 8]
    return longer, ask(engine, longer, seed=1)


def test_old_keys_and_values_are_forgotten_when_the_weights_change(model: Any) -> None:
    longer, reply = second_turn_after_a_change(model, forget=True)
    assert reply.weight_version == 1
    fresh = ask(new_engine(model), longer, seed=1)
    assert (reply.token_ids, reply.logprobs) == (fresh.token_ids, fresh.logprobs)
    assert reply.logprobs == pytest.approx(full_forward(model, longer, reply.token_ids, 1.0), abs=1e-4)


def test_the_test_above_would_notice_stale_keys_and_values(model: Any) -> None:
    longer, reply = second_turn_after_a_change(model, forget=False)
    assert reply.logprobs != pytest.approx(full_forward(model, longer, reply.token_ids, 1.0), abs=1e-2)


@pytest.fixture
def without_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def seated(engine: TransformersEngine) -> list[weakref.ref[torch.Tensor]]:
    """The keys and values of every layer, of a conversation that is going on."""
    engine.open_session()
    await engine.generate(prompt(0), Sampling(4, 1.0, (STOP,)), seed=0, tag=NOBODY)
    found = [weakref.ref(states) for states in memories_of(engine)]
    assert all(ref() is not None for ref in found)
    return found


@pytest.mark.usefixtures("without_garbage_collection")
def test_an_update_frees_the_keys_and_values_of_the_weights_before(model: Any) -> None:
    engine = new_engine(model)

    async def play_and_update(version: int) -> None:
        before = await seated(engine)
        await engine.update_weights(Weights(version))
        assert [ref() for ref in before] == [None] * len(before)
        engine.close_session()

    for version in range(1, 5):
        asyncio.run(play_and_update(version))


@pytest.mark.usefixtures("without_garbage_collection")
def test_an_engine_that_is_dropped_leaves_nothing(model: Any) -> None:
    """Also one that nobody has closed: an error has ended its training."""
    for _ in range(3):
        engine = new_engine(model)
        left = [*asyncio.run(seated(engine)), weakref.ref(engine), weakref.ref(cache_of(engine))]
        del engine
        assert [ref() for ref in left] == [None] * len(left)


def test_weights_cannot_change_in_the_middle_of_a_reply(model: Any) -> None:
    engine = new_engine(model)

    async def run() -> None:
        waiting = asyncio.ensure_future(engine.generate(prompt(1), Sampling(20, 1.0, ()), seed=0, tag=NOBODY))
        await asyncio.sleep(0)
        with pytest.raises(EngineError, match="weights cannot change while replies are being sampled"):
            await engine.update_weights(Weights(1))
        await waiting

    asyncio.run(run())
    asyncio.run(engine.update_weights(Weights(1)))
    assert engine.stats.new_tokens == 0


# --- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_from_the_softmax(model: Any, temperature: float) -> None:
    draws, ids = 3000, prompt(11)
    engine = new_engine(model, 1000)

    async def run() -> list[Generation]:
        sampling = Sampling(1, temperature, ())
        return list(await asyncio.gather(*(engine.generate(ids, sampling, seed=s, tag=NOBODY) for s in range(draws))))

    sampled = torch.tensor([reply.token_ids[0] for reply in asyncio.run(run())])
    with torch.no_grad():
        expected = torch.softmax(model(input_ids=torch.tensor([ids])).logits[0, -1].double() / temperature, -1)
    observed = torch.bincount(sampled, minlength=len(expected)).double() / draws
    sigma = (expected * (1 - expected) / draws).sqrt()
    assert float(((observed - expected).abs() / (sigma + 1 / draws)).max()) < 4.5
    likely = expected > 5 / draws
    chi_square = float(((observed - expected) ** 2 / expected)[likely].sum() * draws)
    assert chi_square < int(likely.sum()) + 4 * (2 * int(likely.sum())) ** 0.5


def test_a_low_temperature_is_greedy(model: Any) -> None:
    ids = prompt(12)
    with torch.no_grad():
        best = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
    reply = asyncio.run(new_engine(model).generate(ids, Sampling(1, 1e-4, ()), seed=3, tag=NOBODY))
    assert reply.token_ids == [best]
    assert reply.logprobs == pytest.approx([0.0], abs=1e-3)


def test_occupancy_counts_live_trajectories(model: Any) -> None:
    engine = new_engine(model)
    together(engine, list(range(8)), turns=1, tokens=1)
    assert (engine.stats.forwards, engine.stats.rows, engine.stats.occupancy) == (1, 8, 1.0)


# --- top_p ------------------------------------------------------------------------------------------------------------


def first_tokens(model: Any, ids: list[int], top_ps: list[float]) -> list[Generation]:
    """One sampled token for each `top_p`, all in one batch, each with its own seed."""
    engine = new_engine(model, len(top_ps))

    async def run() -> list[Generation]:
        asked = [Sampling(1, 0.5, (), top_p) for top_p in top_ps]
        return list(await asyncio.gather(*(engine.generate(ids, s, seed=i, tag=NOBODY) for i, s in enumerate(asked))))

    return asyncio.run(run())


def test_top_p_draws_from_the_likeliest_tokens_only(model: Any) -> None:
    ids, top_p, draws = prompt(11), 0.6, 1000
    with torch.no_grad():
        probs = torch.softmax(model(input_ids=torch.tensor([ids])).logits[0, -1].double() / 0.5, -1)
    ranked, order = probs.sort(descending=True)
    count = int((ranked.cumsum(0) < top_p).sum()) + 1  # the fewest whose mass reaches top_p
    likeliest = {int(token): float(probs[token] / ranked[:count].sum()) for token in order[:count]}
    replies = first_tokens(model, ids, [top_p] * draws)
    assert {reply.token_ids[0] for reply in replies} <= set(likeliest)
    for reply in replies:
        assert reply.logprobs == pytest.approx([math.log(likeliest[reply.token_ids[0]])], abs=1e-4)
    seen = [reply.token_ids[0] for reply in replies]
    for token in order[:3].tolist():
        assert seen.count(token) / draws == pytest.approx(likeliest[token], abs=0.06)


def test_top_p_of_one_reply_leaves_the_others_alone(model: Any) -> None:
    ids = prompt(12)
    plain = first_tokens(model, ids, [1.0] * 8)
    mixed = first_tokens(model, ids, [1.0, 0.3] * 4)
    assert mixed[::2] == plain[::2]  # to the last bit
    assert mixed[1::2] != plain[1::2]


def test_a_tiny_top_p_leaves_one_token(model: Any) -> None:
    for reply in first_tokens(model, prompt(13), [1e-9] * 4):
        assert reply.logprobs == [0.0]
