"""Health gates at work: a step that is left out, one that ends the run, and how often one hears of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from codctl.config.schema import Config, LossConfig, TrainConfig
from codctl.errors import StageError
from codctl.learner.learner import Learner
from codctl.train.health import Health, judge_look
from tests.learner.samples import on_policy, random_samples

SOUND = {"loss": 0.1, "grad_norm": 0.4, "entropy": 0.5}


def new_health(said: list[str] | None = None, **health: Any) -> Health:
    return Health(Config.model_validate({"health": health}), (said if said is not None else []).append)


def test_a_sound_step_passes_in_silence() -> None:
    said: list[str] = []
    health = new_health(said)
    assert health.before_step(SOUND)
    assert health.after_step(1, SOUND) == {"health/open": 0.0, "health/skipped": 0.0}
    assert not said


def test_a_warning_says_what_and_what_to_do_and_lets_the_step_pass() -> None:
    said: list[str] = []
    health = new_health(said)
    assert health.before_step(SOUND | {"grad_norm": 250.0})
    assert health.after_step(7, SOUND) == {"health/open": 1.0, "health/skipped": 0.0, "health/grad_norm": 1.0}
    assert said == ["step 7: health.grad_norm: the gradient norm is 250, above 100; lower train.lr or train.grad_clip"]


def test_a_gate_that_stays_open_is_said_now_and_then_with_a_count() -> None:
    said: list[str] = []
    health = new_health(said)
    for step in range(1, 54):
        value = 250.0 if step != 10 else 1.0  # closed once
        health.before_step(SOUND | {"grad_norm": value})
        health.after_step(step, SOUND)
    assert [message.partition(": health")[0] for message in said] == ["step 1", "step 26", "step 51"]
    assert "(at 24 of the last 25 steps)" in said[1]
    assert "(at 25 of the last 25 steps)" in said[2]


def test_nothing_to_learn_is_said_too() -> None:
    said: list[str] = []
    found = new_health(said).after_step(1, {"groups/without_signal": 1.0, "entropy": 0.0})
    assert found == {"health/open": 1.0, "health/skipped": 0.0, "health/silent_groups": 1.0}
    assert said[0].startswith("step 1: health.silent_groups: the share of groups without signal is 1, above 0.99; ")


def test_stop_ends_the_run_and_says_how_to_go_on() -> None:
    health = new_health(entropy={"limit": 0.6, "action": "stop"})
    assert not health.before_step(SOUND)
    with pytest.raises(
        StageError, match=r"step 3: the policy's entropy is 0.5, below 0.6; the optimiser step was skipped"
    ) as e:
        health.after_step(3, SOUND)
    assert e.value.where == "health.entropy"
    assert "the same command with health.entropy.limit=" in e.value.hint


def test_steps_that_are_left_out_for_ever_end_the_run() -> None:
    said: list[str] = []
    health = new_health(said, entropy={"limit": 0.6, "action": "skip"}, most_skips=3)
    for step in (1, 2):
        assert not health.before_step(SOUND)
        assert health.after_step(step, SOUND)["health/skipped"] == 1.0
    assert said[0].startswith("step 1: health.entropy: the policy's entropy is 0.5, below 0.6; the step is skipped; ")
    health.before_step(SOUND)
    with pytest.raises(StageError, match="and 3 steps in a row were skipped"):
        health.after_step(3, SOUND)


def test_one_step_that_counts_ends_the_row() -> None:
    health = new_health(grad_norm={"limit": 1.0, "action": "skip"}, most_skips=2)
    for step in range(1, 9):
        health.before_step(SOUND | {"grad_norm": 2.0 if step % 2 else 0.5})
        assert health.after_step(step, SOUND)["health/skipped"] == step % 2


# --- whether the model can be read ----------------------------------------------------------------------------------


def test_unreadable_replies_are_said_at_steps_that_teach_nothing() -> None:
    said: list[str] = []
    found = new_health(said).after_step(1, {"failures/format": 1.0, "failures/update": 0.6, "failures/cut": 0.2})
    assert found == {
        "health/open": 2.0,
        "health/skipped": 0.0,
        "health/unreadable_replies": 1.0,
        "health/unreadable_updates": 1.0,
    }
    assert said[0].startswith(
        "step 1: health.unreadable_replies: the share of unreadable solve replies is 1, above 0.5; "
    )


def looked(solve: dict[str, float], update: dict[str, float], cut: float = 0.0) -> dict[str, float]:
    counts = {"episodes/solve": 64.0, "episodes/update": 48.0, "failures/cut": cut, "success/position_0": 0.5}
    shares = {f"outcome/solve/{kind}": n / 64 for kind, n in solve.items()}
    return {**counts, **shares, **{f"outcome/update/{kind}": n / 48 for kind, n in update.items()}}


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (
            looked({"solved": 20, "turns": 40, "no_answer": 3, "cut": 1}, {"written": 48}),
            [
                "a look at the model before CoD-Train: 60 of 64 solve episodes and 48 of 48 updates could be read "
                "(of the solve episodes, 3 had no answer block, 1 was cut off at 96 tokens); success 0.50"
            ],
        ),
        (
            looked({"solved": 64}, {"written": 8, "no_hints": 40}),
            [
                "a look at the model before CoD-Train: 64 of 64 solve episodes and 8 of 48 updates could be read "
                "(of the updates, all of them lacked the lines that mark the hints); success 0.50",
                "health.look: 83\xa0% of the updates could not be read, above 50\xa0%; "
                "`codctl view RUN` shows the replies; a warm start teaches their form",
            ],
        ),
    ],
)
def test_a_look_says_how_much_could_be_read(metrics: dict[str, float], said: list[str]) -> None:
    found: list[str] = []
    config = Config.model_validate({"sampling": {"solve_tokens": 96, "update_tokens": 64}})
    judge_look(config, metrics, found.append)
    assert found == said


def test_a_look_can_end_the_run() -> None:
    config = Config.model_validate({"health": {"look": {"action": "stop"}}})
    with pytest.raises(StageError, match="100\xa0% of the solve episodes could not be read") as e:
        judge_look(config, looked({"cut": 64}, {"written": 48}, cut=0.6), lambda _: None)
    assert e.value.where == "health.look"
    assert e.value.hint.startswith("raise sampling.solve_tokens")


# --- through the learner ----------------------------------------------------------------------------------------------


def learner_of(model: Any) -> Learner:
    train = TrainConfig(lr=1e-3, loss=LossConfig(red=False))
    return Learner(model, train, pad_id=0, temperature=1.0, seed=0)


def state_of(learner: Learner, model: Any) -> list[torch.Tensor]:
    moments = [value for state in learner.optimizer.state.values() for value in state.values()]
    return [tensor.detach().clone() for tensor in (*model.parameters(), *moments)]


@pytest.mark.parametrize("action", ["skip", "stop"])
@pytest.mark.parametrize("gate", ["gap_mean", "gap_max", "gap_k3"])
def test_rows_of_another_policy_leave_weights_and_optimiser_bit_for_bit(model: Any, gate: str, action: str) -> None:
    samples = on_policy(model, random_samples(8))
    health, learner = new_health(**{gate: {"action": action}}), learner_of(model)
    learner.learn(samples, 1, health.before_step)
    health.after_step(1, {})
    before = state_of(learner, model)
    assert len(before) > len(list(model.parameters()))  # the optimiser has a state by now
    strange = [replace(s, logprobs=s.logprobs - 1.0) for s in on_policy(model, samples)]
    metrics = learner.learn(strange, 2, health.before_step)
    assert metrics["logprob_gap/mean"] == pytest.approx(1.0, abs=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(before, state_of(learner, model), strict=True))
    if action == "stop":
        with pytest.raises(StageError, match=r"is 1, above|is 0\.368, above"):
            health.after_step(2, metrics)
    else:
        assert health.after_step(2, metrics)["health/skipped"] == 1.0
    assert health.before_step(SOUND)


def test_a_warning_lets_the_learner_learn(model: Any) -> None:
    health, learner = new_health(), learner_of(model)
    samples = [replace(s, logprobs=s.logprobs - 1.0) for s in on_policy(model, random_samples(8))]
    before = state_of(learner, model)
    learner.learn(samples, 1, health.before_step)
    assert health.after_step(1, {})["health/gap_mean"] == 1.0
    assert not all(torch.equal(a, b) for a, b in zip(before, state_of(learner, model), strict=False))


def test_a_gradient_that_is_no_number_can_be_skipped(model: Any) -> None:
    samples = on_policy(model, random_samples(8))
    broken = [replace(s, advantage=float("inf")) for s in samples]
    health, learner = new_health(non_finite={"action": "skip"}), learner_of(model)
    before = state_of(learner, model)
    learner.learn(broken, 1, health.before_step)
    assert health.after_step(1, {}) == {"health/open": 1.0, "health/skipped": 1.0, "health/non_finite": 1.0}
    assert all(torch.equal(a, b) for a, b in zip(before, state_of(learner, model), strict=True))
    learner.learn(samples, 2, health.before_step)  # and the next step is as good as ever
    assert health.after_step(2, {})["health/open"] == 0.0
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_a_gradient_that_is_no_number_stops_the_run_by_default(model: Any) -> None:
    broken = [replace(s, advantage=float("inf")) for s in on_policy(model, random_samples(8))]
    health = new_health()
    learner_of(model).learn(broken, 1, health.before_step)
    with pytest.raises(StageError, match=r"step 1: not finite: .*grad_norm nan; the optimiser step was skipped"):
        health.after_step(1, {})
