"""Numbers of a study: seeds and packs both count, arms are compared pack by pack, nothing is made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from codctl.results.statistics import differences, shares
from codctl.sweeps.findings import ablation_said, answers, claim, headline, headline_of_sweep, relation
from codctl.sweeps.numbers import Played, difference, is_alike, numbers
from codctl.sweeps.study_result import Answer, Cell, Difference, PositionEstimate, SeedEstimate
from tests.results import made

RNG = np.random.default_rng(5)
_FRESH = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """A test draws the same whichever others ran before it."""
    RNG.bit_generator.state = _FRESH


def played(own: Any, none: Any = None, strategy: str = "cod", **what: Any) -> Played:
    """Success of one trained model, packs × positions."""
    arms = {"own": np.asarray(own, dtype=float)[None]}
    if none is not None:
        arms["none"] = np.asarray(none, dtype=float)[None]
    packs, length = arms["own"].shape[1:]
    shown = {"positions": list(range(length)), "arms": {arm: {"success": []} for arm in arms}}
    return Played(made.part(**{"strategy": strategy, "packs": packs, "length": length, **shown, **what}), arms)


def outcomes(*rates: float, packs: int = 200) -> np.ndarray[Any, Any]:
    return (RNG.random((packs, len(rates))) < rates).astype(float)


def test_one_seed_has_wilsons_interval_over_packs() -> None:
    found = numbers([played([[0, 0]] * 4)]).last_success()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.0, 0.4899), abs=1e-4)


def test_the_same_packs_in_every_seed_are_no_new_packs() -> None:
    """Five seeds that do the same in every pack know as little about other packs as one does."""
    values = outcomes(0.5)
    one, five = shares([values]), shares([values] * 5)
    assert five.high_C - five.low_C == pytest.approx(one.high_C - one.low_C, rel=0.02)


def test_seeds_that_differ_widen_the_interval_as_their_variance_says() -> None:
    """No pack differs from another: it is Student's interval of eight numbers."""
    rates = np.linspace(-0.1, 0.1, 8)
    found = differences([np.tile([[rate + 0.01], [rate - 0.01]], (5000, 1)) for rate in rates])
    standard_error = np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert (found.high_C - found.low_C)[0] == pytest.approx(2 * 2.3646 * standard_error, rel=0.01)
    assert found.mean_KC[:, 0] == pytest.approx(rates)


def test_luck_is_not_counted_twice() -> None:
    """Where neither seeds nor packs differ, four seeds have the t interval of four means of 100 draws each."""
    found = [shares([outcomes(0.5, packs=100) for _ in range(4)]) for _ in range(200)]
    squares = [np.square((one.high_C - one.low_C)[0] / 2) for one in found]
    assert np.sqrt(np.mean(squares)) == pytest.approx(3.1824 * 0.5 / np.sqrt(400), rel=0.1)


def test_a_cell_has_means_of_seeds_and_differences_within_packs() -> None:
    ours = [played([[0, 1], [1, 1], [0, 0]], [[0, 0], [1, 0], [0, 0]]), played([[0, 1]] * 3, [[0, 0]] * 3)]
    found = numbers(ours)
    assert found.packs == 3
    assert found.gain["own"].by_seed == pytest.approx((1 / 3, 1))
    assert found.gain["own"].mean == pytest.approx(2 / 3)
    assert found.gain["none"].by_seed == pytest.approx((-1 / 3, 0))
    assert found.own_less_none is not None
    assert found.own_less_none.by_seed == pytest.approx((2 / 3, 1))
    assert found.last_success() == found.arms["own"][-1]
    assert [point.position for point in found.arms["own"]] == [0, 1]


def test_an_interval_ends_where_shares_end() -> None:
    point = numbers([played(outcomes(0.2, rate, packs=30)) for rate in (0.5, 0.99)]).last_success()
    assert point is not None
    assert 0 <= point.low <= point.mean <= point.high <= 1


def test_episodes_that_could_not_be_played_are_left_out() -> None:
    found = numbers([played([[np.nan, 1], [0, 1], [1, np.nan]], failed_episodes=2)])
    assert [point.mean for point in found.arms["own"]] == [0.5, 1.0]
    assert found.gain["own"].mean == 1.0  # of the one pack where both ends are known
    assert found.failed_episodes == 2


def test_a_ralph_loop_tells_what_is_solved_by_attempt() -> None:
    found = numbers([played([[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]], strategy="ralph_full")])
    assert found.solved_by_attempt is not None
    curve = found.solved_by_attempt["own"]
    assert [(point.attempt, point.mean) for point in curve] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    assert numbers([played([[0, 1], [1, 1]])]).solved_by_attempt is None


