"""A model behind an OpenAI-compatible server as the judge of questions (Learn2Ask, `judge.kind: endpoint`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from codctl.cod.engine import Sampling
from codctl.cod.prompts import without_reasoning
from codctl.engines.openai.client import Client, RequestError
from codctl.engines.openai.diagnosis import diagnose
from codctl.engines.openai.settings import EndpointSettings, read_key
from codctl.engines.openai.wire import Completion, Dialect, read_completion, shown
from codctl.envs.base import Message
from codctl.envs.learn2ask.data import Row
from codctl.envs.learn2ask.judge import Judge, JudgeError, Verdict
from codctl.envs.learn2ask.options import WHERE, JudgeOptions
from codctl.errors import UsageError
from codctl.seeds import derive_seed

_POLICY = """\
You grade one turn of a medical interview: a question that an assistant asks a patient. You get the chat, the \
question, and a reference that the assistant has not seen: the facts that a doctor went on to ask for.

Form: 1 for exactly one question, 0.5 for two, 0 for more or for none.
Content: 1 if the question asks directly for one of the facts of the reference; 0.5 if it asks for something so close \
that the answer is likely to bring out one of them; 0 otherwise.

Write one line of advice for the assistant that names nothing of the reference.

End with exactly these three lines and your values in them:
[format_score] 1, 0.5 or 0
[content_score] 1, 0.5 or 0
[feedback] one line"""

_CASE = """\
# Reference

{facts}

# Chat

{chat}

# Question to grade

{reply}"""

_MOST_CHARS = 20_000
_MOST_NOTE = 300
_SCORE = re.compile(r"\[\s*(format|content)_score\s*\]\W{0,9}(0\.5|1(?:\.0)?|0(?:\.0)?)(?![\d.]*\d)", re.IGNORECASE)
_NOTE = re.compile(r"\[\s*feedback\s*\][ \t:*]{0,9}([^\n]*)", re.IGNORECASE)


class EndpointJudge(Judge):
    """See the module. Tries again where a request fails, not where a reply cannot be read."""

    def __init__(self, options: JudgeOptions) -> None:
        super().__init__(options)
        if not options.url or not options.model:
            lacking = [f"judge.{key}" for key in ("url", "model") if not getattr(options, key)]
            raise UsageError(
                f"judge.kind=endpoint needs {' and '.join(lacking)}",
                where=WHERE,
                hint="judge: {kind: endpoint, url: http://localhost:8000/v1, model: NAME}",
            )
        self._settings = EndpointSettings(
            base_url=options.url,
            model=options.model,
            api_key_env=options.api_key_env,
            concurrency=options.concurrency,
            attempts=options.attempts,
            deadline_s=options.deadline_s,
            backoff_s=options.backoff_s,
        )
        key = read_key(self._settings)
        if options.api_key_env and not key:
            message = f"the variable {options.api_key_env} of judge.api_key_env is not set"
            raise UsageError(message, where=WHERE, hint=f"export {options.api_key_env}=…")
        self._has_key = bool(key)
        self._client = Client(self._settings, key)
        self._dialect = Dialect()
        waits_s = sum(min(options.backoff_s * 2**number, 60.0) for number in range(options.attempts))
        self.deadline_s = options.attempts * options.deadline_s + waits_s

    async def judge(self, row: Row, reply: str) -> Verdict:
        try:
            completion = await self._complete(messages_for(row, reply), seed=derive_seed("judge", row.id, reply))
        except RequestError as error:
            raise JudgeError(f"the judge {error.reason}") from error
        return read_verdict(completion.text, row.facts)

    async def probe(self) -> None:
        row = Row("probe", "probe", "probe", (("user", "I have a headache."),), "continue", ("severity",))
        try:
            await self._complete(messages_for(row, "How strong is it?"), seed=0, is_patient=False)
        except RequestError as error:
            raise await diagnose(
                error, self._settings, self._client, has_key=self._has_key, has_replied=False
            ) from None
        finally:
            await self._client.aclose()

    async def _complete(self, messages: Sequence[Message], *, seed: int, is_patient: bool = True) -> Completion:
        sampling = Sampling(self.options.tokens, self.options.temperature)
        while True:
            body: dict[str, Any] = self._dialect.request(self._settings.model, messages, sampling, seed)
            body["top_p"] = self.options.top_p
            try:
                return await self._client.complete(body, read_completion, seed=seed, is_patient=is_patient)
            except RequestError as error:
                if error.trouble != "status" or not self._dialect.adapt(body, error.complaint):
                    raise


def messages_for(row: Row, reply: str) -> list[Message]:
    """What the judge reads."""
    who = {"user": "Patient", "assistant": "Doctor"}
    chat = "\n".join(f"{who[role]}: {said}" for role, said in row.chat)
    facts = "\n".join(f"- {fact}" for fact in row.facts)
    case = _CASE.format(facts=facts, chat=chat, reply=reply[:_MOST_CHARS])
    return [{"role": "system", "content": _POLICY}, {"role": "user", "content": case}]


def read_verdict(text: str, facts: Sequence[str] = ()) -> Verdict:
    """The three fields of a judgement. A note that names a fact of the reference is left out.

    Raises:
        JudgeError: A score is missing, is another number, or is given twice with different values.
    """
    read = without_reasoning(text)[-_MOST_CHARS:]
    found: dict[str, set[float]] = {"format": set(), "content": set()}
    for name, value in _SCORE.findall(read):
        found[name.lower()].add(float(value))
    if any(len(values) != 1 for values in found.values()):
        raise JudgeError(f"the judge's reply cannot be read: “{shown(read[-80:]) or 'nothing'}”")
    notes = _NOTE.findall(read)
    note = shown(notes[-1])[:_MOST_NOTE] if notes else ""
    tells = any(fact.lower() in note.lower() for fact in facts if fact)
    return Verdict(found["content"].pop(), found["format"].pop(), "" if tells else note)
