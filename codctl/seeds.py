"""Seeds derived by name, so that no global random state decides anything that matters; and digests of texts."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: object) -> int:
    """Hash the named parts into a seed that is the same in every process and Python version.

    Args:
        parts: For example root seed, stage, purpose, pack, rollout, position, turn. Only str and int are meant.

    Returns:
        An integer in [0, 2**63).
    """
    text = "/".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def text_digest(text: str) -> str:
    """16 hex digits that change with the text."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]
