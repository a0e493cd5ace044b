"""The process that talks to the hub: `python -m codctl.models.hub_client ask|fetch ID REVISION CACHE`.

`ask` prints how many bytes there are to fetch; `fetch` fetches them into the cache. With the one argument `push` it
reads an order as JSON from stdin, uploads its files, and prints what became of it. What went wrong is the last line on
stderr, and the exit code is 1. The user's token is in no message.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "README.md",  # for the licence
)
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
_LONGEST = 300


def main(arguments: Sequence[str]) -> int:
    import httpx

    try:
        is_push = arguments[0] == "push"
        said = json.dumps(_push(json.load(sys.stdin))) if is_push else _get(*arguments)
    except (httpx.HTTPError, OSError, ValueError) as error:
        sys.stderr.write(_in_words(error) + "\n")
        return 1
    sys.stdout.write(said + "\n")
    return 0


def _get(what: str, model: str, revision: str, cache: str) -> str:
    from huggingface_hub import snapshot_download

    files = [*SETTINGS, *WEIGHTS]
    if what == "fetch":
        snapshot_download(model, revision=revision, cache_dir=cache, allow_patterns=files)
        return ""
    found = snapshot_download(model, revision=revision, cache_dir=cache, allow_patterns=files, dry_run=True)
    return str(sum(file.file_size or 0 for file in found if file.will_download))


def _push(order: Mapping[str, Any]) -> dict[str, Any]:
    """One commit with all files; the repository is made where there is none."""
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api, repo = HfApi(endpoint=order["endpoint"]), order["repo"]
    try:
        held = api.model_info(repo)
    except RepositoryNotFoundError:
        held = None
        api.create_repo(repo, private=order["private"])
    if held and order["private"] and not held.private:
        raise ValueError("the repository exists and is public")
    added = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in order["files"]]
    made = api.create_commit(repo, added, commit_message=order["message"])
    return {"url": str(made.commit_url), "commit": made.oid, "new": held is None}


def _in_words(error: Exception) -> str:
    """On one line, without the user's token."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import DryRunError

    reason = error.__cause__ if isinstance(error, DryRunError) else error
    words = " ".join(f"{type(reason).__name__}: {reason}".split())
    token = get_token()
    return (words.replace(token, "[token]") if token else words)[:_LONGEST]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
