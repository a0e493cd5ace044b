"""Sweeps and studies: from what was typed to trials, and from trials on disk to what is left to do."""
