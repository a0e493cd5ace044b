"""Toy-text environments as families: one class each, as docs/gymnasium.md shows."""

from __future__ import annotations

from typing import Any

from codctl.envs.gymnasium.family import GymnasiumFamily
from codctl.envs.gymnasium.table import ToyText


# --8<-- lake
class Lake(GymnasiumFamily):
    name = "gymnasium_lake"
    title = "FrozenLake-v1 with hidden actions"
    source = ToyText("FrozenLake-v1", ("left", "down", "right", "up"), 1.0, options=(("is_slippery", False),))


# --8<-- lake


class Cliff(GymnasiumFamily):
    name = "cliff"
    title = "CliffWalking-v1 with hidden actions"
    source = ToyText("CliffWalking-v1", ("up", "right", "down", "left"), -1.0)


# --8<-- taxi
def taxi_in_words(env: Any, state: int) -> str:
    """Gymnasium's drawing tells passenger and destination by colour alone."""
    row, column, passenger, destination = (int(number) for number in env.unwrapped.decode(state))
    places = ("R (row 1, column 1)", "G (row 1, column 5)", "Y (row 5, column 1)", "B (row 5, column 4)", "the taxi")
    taxi = f"The taxi is at row {row + 1}, column {column + 1}"
    return f"{taxi}, the passenger at {places[passenger]}, the destination is {places[destination]}."


class Taxi(GymnasiumFamily):
    name = "taxi"
    title = "Taxi-v4 with hidden actions: bring the passenger to the destination"
    source = ToyText(
        "Taxi-v4", ("south", "north", "east", "west", "pickup", "dropoff"), goal_reward=20.0, draw=taxi_in_words
    )
    shortest = (4, 12)
    slack = 4


# --8<-- taxi
