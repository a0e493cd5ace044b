from __future__ import annotations

import json
import subprocess
import sys

import pytest

from codctl.config.compose import load_config
from codctl.config.freeze import changed_training, digest, frozen_file, identity_fields, thaw, training_fields
from codctl.config.schema import Config
from codctl.errors import UsageError


def changed(**sections: object) -> Config:
    return Config.model_validate({**Config().model_dump(), **sections})


def test_freeze_and_thaw_are_inverse_through_json() -> None:
    config = changed(name="other", seed=7)
    assert thaw(json.loads(json.dumps(frozen_file(config)))) == config


def test_only_what_changes_the_result_changes_the_digest() -> None:
    base = Config()
    assert digest(changed(name="other", description="words")) == digest(base)
    assert digest(changed(runtime={"threads": 1, "progress_s": 3.0})) == digest(base)
    assert digest(changed(seed=1)) != digest(base)
    assert digest(changed(train={"lr": 2e-6})) != digest(base)


def test_the_digest_is_the_same_in_every_process() -> None:
    code = "from codctl.config.schema import Config; from codctl.config.freeze import digest; print(digest(Config()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(Config())
    assert len(digest(Config())) == 16


def test_whole_numbers_and_fractions_of_the_same_value_have_the_same_digest() -> None:
    assert digest(changed(train={"lr": 1})) == digest(changed(train={"lr": 1.0}))


def test_identity_fields_are_dotted_and_leave_the_rest_out() -> None:
    fields = identity_fields(Config())
    assert fields["train.loss.kind"] == "rec"
    assert "runtime.threads" not in fields
    assert "name" not in fields


def test_a_field_that_came_later_leaves_older_digests_alone() -> None:
    """Runs from before there was `model.build.worlds` still belong to their configs."""
    assert digest(load_config("tiny")) == "19f4dc2dc71b1f20"
    assert "model.build.worlds" not in identity_fields(Config())
    known = changed(model={"build": {"worlds": [{"family": "alchemy"}]}})
    assert identity_fields(known)["model.build.worlds"] == [{"family": "alchemy", "preset": "tiny"}]
    assert digest(known) != digest(Config())


def test_a_config_of_another_codctl_is_refused_by_key() -> None:
    with pytest.raises(UsageError, match=r"does not fit this codctl: train\.gone"):
        thaw({"schema": 2, "config": {"train": {"gone": 1}}})


@pytest.mark.parametrize("train", ["x", 7, [], {"credit": "x"}, {"credit": {"returns": []}}])
def test_a_damaged_config_names_its_file(train: object) -> None:
    with pytest.raises(UsageError, match="does not fit this codctl: train") as error:
        thaw({"schema": 1, "config": {"train": train}}, "runs/r/config.json")
    assert error.value.where == "runs/r/config.json"


def test_returns_of_an_older_run_keep_their_meaning() -> None:
    older = {**frozen_file(changed(train={"credit": {"returns": "window"}})), "schema": 1}
    assert thaw(older).train.credit.returns == "window_of_tasks"
    assert thaw({**older, "schema": 2}).train.credit.returns == "window"


def test_the_price_of_turns_is_no_other_run_where_it_is_the_same_price() -> None:
    usual, told = Config(), Config.model_validate({"train": {"reward": {"turn_penalty": 0.1}}})
    assert usual.train.reward.turn_penalty is None
    assert digest(usual) == digest(told)
    assert not changed_training(told, usual)
    other = Config.model_validate({"train": {"reward": {"turn_penalty": 0.2}}})
    assert digest(other) != digest(usual)
    mixed = [
        Config.model_validate({"world": {"mixture": [{"family": "alchemy", **more}]}})
        for more in ({}, {"turn_penalty": 0.0})
    ]
    assert "turn_penalty" not in training_fields(mixed[0])["world.mixture"][0]
    assert digest(mixed[0]) != digest(mixed[1])
