"""Gymnasium both ways: episodes as its environments, and its toy-text environments as families."""
