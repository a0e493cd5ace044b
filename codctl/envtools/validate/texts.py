"""Do prompts, feedback and hints say what they must, in every rendering, and do they fit?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from codctl.cod.prompts import Account, update_messages
from codctl.cod.references import play_policy
from codctl.envs.base import HintScore, Pack, Rendering
from codctl.envtools.validate.check import Finding, Subject

LONGEST_PROMPT_CHARS = 40_000  # about 10,000 tokens, max_prompt_tokens of the published trainings
_PLAYED = 10
_MARK = "zebra crossing 4711"


def messages(subject: Subject) -> Finding:
    for rendering in subject.family.renderings:
        for problem in _problems(subject, rendering):
            return Finding(False, f"{rendering}: {problem}", "write every text that a model reads")
    return Finding(True, f"prompts, observations and feedback are there ({', '.join(subject.family.renderings)})")


def prompt_lengths(subject: Subject) -> Finding:
    longest = {rendering: _longest(subject, rendering) for rendering in subject.family.renderings}
    said = ", ".join(f"{rendering} {length}" for rendering, length in longest.items())
    return Finding(
        max(longest.values()) <= LONGEST_PROMPT_CHARS,
        f"longest conversation in characters: {said} (at most {LONGEST_PROMPT_CHARS})",
        "shorten rules and observations, give fewer turns, or draw smaller worlds",
    )


def hints_scored(subject: Subject) -> Finding:
    family = subject.family
    for rendering in family.renderings:
        for pack in subject.packs:
            truth, count = family.truth(pack.world, rendering), family.facts(pack.world)
            whole = family.score_context(pack.world, truth, [])
            if (whole.right, whole.wrong, whole.missing) != (count, 0, 0):
                said = f"{pack.id}, {rendering}: the truth has {count} facts and scores {whole}"
                return Finding(False, said, "`score_context` must read every fact that `truth` writes")
            for name, empty in (("no hint", ""), ("an idle hint", _MARK)):
                score = family.score_context(pack.world, empty, [])
                if (score.right, score.wrong) != (0, 0):
                    said = f"{pack.id}, {rendering}: {name} scores {score}"
                    return Finding(False, said, "`score_context` must count only what the hint states")
    for score in (e.hint_score for ts in subject.played.values() for t in ts for e in t.episodes):
        if not _is_sound(score):
            said = f"a hint scores {score}, which is impossible"
            return Finding(
                False,
                said,
                "right + missing must be all facts; knowable_right must be part of right and of knowable; "
                "numbers of `detail` must be finite",
            )
    return Finding(True, f"the truth states {family.facts(subject.packs[0].world)} facts correctly, an empty hint none")


def _problems(subject: Subject, rendering: Rendering) -> Iterator[str]:
    family, pack = subject.family, subject.packs[0]
    prompt = family.solve_prompt(_MARK, rendering, subject.preset)
    if _MARK not in prompt:
        yield "the solve prompt does not show the hints"
    if not family.solve_prompt("", rendering, subject.preset).strip():
        yield "the solve prompt without hints is empty"
    if "<answer>" in family.rules(subject.preset, rendering):
        yield "`rules` says how to answer (<answer>…</answer>): that belongs in `reply_form`"
    if not family.reply_form(subject.preset).action.strip():
        yield "`reply_form` gives no example of an action"
    if rendering == "full" and "<answer>" not in prompt:
        yield "the solve prompt does not say how to answer (<answer>…</answer>)"
    yield from _unreadable(pack, rendering)
    for position, slot in enumerate(pack.slots):
        if not family.describe_task(slot.world, slot.task).strip():
            yield f"`describe_task` says nothing about position {position + 1}"
    if family.facts(pack.world) and not family.truth(pack.world, rendering).strip():
        yield "`truth` is empty though there are hidden facts"
    for policy in dict.fromkeys((subject.policies[0], "random")):
        for trajectory in play_policy(policy, subject.packs[:_PLAYED], rendering, 0):
            for episode in trajectory.of("solve"):
                if not all(observation.strip() for observation in episode.observations):
                    yield f"an observation is empty ({trajectory.pack}, position {episode.position + 1}, `{policy}`)"
                if not episode.feedback.strip():
                    yield f"an episode ends without feedback ({trajectory.pack}, position {episode.position + 1})"


def _unreadable(pack: Pack, rendering: Rendering) -> Iterator[str]:
    """What a reply leads to that has no answer, and what the update is told of it."""
    episode = pack.slots[0].begin(rendering)
    step = episode.fail(_MARK)
    is_over = step.done and episode.done and episode.unreadable
    if not is_over or {step.reward, episode.reward} != {episode.fail_reward}:
        yield f"`fail` must end the episode at reward {episode.fail_reward:g} and set `unreadable`"
    if episode.opening and episode.opening[-1]["role"] != "user":
        yield "the last message of `opening` must be the user's"
    if _MARK not in step.feedback or step.feedback != episode.feedback:
        yield f"`fail` must give the reason as feedback, and gives {step.feedback!r}"
    slot = pack.slots[0]
    account = Account(episode, slot.family.rules(slot.preset, rendering), (), 0.0)
    if not all(message["content"].strip() for message in update_messages("", account, rendering)):
        yield "the update prompt is empty"
    if not episode.transcript().strip():
        yield "the transcript of an episode without a move is empty; say `none`"


def _longest(subject: Subject, rendering: Rendering) -> int:
    """Longest conversation: played at random, which uses all turns, with the whole truth as hint."""
    packs = subject.packs[:_PLAYED]
    played = max(len(e.ids) for t in play_policy("random", packs, rendering, 0) for e in t.episodes)
    return played + max(len(subject.family.truth(pack.world, rendering)) for pack in packs)


def _is_sound(score: HintScore) -> bool:
    counts = (score.right, score.wrong, score.missing, score.knowable, score.knowable_right)
    whole = score.right + score.missing
    fits = score.knowable <= whole and score.knowable_right <= min(score.right, score.knowable)
    return min(counts) >= 0 and fits and all(map(math.isfinite, score.detail.values()))
