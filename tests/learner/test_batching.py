"""Rows into token-budget micro-batches."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codctl.cod.conversation import ByteChat
from codctl.cod.references import play_policy
from codctl.envs.registry import get_family
from codctl.learner.batching import (
    Sample,
    balanced,
    by_episode,
    count_tokens,
    micro_batches,
    samples_of,
    tokens_by_turn,
)
from codctl.learner.token_logprobs import collate


def row(length: int) -> Sample:
    return Sample(list(range(1, length + 1)), [0] * (length - 1) + [1], [-0.5] * length, float(length))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 90), max_size=60), st.integers(64, 400))
def test_every_row_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    rows = [row(length) for length in lengths]
    batches = micro_batches(rows, budget)
    assert sorted(id(r) for batch in batches for r in batch) == sorted(map(id, rows))
    for batch in batches:
        longest = max(len(r.ids) for r in batch)
        assert len(batch) * longest <= budget or len(batch) == 1
    counted = count_tokens(batches)
    assert counted.useful == sum(lengths)
    assert counted.forwarded >= counted.useful


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 90), max_size=60), st.integers(64, 400))
def test_packed_batches_are_filled_up(lengths: list[int], budget: int) -> None:
    rows = [row(length) for length in lengths]
    batches = micro_batches(rows, budget, packed=True)
    assert sorted(id(r) for batch in batches for r in batch) == sorted(map(id, rows))
    sizes = [sum(len(r.ids) for r in batch) for batch in batches]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    # No row of a batch had room in an earlier one, so at most one batch is half empty.
    assert sum(size <= budget / 2 for size in sizes) <= 1
    counted = count_tokens(batches, packed=True)
    assert counted.useful == counted.forwarded == sum(lengths)


def test_packing_by_hand() -> None:
    batches = micro_batches([row(n) for n in (3, 70, 10, 4, 9)], 20, packed=True)
    assert [[len(r.ids) for r in batch] for batch in batches] == [[70], [10, 9], [4, 3]]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 300), max_size=60), st.integers(64, 400), st.integers(2, 8), st.booleans())
def test_every_process_gets_as_many_batches_of_like_cost(
    lengths: list[int], budget: int, ranks: int, packed: bool
) -> None:
    rows = [row(length) for length in lengths]
    batches = micro_batches(rows, budget, packed=packed)
    dealt = balanced(batches, ranks, packed=packed)
    assert len(dealt) == ranks
    assert len({len(own) for own in dealt}) == 1
    assert len(dealt[0]) == -(-len(batches) // ranks)
    assert sorted(id(r) for own in dealt for batch in own for r in batch) == sorted(map(id, rows))

    def size(batch: list[Sample]) -> int:
        return count_tokens([batch], packed=packed).forwarded

    sizes = [[size(batch) for batch in own] for own in dealt]
    largest = max(map(size, batches), default=0)
    assert max((max(own, default=0) for own in sizes), default=0) <= largest
    totals = [sum(own) for own in sizes]
    assert max(totals) - min(totals) <= largest * 1.05  # what one batch makes, whatever their number


def test_the_last_rows_are_spread_over_all_processes() -> None:
    rows = [row(10) for _ in range(24)]
    [first, *others] = balanced(micro_batches(rows, 1000, packed=True), 4, packed=True)
    assert [[len(batch) for batch in own] for own in (first, *others)] == [[6]] * 4


def test_one_process_gets_the_batches_as_they_are() -> None:
    batches = micro_batches([row(n) for n in (3, 70, 10, 4, 9)], 20)
    assert balanced(batches, 1) == [batches]


def test_more_processes_than_rows() -> None:
    dealt = balanced(micro_batches([row(5), row(3)], 100, packed=True), 4, packed=True)
    assert [[len(batch) for batch in own] for own in dealt] == [[1], [1], [0], [0]]
    assert balanced([], 3) == [[], [], []]


def test_a_real_step_is_shared_evenly() -> None:
    """Episodes of 16 packs × 8 rollouts on 8 processes: none waits more than 3 % of its time for the others."""
    family = get_family("frozen_lake")
    packs = [family.pack("train", i // 8, 4, "tiny") for i in range(128)]
    rows = [
        row for t in play_policy("random", packs, "compact", 0) for e in t.episodes for row in samples_of(e, 1.0, 0)
    ]
    dealt = balanced(micro_batches(rows, 8192, packed=True), 8, packed=True)
    tokens = [count_tokens(own, packed=True).forwarded for own in dealt]
    assert min(tokens) > 0.97 * max(tokens)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.integers(64, 400), st.integers(1, 200))
def test_no_cut_of_the_rows_is_cheaper(lengths: list[int], budget: int, pass_tokens: int) -> None:
    lengths.sort(reverse=True)

    def cheapest(first: int, known: dict[int, int]) -> int:
        """Of the rows from `first` on, tried one after the other."""
        if first not in known:
            ends = [
                e
                for e in range(first + 1, len(lengths) + 1)
                if e == first + 1 or (e - first) * lengths[first] <= budget
            ]
            costs = [(end - first) * lengths[first] + pass_tokens + cheapest(end, known) for end in ends]
            known[first] = min(costs, default=0)
        return known[first]

    batches = micro_batches([row(length) for length in lengths], budget, pass_tokens=pass_tokens)
    assert count_tokens(batches).forwarded + pass_tokens * len(batches) == cheapest(0, {})


def test_padding_that_costs_more_than_a_pass_is_not_read() -> None:
    rows = [row(n) for n in (3, 10, 4, 9)]
    for pass_tokens, expected in ((0, [[10], [9], [4], [3]]), (8, [[10, 9], [4, 3]]), (20, [[10, 9, 4, 3]])):
        batches = micro_batches(rows, 100, pass_tokens=pass_tokens)
        assert [[len(r.ids) for r in batch] for batch in batches] == expected


def test_padding_by_hand() -> None:
    batches = micro_batches([row(n) for n in (3, 10, 4, 9)], 20)
    assert [[len(r.ids) for r in batch] for batch in batches] == [[10, 9], [4, 3]]
    assert count_tokens(batches) == count_tokens(batches[::-1])
    assert (count_tokens(batches).useful, count_tokens(batches).forwarded) == (26, 28)


def test_a_long_row_gets_a_batch_of_its_own() -> None:
    assert [[len(r.ids) for r in b] for b in micro_batches([row(5), row(70), row(6)], 64)] == [[70], [6, 5]]


def test_useful_share_on_rows_of_a_real_step() -> None:
    """Solve and update episodes of 16 packs × 8 rollouts: at least 85 % of what is forwarded is no padding."""
    family = get_family("frozen_lake")
    packs = [family.pack("train", i // 8, 4, "tiny") for i in range(128)]
    episodes = [e for t in play_policy("random", packs, "compact", 0) for e in t.episodes]
    counted = count_tokens(micro_batches([row for e in episodes for row in samples_of(e, 1.0, 0)], 8192))
    assert counted.useful / counted.forwarded > 0.85
    assert tokens_by_turn(episodes) > 1.5 * counted.useful


def test_collate_pads_on_the_right() -> None:
    batch = collate([row(2), row(4)], [0.1, 0.2], 99, "cpu")
    assert batch.ids_BT.tolist() == [[1, 2, 99, 99], [1, 2, 3, 4]]
    assert batch.loss_mask_BT.tolist() == [[False, True, False, False], [False, False, False, True]]
    assert batch.old_logprobs_BT.tolist() == [[-0.5, -0.5, 0, 0], [-0.5] * 4]
    assert batch.advantages_BT.tolist() == [[2.0] * 4, [4.0] * 4]
    assert torch.allclose(batch.weights_BT, torch.tensor([[0.1] * 4, [0.2] * 4]))


def test_collate_packs_behind_one_another() -> None:
    batch = collate([row(2), row(4)], [0.1, 0.2], 99, "cpu", packed=True)
    assert batch.ids_BT.tolist() == [[1, 2, 1, 2, 3, 4]]
    assert batch.places_BT.tolist() == [[0, 1, 0, 1, 2, 3]]
    assert batch.loss_mask_BT.tolist() == [[False, True, False, False, False, True]]
    assert batch.starts.tolist() == [0, 2, 6]
    assert batch.starts.dtype == torch.int32
    assert batch.longest == 4
    assert batch.advantages_BT.tolist() == [[2.0] * 2 + [4.0] * 4]
    assert torch.allclose(batch.weights_BT, torch.tensor([[0.1] * 2 + [0.2] * 4]))


def test_tokens_of_one_row_per_turn() -> None:
    family = get_family("frozen_lake")
    [trajectory] = play_policy("informed", [family.pack("train", 0, 2, "tiny")], "compact", 0)
    chat, expected = ByteChat(), 0
    for e in trajectory.of("solve"):
        ends = [i + 1 for i, token in enumerate(e.ids) if token == chat.stop_ids[0]]
        assert e.turn_ends == ends
        expected += sum(ends)
    assert tokens_by_turn(trajectory.of("solve")) == expected


def test_where_each_prompt_is_rendered_anew_each_turn_is_a_row() -> None:
    family = get_family("frozen_lake")
    [trajectory] = play_policy("informed", [family.pack("train", 0, 1, "tiny")], "compact", 0)
    whole = trajectory.of("solve")[0]
    assert len(whole.turn_ends) > 1
    turns = replace(whole, rendered=True)
    rows = samples_of(turns, 0.5, 3)
    assert [token for one in rows for token in one.ids] == whole.ids[: whole.turn_ends[-1]].tolist()
    assert [len(one.ids) for one in rows] == [end - begin for begin, end in pairwise([0, *whole.turn_ends])]
    assert all(one.loss_mask[-1] == 1 and one.advantage == 0.5 for one in rows)
    assert by_episode([*rows, *samples_of(whole, 0.5, 4)]) == [rows, samples_of(whole, 0.5, 4)]
    assert tokens_by_turn([turns]) == len(turns.ids) < tokens_by_turn([whole])


def test_order_of_equal_lengths_is_stable() -> None:
    rng = Random(0)
    rows = [row(rng.choice([4, 5])) for _ in range(20)]
    assert micro_batches(rows, 64) == micro_batches(list(rows), 64)
