"""How a family finds its scripted agents by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from codctl.envs.base import Policy

KEEP_FACT, WRONG_FACT = 0.35, 0.1  # how careless a demonstrator is by default


def agent(
    name: str,
    options: Mapping[str, float],
    agents: Mapping[str, Callable[[], Policy]],
    demonstrator: Callable[[float, float], Policy],
    *,
    keep_fact: float = KEEP_FACT,
    wrong_fact: float = WRONG_FACT,
) -> Policy:
    """An agent by its name, which `Family.check_policy` has let pass.

    Args:
        name: A key of `agents`, or `demonstrator`.
        options: May have `keep_fact` and `wrong_fact`, the probabilities with which a demonstrator notes a fact at all,
            and wrongly.
        agents: By name.
        demonstrator: Made of these two.
        keep_fact: Where the options have none.
        wrong_fact: Likewise.
    """
    if name == "demonstrator":
        return demonstrator(options.get("keep_fact", keep_fact), options.get("wrong_fact", wrong_fact))
    return agents[name]()
