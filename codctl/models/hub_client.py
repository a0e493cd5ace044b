"""The process that talks to the hub: `python -m codctl.models.hub_client ask|fetch ID REVISION CACHE`.

`ask` prints how many bytes there are to fetch; `fetch` fetches them into the cache. What went wrong is the last line on
stderr, and the exit code is 1.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    what, model, revision, cache = arguments
    files = [*SETTINGS, *WEIGHTS]
    try:
        if what == "ask":
            found = snapshot_download(model, revision=revision, cache_dir=cache, allow_patterns=files, dry_run=True)
            sys.stdout.write(f"{sum(file.file_size or 0 for file in found if file.will_download)}\n")
        else:
            snapshot_download(model, revision=revision, cache_dir=cache, allow_patterns=files)
    except (httpx.HTTPError, OSError, ValueError) as error:
        reason = error.__cause__ if isinstance(error, DryRunError) else error
        sys.stderr.write(" ".join(f"{type(reason).__name__}: {reason}".split())[:_LONGEST] + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
