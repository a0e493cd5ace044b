"""The variant `trinity` draws what Trinity-RFT draws; the values were made by a separate writing of its generator."""

from __future__ import annotations

from codctl.envs.alchemy.world import AlchemyWorld
from codctl.envs.registry import get_family


def drawn(split: str, index: int, length: int, preset: str) -> tuple[AlchemyWorld, list[str], list[int]]:
    pack = get_family("alchemy").pack(split, index, length, preset, "trinity")
    world: AlchemyWorld = pack.world
    targets = [world.names[task.target] for task in pack.tasks]  # type: ignore[attr-defined]
    return world, targets, [max(task.stock(world).values()) for task in pack.tasks]  # type: ignore[attr-defined]


def recipes(world: AlchemyWorld) -> dict[str, str]:
    named = {tuple(sorted((world.names[a], world.names[b]))): world.names[c] for (a, b), c in world.products.items()}
    return {f"{first}+{second}": product for (first, second), product in named.items()}


def test_hard_test_pack() -> None:
    world, targets, stock = drawn("test", 0, 8, "hard")
    assert world.names == ("knrls", "hnbtv", "dzef", "tps", "oug", "pzi", "vloq", "xtau", "bwga")
    assert recipes(world) == {
        "knrls+tps": "oug", "dzef+knrls": "oug", "dzef+hnbtv": "pzi", "hnbtv+tps": "pzi", "tps+tps": "vloq",
        "pzi+vloq": "xtau", "oug+vloq": "xtau", "vloq+vloq": "bwga",
    }  # fmt: skip
    assert targets == ["oug", "vloq", "xtau", "bwga", "pzi", "oug", "vloq", "xtau"]
    assert stock == [2, 3, 4, 4, 2, 2, 3, 4]


def test_other_lengths_are_other_worlds() -> None:
    assert drawn("train", 0, 4, "easy")[0] != drawn("train", 0, 8, "easy")[0]


def test_train_and_test_share_worlds_where_rows_and_length_are_equal() -> None:
    """As in Trinity-RFT, whose published lengths (4 and 8) keep them apart."""
    assert drawn("train", 3, 4, "hard")[:2] == drawn("test", 3, 4, "hard")[:2]
