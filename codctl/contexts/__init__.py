"""Hints kept as a folder of revisions, and put into the memory of agent programs."""
