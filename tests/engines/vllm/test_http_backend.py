"""What a vLLM server's replies are read as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codctl.cod.engine import EngineError
from codctl.engines.vllm.backend import Loaded, Rating
from codctl.engines.vllm.http_backend import read_scores

LOADED = Loaded(0, 0, Path("/base"), is_adapter=False, name="w")


def reply(*places: dict[str, float] | None) -> Any:
    def listed(found: dict[str, float]) -> Any:
        return {token: {"logprob": logprob, "rank": 1} for token, logprob in found.items()}

    return {"choices": [{"prompt_logprobs": [None if place is None else listed(place) for place in places]}]}


def test_scores_are_found_by_the_tokens_id_and_not_by_their_order() -> None:
    body = reply(None, {"4": -0.5, "5": -3.0}, {"9": -4.0, "7": -0.1, "6": -2.0})
    scores = read_scores(body, Rating([3, 5, 6], [1, 2], 2, LOADED), "engine")
    assert scores.logprobs_N.tolist() == [-3.0, -2.0]
    assert scores.top_ids_NK is not None
    assert scores.top_logprobs_NK is not None
    assert scores.top_ids_NK.tolist() == [[4, 5], [7, 6]]
    assert scores.top_logprobs_NK.tolist() == [pytest.approx([-0.5, -3.0]), pytest.approx([-0.1, -2.0])]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [{"prompt_logprobs": None}]},
        reply(None, {"4": -0.5}),  # one too few
        reply(None, {"4": -0.5}, {"9": -4.0}),  # without the token itself
        reply(None, None, None),
    ],
)
def test_what_lacks_them_is_refused(body: Any) -> None:
    with pytest.raises(EngineError):
        read_scores(body, Rating([3, 5, 6], [1, 2], 0, LOADED), "engine")
