"""What a study's numbers say, in words that follow from the intervals, also where the answer is no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from codctl.cod.strategies import of_result
from codctl.envs.registry import families
from codctl.quantities import counted, is_or_are, percent, points
from codctl.results.statistics import claim_of
from codctl.runs.eval_result import PartResult
from codctl.sweeps.study_result import Answer, Cell, Difference

RELATIONS = {
    "trained": "in the worlds of the training",
    "harder": "in harder worlds of the same family",
    "preset": "at other presets of the same family",
    "family": "in other families",
    "ralph": "in Ralph loops",
    "long": "in longer packs",
    "disturbed": "in disturbed worlds",
}
CLAIMS = {
    "learns": "learns from its hints",
    "improves": "improves, but not because of its hints",
    "nothing": "no measurable gain",
    "worsens": "gets worse",
    "unread": "most replies could not be read",
}


def relation(what: PartResult, trained: Sequence[tuple[str, str]]) -> str:
    """How an evaluation relates to the training: a key of `RELATIONS`; empty when the training is not known.

    Args:
        what: The part of a suite's result.
        trained: Family and preset of each world of the training.
    """
    strategy, kind = what.strategy, of_result(what).kind
    if kind == "loop":
        return "ralph"
    if kind == "disturbed":
        return "disturbed"
    if not trained:
        return ""
    presets = dict(trained)
    if what.family not in presets:
        return "family"
    if what.preset == presets[what.family]:
        return "long" if strategy == "long" else "trained"
    return "harder" if _is_harder(what.family, what.preset, presets[what.family]) else "preset"


def claim(cell: Cell) -> str:
    """What one complete cell says: a key of `CLAIMS`; empty when its gain is not known."""
    gain = cell.gain.get("own")
    if gain is None:
        return ""
    return "unread" if cell.unread else claim_of(gain, cell.own_less_none)


def answers(cells: Iterable[Cell]) -> tuple[Answer, ...]:
    """For each relation to the training: in how many of the complete cells it learns, and how many are incomplete."""
    known = [cell for cell in cells if cell.state != "absent"]
    groups = {name: [cell for cell in known if cell.relation == name] for name in RELATIONS}
    return tuple(_answer(name, group) for name, group in groups.items() if group)


def _answer(relation: str, cells: Sequence[Cell]) -> Answer:
    said = [(claim(cell), cell) for cell in cells if cell.state == "complete"]
    counts = Counter(claimed for claimed, _ in said if claimed)
    of = counts.total()
    if not of:
        answer = "incomplete"
    elif counts["unread"] == of:
        answer = "unreadable"
    else:
        answer = "yes" if counts["learns"] == of else "in part" if counts["learns"] else "no"
    return Answer(
        relation=relation,
        where=RELATIONS[relation],
        **counts,
        of=of,
        incomplete=sum(cell.state != "complete" for cell in cells),
        gains=tuple(cell.gain["own"].mean for claimed, cell in said if claimed not in ("", "unread")),
        answer=answer,
    )


def headline(answered: Sequence[Answer], incomplete: int, trials: int) -> str:
    """One sentence for the whole study."""
    groups = {
        answer: [_counted(one) for one in answered if one.answer == answer] for answer in ("yes", "in part", "no")
    }
    pieces = []
    if groups["yes"]:
        pieces.append(_listed(groups["yes"]))
    if groups["in part"]:
        pieces.append(f"{'only ' if pieces else ''}in part {_listed(groups['in part'])}")
    if groups["no"]:
        pieces.append(f"not {_listed(groups['no'])}")
    unread, of = sum(one.unread for one in answered), sum(one.of for one in answered)
    if not pieces and unread:
        said = "Nothing was measured: most replies could not be read"
    elif not pieces:
        said = "No result yet: no evaluation is complete"
    elif not groups["yes"] and not groups["in part"]:
        said = f"No learning from its own hints was measured: {pieces[0]}"
    else:
        said = f"It learns on the job, from its own hints, {'; '.join(pieces)}"
    if pieces and incomplete:
        said = f"So far: {said[0].lower()}{said[1:]}"
    if pieces and unread:
        said += f". Most replies could not be read in {unread} of {counted(of, 'evaluation')}"
    return f"{said}.{_open(incomplete, trials)}"


def headline_of_sweep(cells: Sequence[Cell], incomplete: int, trials: int) -> str:
    """The best setting of a plain sweep, and how many it cannot be told apart from."""
    after = _open(incomplete, trials)
    ended = [(cell, last) for cell in cells if cell.state == "complete" and (last := cell.last_success())]
    if not ended:
        return f"No result yet: no setting is complete.{after}"
    if unread := sum(bool(cell.unread) for cell, _ in ended):
        after = f" Most replies of {unread} of {counted(len(ended), 'setting')} could not be read.{after}"
        ended = [(cell, last) for cell, last in ended if not cell.unread]
    if not ended:
        return f"Nothing was measured.{after}"
    best, top = max(ended, key=lambda one: one[1].mean)
    where = f" on {best.evaluation}" if len({cell.evaluation for cell, _ in ended}) > 1 else ""
    close = sum(1 for cell, last in ended if cell is not best and last.high >= top.low)
    said = (
        f"{best.setting} solves most at the last position{where}: {percent(top.mean)} "
        f"(95 % interval {points(top.low)} to {points(top.high)})"
    )
    if len(ended) == 1:
        return f"{said}.{after}"
    worse = "the other does worse" if len(ended) == 2 else f"the other {len(ended) - 1} do worse"
    others = f"{counted(close, 'other')} of {len(ended)} settings cannot be told apart from it"
    return f"{said}; {others if close else worse}.{after}"


def ablation_said(differences: Sequence[Difference]) -> tuple[str, ...]:
    """For each pair of ablations a sentence on the gain."""
    sentences = []
    for ours, theirs in dict.fromkeys((one.ours, one.theirs) for one in differences):
        found = [one.gain for one in differences if (one.ours, one.theirs) == (ours, theirs)]
        more = sum(one.low > 0 for one in found)
        less = sum(one.high < 0 for one in found)
        sentences.append(
            f"Against {theirs}, {ours} gains more within a pack in {more} of {counted(len(found), 'evaluation')}, "
            f"less in {less}; in {len(found) - more - less} the interval contains zero."
        )
    return tuple(sentences)


def _open(incomplete: int, trials: int) -> str:
    return f" {incomplete} of {counted(trials, 'trial')} {is_or_are(incomplete)} incomplete." if incomplete else ""


def _counted(one: Answer) -> str:
    return f"{one.where} ({one.learns} of {one.of})".replace(" of ", "\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}")


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _is_harder(family: str, preset: str, trained: str) -> bool:
    known = families()
    presets = list(known[family].presets) if family in known else []
    return {preset, trained} <= set(presets) and presets.index(preset) > presets.index(trained)
