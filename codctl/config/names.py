"""Closed lists of names that the command line shows without loading what is behind them."""

from __future__ import annotations

from typing import Literal

StrategyName = Literal["cod", "ralph_full", "ralph_sample", "drift", "distractor", "poison", "long"]
