"""Alchemy-Random: mix elements to reach a target; which two make which is hidden."""
