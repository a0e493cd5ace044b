"""Training seeds of a graded family: rewards and shares over seeds and packs, from stored rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from codctl.cod.references import reference_player
from codctl.config.evalspec import EvalSpec
from codctl.envs.registry import FAMILIES
from codctl.evaluate.runner import evaluate
from codctl.results.rows import ROWS, RowsWriter
from codctl.sweeps.numbers import numbers
from codctl.sweeps.results import played


def test_shares_over_training_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES.built_in, "dial", "tests.example_world.dial:Dial")
    about: dict[str, Any] = {"family": "dial", "preset": "tiny", "rendering": "compact", "length": 3, "packs": 40}
    found = []
    for policy in ("bayes", "informed"):  # in the place of two training seeds
        summary = evaluate(reference_player(policy, "compact", 0), EvalSpec(**about, arms=("own",)), lambda *_: None)
        folder = tmp_path / policy
        folder.mkdir()
        writer = RowsWriter()
        writer.add(summary.result.name, [*summary.rows, *summary.reference_rows])
        (folder / ROWS).write_bytes(writer.close())
        found.append(played(folder, summary.result))
        alone = numbers(found[-1:])
        assert alone.graded
        assert summary.result.graded
        assert alone.graded.share["own"][-1].mean == pytest.approx(summary.result.graded.share["own"][-1].mean)
        assert alone.graded.share["own"][0].high == pytest.approx(summary.result.graded.share["own"][0].high)
    both = numbers(found).graded
    assert both
    first = both.share["own"][0]
    assert first.mean == pytest.approx(sum(first.by_seed) / 2)
    assert first.by_seed[1] == pytest.approx(1.0)
    assert first.low < min(first.by_seed)  # two seeds say little
    assert set(both.raw_reward) == {"own", "bayes", "informed", "random"}
    FAMILIES.forget()
