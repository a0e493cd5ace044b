"""Does anything that is typed, or that a strategy does to a pack, make the family raise?"""

from __future__ import annotations

from collections.abc import Iterator

from codctl.cod.references import play_policy
from codctl.cod.strategies import Distractor, Drift, Poison, RalphFull, Strategy, draw_pack
from codctl.envs.base import Episode, Family, Pack, Rendering, act_now, close_now
from codctl.envs.registry import families
from codctl.envtools.validate.check import Finding, Subject
from codctl.envtools.validate.fingerprint import actions_of
from codctl.outcomes import SOLVE_OUTCOMES

_PACKS = 5
HOSTILE = (
    "", " ", "\n\n", "\t", "\0", "0", "-1", "1e999", "nan", "None", "()", "[]", "{0}", "{}", "%s %d", "\\", "'", '"',
    "`", "$(reboot)", "; rm -rf /", "../../..", "~", "*", "a" * 20_000, "a " * 5_000, "ß", "İ", "é̂̂̂", "日本語",
    "🙂" * 50, "\u202eevil", "\ud800", "²", "٣", "K\u200b", "<answer>", "</answer>", "<answer>x</answer>", "a + b",
    "a=b=c", "- - -", "not", "&&", "x && y ; z", "'unclosed", "--help", "\x1b[31mred", "a\rb", "|", ">", "𝟙",
)  # fmt: skip


def hostile(subject: Subject) -> Finding:
    for pack in subject.packs[:_PACKS]:
        for rendering in subject.family.renderings:
            for text in (*HOSTILE, *_near_misses(pack, subject.policies[0], rendering)):
                if problem := _answered(pack, text, rendering) or _hinted(pack, text, rendering):
                    return Finding(False, f"{pack.id}, {rendering}, {text[:40]!r}: {problem}", _FIX)
    return Finding(
        True, f"{len(HOSTILE)} hostile answers and hints, and damaged good ones, were all accepted or refused"
    )


def strategies(subject: Subject) -> Finding:
    """Drift, lies and strangers: no policy fails with an error, and one that knows the world still solves each task."""
    family = subject.family
    hard: list[Strategy] = [Drift(1), Poison(1.0), Distractor(_other_family(subject)), RalphFull()]
    for strategy in hard:
        packs = [
            draw_pack(family, strategy, "test", index, subject.length, subject.preset, subject.variant)
            for index in range(_PACKS)
        ]
        for policy in subject.policies:
            played = play_policy(policy, packs, subject.rendering, 0)
            lost = [t.pack for t in played if not all(e.is_solved for e in t.of("solve"))]
            if policy == "informed" and lost and not family.unsolvable:
                return Finding(
                    False,
                    f"`informed` fails in {lost[0]}",
                    "`redraw` must leave every task solvable, and policies must use `view.world`",
                )
    solved = "" if family.unsolvable or subject.without("informed") else "; `informed` solves them"
    return Finding(True, f"drift, poison, distractor and Ralph packs are played to the end{solved}")


_FIX = (
    "`act` must end the episode with `fail` and a message for what it cannot read; `score_context` must take any text"
)


def _answered(pack: Pack, text: str, rendering: Rendering) -> str:
    """What goes wrong when this is answered again and again."""
    episode = pack.slots[0].begin(rendering)
    try:
        return _answers(episode, pack, text)
    finally:
        close_now(episode)


def _answers(episode: Episode, pack: Pack, text: str) -> str:
    least, most = pack.slots[0].family.reward_range
    for _ in range(episode.max_turns):
        step = act_now(episode, text)
        if step.done != episode.done:
            return f"the step says done={step.done}, the episode {episode.done}"
        if step.done:
            if not step.feedback.strip():
                return "the episode ends without a message"
            if episode.unreadable and step.reward != episode.fail_reward:
                return f"an unreadable answer is rewarded with {step.reward:g}, not {episode.fail_reward:g}"
            if not least <= step.reward <= most:
                return f"the reward {step.reward:g} is not within `reward_range` ({least:g} to {most:g})"
            if episode.outcome not in {*SOLVE_OUTCOMES, *pack.slots[0].family.losses}:
                return f"the episode ends with `lost={episode.outcome!r}`, which the family's `losses` do not name"
            break
    if not episode.done:
        return f"not over after {episode.max_turns} answers"
    episode.transcript()
    pack.slots[0].family.score_context(pack.world, "", [episode])
    return ""


def _hinted(pack: Pack, text: str, rendering: Rendering) -> str:
    family = pack.slots[0].family
    if text not in family.solve_prompt(text, rendering, pack.preset):
        return "a hint with this text is not shown unchanged"
    family.score_context(pack.world, text, [])
    return ""


def _near_misses(pack: Pack, policy: str, rendering: Rendering) -> Iterator[str]:
    """Answers that are nearly right: the likeliest to get past a reader that is not careful."""
    for actions in actions_of(pack, policy, rendering):
        for action in actions[:2]:
            yield from (
                action * 2,
                f"{action} {action}",
                action.swapcase(),
                action[1:],
                f"{action}\n{action}",
                action[::-1],
            )


def _other_family(subject: Subject) -> Family:
    """Another family for the distractors; its own when there is no other."""
    others = [family for name, family in families().items() if name != subject.family.name]
    return (others or [subject.family])[0]
