"""Doctor's look at what lies beyond this machine: the MLflow server and the model hub's token."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codctl.config.credentials import without_credentials
from codctl.doctor.findings import Finding

if TYPE_CHECKING:
    import httpx

_ANSWER_S = 3.0
_OFF = "codctl train RECIPE tracking.mlflow=false"
_WORK = "/api/2.0/mlflow/experiments/search?max_results=1"  # /health answers any request, this does not


def mlflow() -> Finding:
    """MLflow is a mirror only: what is wrong with it is a warning."""
    try:
        import mlflow as client
    except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
        return Finding("mlflow", "warning", f"cannot be imported: {error}", _OFF)
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if urlsplit(uri).scheme not in ("http", "https"):
        where = without_credentials(uri) or "a sqlite file in the runs folder"
        return Finding("mlflow", "ok", f"{client.__version__}, {where}")
    return _server(uri.rstrip("/"), str(client.__version__))


def hub_token() -> Finding:
    """Whether gated models can be fetched. The token itself is never shown."""
    from huggingface_hub import get_token

    token = get_token()
    if token is None:
        return Finding("hub token", "ok", "none: public models only (hf auth login)")
    if any(mark.isspace() for mark in token):
        return Finding("hub token", "warning", "it contains spaces or line breaks", "hf auth login")
    place = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the hub's own file"
    return Finding("hub token", "ok", f"present, from {place}")


def _server(uri: str, version: str) -> Finding:
    import httpx

    shown = without_credentials(uri)
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    login = (user, password or "") if user else None
    try:
        with httpx.Client(timeout=_ANSWER_S, headers=headers, auth=login) as client:
            health = client.get(f"{uri}/health")
            if health.status_code != httpx.codes.OK:
                message = f"{shown}/health answers {health.status_code}: is that MLflow?"
                return Finding("mlflow", "warning", message, _OFF)
            theirs = client.get(f"{uri}/version").text.strip()
            refused = _refusal(client.get(uri + _WORK), shown)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Finding("mlflow", "warning", f"{shown} cannot be reached: {reason}", _OFF)
    if refused:
        return refused
    if theirs.partition(".")[0] != version.partition(".")[0]:
        message = f"{shown} answers with version {theirs}, here is {version}"
        return Finding("mlflow", "warning", message, f'pip install "mlflow=={theirs}"')
    return Finding("mlflow", "ok", f"{version}, {shown} answers with version {theirs}")


def _refusal(answer: httpx.Response, shown: str) -> Finding | None:
    code = answer.status_code
    host = urlsplit(shown).netloc
    if code == 403 and "Host header" in answer.text:
        message = f"{shown} refuses requests for the host {host}"
        return Finding("mlflow", "warning", message, f"mlflow server --allowed-hosts {host} …, where the server runs")
    if code in (401, 403):
        command = "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…"
        return Finding("mlflow", "warning", f"{shown} refuses access ({code})", command)
    if code != 200:
        return Finding("mlflow", "warning", f"{shown} answers {code} to a simple request", _OFF)
    return None
