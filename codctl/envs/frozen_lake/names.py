"""The directions of a lake and the opaque codes that stand for them."""

DIRECTIONS = ("up", "down", "left", "right")
DELTAS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # row, column
CODES = ("K", "Q", "X", "Z")

Cell = tuple[int, int]  # row, column


def cell_name(cell: Cell) -> str:
    """As on a chess board, from the top: row letter, column number."""
    return f"{'abcdefghijklmnop'[cell[0]]}{cell[1] + 1}"
