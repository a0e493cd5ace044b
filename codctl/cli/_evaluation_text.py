"""Results of evaluations as tables: of a suite, of every checkpoint of a run, and of models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from codctl.cli import _output
from codctl.cod.strategies import of_result
from codctl.outcomes import WRITTEN
from codctl.quantities import counted, difference, number, position, with_interval
from codctl.results import agent_use, outcomes, replies
from codctl.results.statistics import FEW_PACKS
from codctl.runs.eval_result import (
    AttemptPoint,
    EvalResult,
    Fault,
    Measured,
    PartResult,
    PositionPoint,
    StepsPart,
    StepsResult,
    Usage,
    hundredths,
)

if TYPE_CHECKING:
    from codctl.results.comparison import ComparedPart, Comparison


_WIDEST = 4  # positions side by side; of more, each is a line, or the first, the last and some between
_Curve = Sequence[PositionPoint | AttemptPoint | Fault]


def suite_text(result: EvalResult) -> str:
    """Everything that a person wants to know, and where the rest lies."""
    parts = [_suite_part(result.suite, part, alone=len(result.parts) == 1) for part in result.parts]
    agent = f"\n{result.subject.agent.sentence}" if result.subject.agent else ""
    return result.subject.title + agent + "\n" + "\n\n".join([*parts, _foot(result)])


def _suite_part(suite: str, part: PartResult, *, alone: bool) -> str:
    packs, special = counted(part.packs, "pack"), of_result(part).describe()
    what = f"{suite if alone else part.evaluation}: {part.world}, {packs} of {part.length}"
    lines = [what + (f", {special}" if special else ""), *(f"why: {line}" for line in outcomes.sentences(part))]
    warned = [*replies.sentences(part), *agent_use.warnings(part)]
    lines += [*(f"warning: {line}" for line in warned), _curves(part, part), *_ended(part)]
    if part.packs < FEW_PACKS:
        lines.append(f"with only {packs} the intervals are wide and rule out little")
    if not outcomes.unread(part):  # else the numbers are of replies that could not be read
        lines += _gains(part)
    if part.agent:
        lines.append(agent_use.sentence(part.agent))
    if part.solved_by_attempt is not None:
        rows = [(name, "solved so far", curve) for name, curve in part.solved_by_attempt.items()]
        lines.append(_table(rows, {position(p): str(position(p)) for p in part.positions}, "solved by attempt"))
    if distractors := part.distractors:
        lines += [
            f"the distractor tasks in between: {distractors.family} {distractors.preset}",
            _curves(part, distractors),
        ]
    return "\n".join(lines)


def _curves(part: PartResult, found: Measured) -> str:
    rows = [row for arm in found.arms for row in _arm(part, found, arm)]
    # Where accounts are false or facts change, someone else may do better than this policy.
    kind = "ceiling" if of_result(part).has_ceiling else "reference"
    rows += [(name, kind, curve) for name, curve in found.ceiling_curves.items()]
    if found.graded:
        told = {"mean reward": found.graded.raw_reward, "share": found.graded.share}
        rows += [
            (name, measure, hundredths(curve))
            for name in dict.fromkeys(name for curves in told.values() for name in curves if name not in found.arms)
            for measure, curves in told.items()
            if (curve := curves.get(name))
        ]
    names = {position(p): f"{position(p)}{' (changed)' if p == part.drift_at else ''}" for p in found.positions}
    return _table(rows, names, part.axis)


def _arm(part: PartResult, found: Measured, arm: str) -> list[tuple[str, str, _Curve]]:
    """The measures of an arm; below its success, how many episodes ended without a usable reply."""
    curves = found.arms[arm]
    measures: dict[str, _Curve] = {"success": curves.success}
    for kind, faults in replies.beside(part, arm).items():
        if here := [fault for fault in faults if fault.position in found.positions]:
            measures[kind.replace("_", " ")] = here
    if found.graded:
        measures["mean reward"] = hundredths(found.graded.raw_reward.get(arm, ()))
        measures["share"] = hundredths(found.graded.share.get(arm, ()))
    measures["shaped_reward"] = curves.shaped_reward
    if arm != "none":  # there is no hint that could be right
        measures["hint_correctness"] = curves.hint_correctness
        measures |= found.hint_detail.get(arm, {})
    return [(arm, measure, curve) for measure, curve in measures.items()]


def _ended(part: PartResult) -> list[str]:
    """How the episodes of each arm ended, where there is more to say than that they were solved."""
    found = [table for episode in outcomes.EPISODES if (table := outcomes.table(part, episode))]
    shown = [table for table in found if len(table.columns) > 1 or table.columns[0] not in ("solved", *WRITTEN)]
    return [
        _output.table(["arm", *one.titles], [[arm, *map(str, counts)] for arm, _, counts in one.rows]) for one in shown
    ]


def _table(rows: Sequence[tuple[str, str, _Curve]], names: Mapping[int, str], axis: str) -> str:
    """Curves as rows; of a long pack as columns.

    Args:
        rows: Arm, measure and points.
        names: What each place is called, counted from 1.
        axis: What the places are.
    """
    cells = [{_place(point): _shown(point) for point in curve} for _, _, curve in rows]
    if len(names) <= _WIDEST:
        headers = ["arm", "measure", *(f"{axis} {name}" for name in names.values())]
        wide = zip(rows, cells, strict=True)
        return _output.table(headers, [[arm, m, *(c.get(p, "–") for p in names)] for (arm, m, _), c in wide])
    shown = [number for number, (_, measure, _) in enumerate(rows) if measure != "shaped_reward"]
    headers = [axis, *(f"{rows[n][0]} {rows[n][1].replace('_', ' ')}" for n in shown)]
    return _output.table(headers, [[name, *(cells[n].get(p, "–") for n in shown)] for p, name in names.items()])


def _place(point: PositionPoint | AttemptPoint | Fault) -> int:
    return position(point.position) if isinstance(point, Fault) else point.place


def _shown(point: PositionPoint | AttemptPoint | Fault) -> str:
    return f"{point.count} of {point.of}" if isinstance(point, Fault) else with_interval(point)


def _gains(part: PartResult) -> list[str]:
    lines = []
    for arm, gain in part.gain.items():
        ends = f"from {part.axis} {position(gain.start)} to {position(gain.end)}"
        more = f"; bayes solves {with_interval(part.regret[arm])} tasks more a pack" if arm in part.regret else ""
        lines.append(f"{arm}: {with_interval(gain, difference)} {ends}{more}")
        if part.graded and arm in part.graded.reward_gain:
            reward, share = part.graded.reward_gain[arm], part.graded.share_gain.get(arm)
            told = f"; {with_interval(share, difference)} of what knowing the world gains" if share else ""
            lines.append(f"{arm}: {with_interval(reward, difference)} in mean reward{told}")
    return lines


def _foot(result: EvalResult) -> str:
    lines = [
        f"results  {result.folder}",
        f"report   {result.folder}/report.html",
        f"replies  codctl view {result.folder} --typical",
    ]
    if usage := result.usage:
        lines.append(f"used     {_used(usage)}")
        lines += [f"note     {note}" for note in usage.notes]
    if again := result.to_play_again:
        # What the server rejects, it rejects again.
        when = "" if "lost" in result.replies.faults else "once the server or the settings are changed, "
        lines.append(f"again    {counted(again, 'trajectory')} failed: {when}the same command plays them again")
    return "\n".join(lines)


def _used(usage: Usage) -> str:
    """Requests, tokens and cost; what the server did not count is unknown."""
    least = "at least " if usage.uncounted and usage.prompt_tokens is not None else ""
    read, written = map(_known, (usage.prompt_tokens, usage.completion_tokens))
    cost = "" if usage.cost is None else f", cost {least}{number(usage.cost)}"
    unknown = f" ({counted(usage.uncounted, 'reply')} came without a count)" if usage.uncounted else ""
    return f"{counted(usage.requests, 'request')}, {least}{read} tokens read, {written} written{cost}{unknown}"


def _known(value: float | None) -> str:
    return "–" if value is None else number(value)


def steps_text(result: StepsResult) -> str:
    """What a person wants to know, and where the rest lies."""
    parts = [_steps_part(result.suite, part, alone=len(result.parts) == 1) for part in result.parts]
    foot = f"results  {result.folder}\nreport   {result.folder}/report.html"
    if again := result.to_play_again:
        foot += f"\nagain    {counted(again, 'trajectory')} failed: the same command plays them again"
    head = [result.subject.title, *(f"warning: {line}" for line in result.warnings)]
    return "\n".join([*head, "\n\n".join([*parts, foot])])


def _steps_part(suite: str, part: StepsPart, *, alone: bool) -> str:
    from codctl.report.curves import evenly

    head = suite if alone else part.evaluation
    packs = counted(part.packs, "pack")
    what = f"{head}: {part.world}, the same {packs} of {part.length} for each model"
    places = evenly(list(part.positions), _WIDEST)
    headers = ["step", "arm", *(f"position {position(place)}" for place in places), "first to last"]
    rows = []
    for arm, points in part.arms.items():
        for point in points:
            cells = {at.position: with_interval(at) for at in point.success}
            gain = with_interval(point.gain, difference) if point.gain else "–"
            rows.append([point.step, arm, *(cells.get(place, "–") for place in places), gain])
    return f"{what}\n{_output.table(headers, rows)}"


def comparison_text(result: Comparison) -> str:
    """What a person wants to know, and where the page is."""
    from codctl.report.comparison_page import headline, letters_of

    letters = letters_of(len(result.models))
    models = [f"{letter}  {model.title}" for letter, model in zip(letters, result.models, strict=True)]
    parts = [_compared_part(part, letters) for part in result.parts]
    head = "\n".join([*models, headline(result.parts[0], letters)])
    return "\n\n".join([head, *parts, f"report   {result.report}"])


def _compared_part(part: ComparedPart, letters: list[str]) -> str:
    from codctl.report.comparison_page import rows_of
    from codctl.report.curves import evenly

    places = evenly(list(part.positions), _WIDEST)
    played = ", ".join(f"{letter} {count}" for letter, count in zip(letters, part.played, strict=True))
    what = f"{part.name}: {part.family} {part.preset}, {counted(part.packs, 'pack')} of {part.length} in common"
    positions = [f"position {position(place)}" for place in places]
    headers = ["arm", "model", *positions, "all positions", "first to last"]
    rows = [row for arm, found in part.arms.items() for row in rows_of(arm, found, places, letters)]
    notes = [f"note: {note}" for note in part.notes]
    return "\n".join([f"{what} (played: {played})", *notes, _output.table(headers, rows)])
