"""Why an endpoint cannot be used: one message each, with what to type next."""

from __future__ import annotations

from codctl.config.nearest import did_you_mean
from codctl.engines.openai.client import Client, RequestError
from codctl.engines.openai.settings import USUAL_KEY_ENV, EndpointSettings
from codctl.engines.openai.wire import NotTheFormatError, read_models
from codctl.errors import BackendError

_LISTED = 10


async def diagnose(error: RequestError, settings: EndpointSettings, client: Client, *, has_key: bool) -> BackendError:
    """Turn what a trial request met into the error that a user sees.

    Args:
        error: What went wrong.
        settings: Of the endpoint.
        client: To ask which models there are.
        has_key: Whether a key was sent.
    """
    if error.kind == "unreachable":
        message, hint = f"no server answers: {error.reason}", "start the server, or correct --endpoint"
    elif error.kind == "timeout":
        message, hint = error.reason, "try again when the server has loaded its model and is idle"
    elif error.kind == "format":
        message, hint = f"the server does not speak the OpenAI chat format: {error.reason}", _other_url(settings)
    elif error.status in (401, 403):
        message, hint = _refused_key(error, settings, has_key=has_key)
    elif error.may_pass:
        message, hint = f"the server is not ready: {error.reason}", "try again later"
    else:
        message, hint = await _refused_request(error, settings, client)
    return BackendError(message, where=settings.url, hint=hint)


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
    return (
        f"the server refuses the request ({error.reason})",
        "correct the model's name or the setting that it complains of",
    )


async def _served(client: Client) -> list[str] | None:
    """Names of the models that the server lists; None when it lists none."""
    try:
        return read_models(await client.get("/models"))
    except (RequestError, NotTheFormatError):
        return None


def _other_url(settings: EndpointSettings) -> str:
    if settings.url.endswith("/v1"):
        return "correct --endpoint: it is the part before /chat/completions"
    return f"--endpoint {settings.url}/v1"
