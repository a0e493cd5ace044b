"""Which models can split a long row; that splitting changes nothing is in tests/learner/test_group.py."""

from __future__ import annotations

from typing import Any

import pytest

from codctl.errors import PreflightError
from codctl.models.load import use_attention
from codctl.models.sequence_parallel import check_split


def test_rows_are_split_only_where_attention_and_heads_allow_it(model: Any) -> None:
    with pytest.raises(PreflightError, match="long rows are split by one attention only"):
        check_split(model, 2)
    use_attention(model, "varlen")
    check_split(model, 2)
    with pytest.raises(PreflightError, match="2 attention heads and 1 key-value heads do not go round 3 processes"):
        check_split(model, 3)
