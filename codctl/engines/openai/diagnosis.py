"""Why an endpoint cannot be used: one message each, with what to type next."""

from __future__ import annotations

from codctl.config.names import did_you_mean
from codctl.engines.openai.client import Client, RequestError
from codctl.engines.openai.settings import USUAL_KEY_ENV, EndpointSettings
from codctl.engines.openai.wire import read_models
from codctl.errors import BackendError

_LISTED = 10


async def diagnose(
    error: RequestError, settings: EndpointSettings, client: Client, *, has_key: bool, has_replied: bool
) -> BackendError:
    """Turn what a trial request met into the error that a user sees.

    Args:
        error: What went wrong.
        settings: Of the endpoint.
        client: To ask which models there are.
        has_key: Whether a key was sent.
        has_replied: Whether a reply has come before, so that the address is right.
    """
    if error.trouble == "unreachable":
        hint = "start the server again" if has_replied else "start the server, or correct --endpoint"
        message = f"no server answers: {error.reason}"
    elif error.trouble == "timeout":
        message, hint = error.reason, "try again when the server has loaded its model and is idle, or raise --deadline"
    elif error.trouble == "format":
        message, hint = await _unreadable(error, settings, client, has_replied=has_replied)
    elif error.may_pass:
        message, hint = f"the server is not ready: {error.reason}", "try again later"
    elif error.status in (401, 403):
        message, hint = _refused_key(error, settings, has_key=has_key)
    else:
        message, hint = await _refused_request(error, settings, client)
    return BackendError(message, where=settings.url, hint=hint)


async def _unreadable(
    error: RequestError, settings: EndpointSettings, client: Client, *, has_replied: bool
) -> tuple[str, str]:
    """A reply that is no chat completion: the address may be wrong, or the server."""
    if has_replied or await _served(client) is not None:
        hint = "try again later" if error.may_pass else "look at the server's settings and its log"
        return f"the server sends no usable reply: {error.reason}", hint
    return f"the server does not speak the OpenAI chat format: {error.reason}", _other_url(settings)


def _refused_key(error: RequestError, settings: EndpointSettings, *, has_key: bool) -> tuple[str, str]:
    if has_key:
        return f"the server refuses the key in {settings.key_env} ({error.reason})", f"export {settings.key_env}=KEY"
    if settings.key_env:
        return (
            f"the server wants a key and {settings.key_env} is not set ({error.reason})",
            f"export {settings.key_env}=KEY",
        )
    return (
        f"the server wants a key; over plain http none is sent unless its variable is named ({error.reason})",
        f"--api-key-env {USUAL_KEY_ENV}",
    )


async def _refused_request(error: RequestError, settings: EndpointSettings, client: Client) -> tuple[str, str]:
    known = await _served(client)
    if known and settings.model not in known:
        shown = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
        guess = did_you_mean(settings.model, known)
        return (
            f"unknown model {settings.model!r}{guess} (served: {shown}; {error.reason})",
            "--model-name NAME",
        )
    if known is None and error.status == 404:
        return f"no chat is served here ({error.reason})", _other_url(settings)
    return f"the server refuses the request ({error.reason})", _setting(error.complaint)


def _setting(complaint: str) -> str:
    """The setting that a complaint is about."""
    text = complaint.lower()
    if "temperature" in text:
        return "temperature=1"
    if "token" in text or "context" in text:
        return "solve_tokens=N update_tokens=N, with what the server allows"
    if "quota" in text or "billing" in text or "credit" in text:
        return "add credit to the account of this key"
    return "correct the model's name or the setting that it complains of"


async def _served(client: Client) -> list[str] | None:
    """Names of the models that the server lists; None when it lists none."""
    try:
        return await client.models(read_models)
    except RequestError:
        return None


def _other_url(settings: EndpointSettings) -> str:
    if settings.url.endswith("/v1"):
        return "correct --endpoint: it is the part before /chat/completions"
    return f"--endpoint {settings.url}/v1"
