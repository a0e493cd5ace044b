"""What an evaluation takes of this machine, and what is refused before a model is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from codctl.config.evalspec import EvalSpec
from codctl.config.schema import Config
from codctl.errors import PreflightError
from codctl.plan import evaluation, hardware
from codctl.plan.evaluation import check_memory, make_plan

SPEC = EvalSpec(preset="tiny", rendering="compact", packs=8, length=2, solve_tokens=8, update_tokens=8, arms=("own",))


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_visible", tuple)
    monkeypatch.setattr(evaluation, "machine_memory", lambda: 4 << 30)


@pytest.fixture
def large(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder that says it is a model of half a billion parameters."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "large"))
    shape = json.loads((folder / "config.json").read_text())
    shape.pop("layer_types", None)
    wide = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 16}
    (folder / "config.json").write_text(json.dumps({**shape, **wide, "num_key_value_heads": 16, "head_dim": 64}))
    return folder


def test_what_does_not_fit_is_refused_with_the_smallest_change(large: Path) -> None:
    settings = Config()
    with pytest.raises(
        PreflightError, match=r"this machine: the model and its engine take 3\.\d GiB, there are 3"
    ) as e:
        tight(settings, large, 3.2)
    assert e.value.hint.startswith("model.dtype=bfloat16 makes it ")


def tight(settings: Config, folder: Path, gib: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "machine_memory", lambda: round(gib * 2**30))
        check_memory(settings, folder, [SPEC], was_shown=True)


def test_the_hint_helps_or_says_that_nothing_does(large: Path) -> None:
    half = Config.model_validate({"model": {"dtype": "bfloat16"}})
    tight(half, large, 3.2)
    with pytest.raises(PreflightError) as caught:
        tight(half, large, 1)
    assert caught.value.hint == "no setting makes it fit: a smaller model, or a larger machine"


def test_every_arm_and_pack_counts(tiny_folder: Path) -> None:
    def plan(**changes: object) -> evaluation.EvaluationPlan:
        return make_plan(Config(), tiny_folder, [SPEC.model_copy(update=changes)], was_shown=True)

    one, more = plan(), plan(arms=("own", "none", "oracle"), packs=16)
    assert more.sampled == pytest.approx(6 * one.sampled)
    assert more.seconds > one.seconds
    assert "replies" in one.sentence()
    assert make_plan(Config(), tiny_folder, [SPEC, SPEC], was_shown=True).read == pytest.approx(2 * one.read)