def test_tasks_of_one_world_are_drawn_together() -> None:
    """Under ralph_full, `length` packs in a row share a world: ten worlds are not eighty."""
    values = np.repeat(outcomes(0.5, packs=10), 8, axis=0)
    table = np.tile(values, (1, 8))
    apart = numbers([played(table)]).last_success()
    together = numbers([played(table, strategy="ralph_full")]).last_success()
    assert apart is not None
    assert together is not None
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_ablations_are_compared_seed_by_seed_and_pack_by_pack() -> None:
    hard = outcomes(0.5)  # packs differ, but equally for both
    ours = [played(np.hstack([hard * 0, np.maximum(hard, outcomes(0.2))])) for _ in range(5)]
    theirs = [played(np.hstack([hard * 0, hard])) for _ in range(5)]
    found = difference(ours, theirs)
    assert found is not None
    assert found["gain"].mean == found["last"].mean
    assert found["gain"].low > 0
    assert found["last"].low > 0
    assert difference(ours, theirs[:1]) is None
    assert difference(ours, [played(np.hstack([hard, hard]), preset="hard")] * 5) is None


def test_seeds_that_were_asked_different_things_are_not_alike() -> None:
    same = played([[0, 1]]).what
    assert is_alike([same, replace(same)])
    assert is_alike([same, replace(same, seeds=(7,))])  # each run has a sampling seed of its own
    changes: list[dict[str, Any]] = [{"packs": 2}, {"preset": "hard"}, {"seeds": (0, 1)}, {"temperature": 0.5}]
    for change in changes:
        assert not is_alike([same, replace(same, **change)])


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"family": "frozen_lake", "preset": "easy", "strategy": "cod"}, "trained"),
        ({"family": "frozen_lake", "preset": "hard", "strategy": "cod"}, "harder"),
        ({"family": "frozen_lake", "preset": "tiny", "strategy": "cod"}, "preset"),
        ({"family": "alchemy", "preset": "easy", "strategy": "cod"}, "family"),
        ({"family": "frozen_lake", "preset": "easy", "strategy": "long"}, "long"),
        ({"family": "frozen_lake", "preset": "easy", "strategy": "ralph_sample"}, "ralph"),
        ({"family": "frozen_lake", "preset": "easy", "strategy": "drift"}, "disturbed"),
    ],
)
def test_how_an_evaluation_relates_to_the_training(what: dict[str, str], expected: str) -> None:
    assert relation(made.part(**what), [("frozen_lake", "easy")]) == expected


def test_of_an_unknown_training_nothing_is_said() -> None:
    assert relation(made.part(preset="easy"), []) == ""


PLACE: dict[str, Any] = {"setting": "a", "evaluation": "after"}


def _gain(low: float, high: float) -> SeedEstimate:
    return SeedEstimate((low + high) / 2, low, high, ())


def _cell(low: float, high: float, lead: float | None = None, where: str = "trained", **more: Any) -> Cell:
    ahead = None if lead is None else _gain(lead - 0.1, lead + 0.1)
    plain: dict[str, Any] = {**PLACE, "state": "complete", "seeds": (0,), "of": 1, "relation": where}
    return Cell(**plain, gain={"own": _gain(low, high)}, own_less_none=ahead, **more)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (_cell(0.1, 0.3, 0.2), "learns"),
        (_cell(0.1, 0.3), "learns"),
        (_cell(0.1, 0.3, 0.05), "improves"),
        (_cell(-0.1, 0.3, 0.2), "nothing"),
        (_cell(-0.3, -0.1, 0.2), "worsens"),
        (_cell(-0.3, -0.1, 0.2, unread="it solves 0 of 4 tasks; 4 replies could not be read"), "unread"),
        (Cell(**PLACE, state="complete"), ""),
    ],
)
def test_what_a_cell_says(found: Cell, expected: str) -> None:
    assert claim(found) == expected


def _said(*cells: Cell, incomplete: int = 0) -> str:
    return headline(answers(cells), incomplete, 8).replace("\N{NO-BREAK SPACE}", " ")


def test_the_headline_says_where_it_holds_and_where_not() -> None:
    yes, no = _cell(0.1, 0.3, 0.2), _cell(-0.1, 0.1, 0.0, "family")
    part = [_cell(0.1, 0.3, 0.2, "ralph"), _cell(-0.1, 0.1, 0.0, "ralph")]
    assert _said(yes, yes, no, *part) == (
        "It learns on the job, from its own hints, in the worlds of the training (2 of 2); "
        "only in part in Ralph loops (1 of 2); not in other families (0 of 1)."
    )
    assert _said(no) == "No learning from its own hints was measured: not in other families (0 of 1)."


