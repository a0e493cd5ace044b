"""The directions of a lake and the opaque codes that stand for them."""

DIRECTIONS = ("up", "down", "left", "right")
DELTAS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # row, column
CODES = ("K", "Q", "X", "Z")

Cell = tuple[int, int]  # row, column
