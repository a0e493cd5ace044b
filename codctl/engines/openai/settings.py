"""Which endpoint is talked to, and how."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from codctl.config.credentials import secrets_in
from codctl.errors import UsageError

USUAL_KEY_ENV = "OPENAI_API_KEY"
_CHAT = "/chat/completions"


@dataclass(frozen=True)
class EndpointSettings:
    """One model behind one OpenAI-compatible server.

    Attributes:
        base_url: Up to and without `/chat/completions`; usually ends in `/v1`.
        model: The name under which the server knows it.
        api_key_env: Environment variable that holds the key. None: `OPENAI_API_KEY` over https, no key over plain
            http, so that a key meant for one server is not sent in clear to another.
        concurrency: Most requests in flight at once.
        attempts: Most tries of one request, the first included.
        deadline_s: Of one try.
        price_prompt: Per million prompt tokens, in any currency.
        price_completion: Per million completion tokens.
        backoff_s: Wait before the second try; doubles with every further one.

    Raises:
        UsageError: A value that cannot be.
    """

    base_url: str
    model: str
    api_key_env: str | None = None
    concurrency: int = 8
    attempts: int = 5
    deadline_s: float = 300.0
    price_prompt: float | None = None
    price_completion: float | None = None
    backoff_s: float = 1.0

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        if not self.model:
            raise UsageError("the endpoint needs the name of a model", hint="--model-name NAME")
        for name, least in (("concurrency", 1), ("attempts", 1), ("price_prompt", 0), ("price_completion", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise UsageError(f"endpoint: {name} must be at least {least}, got {value}")
        if not self.deadline_s > 0 or not self.backoff_s >= 0:
            raise UsageError("endpoint: deadline_s must be above 0 and backoff_s not below it")

    @property
    def url(self) -> str:
        """The base URL without a slash at its end, also when the address of the chat itself was given."""
        return self.base_url.rstrip("/").removesuffix(_CHAT)

    @property
    def is_loopback(self) -> bool:
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def key_env(self) -> str:
        """The variable that is looked at; empty when none is."""
        is_https = urlsplit(self.base_url).scheme == "https"
        return self.api_key_env or (USUAL_KEY_ENV if is_https else "")


def read_key(settings: EndpointSettings) -> str:
    """The key from the environment; empty when there is none.

    Raises:
        UsageError: When it cannot be sent as a header. The message does not show it.
    """
    key = os.environ.get(settings.key_env, "").strip() if settings.key_env else ""
    if not (key.isascii() and (key.isprintable() or not key)):
        raise UsageError(
            f"the key in {settings.key_env} holds characters that no key has",
            hint=f"export {settings.key_env}=… again, without quotes or line breaks inside",
        )
    return key


def _check_url(given: str) -> None:
    try:
        parts = urlsplit(given)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise UsageError(f"expected an endpoint like http://localhost:8000/v1, got {given!r}", hint="--endpoint URL")
    _refuse_secrets(parts)
    if problems := secrets_in({"--endpoint": given}, ""):
        raise UsageError(problems[0].message, hint="--api-key-env VARIABLE sends it as a key")


def _refuse_secrets(parts: SplitResult) -> None:
    # The URL is shown in messages and stored in results; a name, password or query in it would be too.
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "an endpoint's URL holds no user, password, query or fragment; keys come from the environment",
            hint=f"--endpoint {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} --api-key-env VARIABLE",
        )