def test_the_headline_never_counts_what_is_incomplete() -> None:
    open_cell = Cell(**PLACE, state="incomplete", relation="trained", seeds=(0,), of=3)
    assert _said(open_cell, incomplete=2) == ("No result yet: no evaluation is complete. 2 of 8 trials are incomplete.")
    assert _said(_cell(0.1, 0.3, 0.2), open_cell, incomplete=2) == (
        "So far: it learns on the job, from its own hints, in the worlds of the training (1 of 1). "
        "2 of 8 trials are incomplete."
    )
    [found] = answers([open_cell])
    assert (found.incomplete, found.of, found.answer) == (1, 0, "incomplete")


def test_an_answer_counts_what_the_cells_say() -> None:
    cells = [_cell(0.1, 0.3, 0.2), _cell(0.1, 0.3, 0.0), _cell(-0.1, 0.1, unread="…"), Cell(**PLACE, state="absent")]
    assert answers(cells) == (
        Answer(
            relation="trained",
            where="in the worlds of the training",
            learns=1,
            improves=1,
            unread=1,
            of=3,
            gains=(0.2, 0.2),
            answer="in part",
        ),
    )


def test_the_headline_takes_unreadable_replies_for_no_measurement() -> None:
    yes, unread = _cell(0.1, 0.3, 0.2), _cell(-0.1, 0.1, 0.0, "family", unread="…")
    assert _said(unread) == "Nothing was measured: most replies could not be read."
    assert _said(yes, unread) == (
        "It learns on the job, from its own hints, in the worlds of the training (1 of 1). "
        "Most replies could not be read in 1 of 2 evaluations."
    )
    assert _said(unread, incomplete=1) == (
        "Nothing was measured: most replies could not be read. 1 of 8 trials is incomplete."
    )


def test_a_cell_says_when_most_replies_could_not_be_read() -> None:
    outcomes = [
        {"arm": "own", "episode": "solve", "position": 0, "outcome": outcome, "count": count, "of": 4}
        for outcome, count in (("cut", 3), ("solved", 1))
    ]
    found = numbers([played(np.zeros((4, 2)), outcomes=outcomes, solve_tokens=24)] * 2)
    assert found.unread == (
        "with its own hints it solves 2 of 8 tasks; 6 replies could not be read: all of them were cut off at 24 tokens"
    )


def _ended(setting: str, mean: float, **more: str) -> Cell:
    point = PositionEstimate(mean, mean - 0.05, mean + 0.05, (), position=3)
    return Cell(setting=setting, evaluation="after", state="complete", arms={"own": (point,)}, **more)  # type: ignore[arg-type]


def test_the_headline_of_a_sweep_says_what_cannot_be_told_apart() -> None:
    cells = [_ended("lr=1", 0.9), _ended("lr=2", 0.85), _ended("lr=3", 0.3)]
    said = headline_of_sweep(cells, 0, 3)
    assert said == (
        "lr=1 solves most at the last position: 90\xa0% (95 % interval 85 to 95); "
        "1 other of 3 settings cannot be told apart from it."
    )
    assert headline_of_sweep(cells[::2], 0, 2).endswith("; the other does worse.")
    assert headline_of_sweep([Cell(**PLACE, state="incomplete")], 1, 1).startswith("No result yet")


def test_the_headline_of_a_sweep_leaves_settings_out_whose_replies_could_not_be_read() -> None:
    read, unread = _ended("lr=1", 0.3), _ended("lr=2", 0.9, unread="…")
    assert headline_of_sweep([read, unread], 0, 2) == (
        "lr=1 solves most at the last position: 30\xa0% (95 % interval 25 to 35). "
        "Most replies of 1 of 2 settings could not be read."
    )
    assert headline_of_sweep([unread], 1, 2) == (
        "Nothing was measured. Most replies of 1 of 1 setting could not be read. 1 of 2 trials is incomplete."
    )


def test_what_an_ablation_shows_is_counted() -> None:
    gains = [(0.1, 0.2), (-0.1, 0.2), (-0.2, -0.1), (0.1, 0.3)]
    found = [Difference(**PLACE, ours="cod", theirs="warm", gain=_gain(*one), last=_gain(0, 0)) for one in gains]
    assert ablation_said(found) == (
        "Against warm, cod gains more within a pack in 2 of 4 evaluations, less in 1; in 1 the interval contains zero.",
    )
