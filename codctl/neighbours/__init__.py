"""Worlds of codctl for other frameworks, each an extra."""
