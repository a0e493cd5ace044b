"""Which worlds the task sets of a configuration are: a family, a preset and a variant for each.

The arguments of each preset are those of the configurations in examples/research_cod/exp_plan_final of Trinity-RFT;
where a configuration leaves one out, the default of the workflow's code holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codctl.config.names import did_you_mean
from codctl.envs.registry import FAMILIES, get_family
from codctl.trinity.fates import Ledger, Rule, is_on

_PDE = "trinity.common.workflows.connect_the_dots.pde_discovery.workflow.CoDPDEDiscoveryWorkflow"


@dataclass(frozen=True)
class Kind:
    """A workflow of Trinity-RFT as a family.

    Attributes:
        family: Its name here.
        presets: Arguments of each preset.
        defaults: Of arguments that a configuration leaves out.
        fixed: Arguments that must have one value, which is how the family is.
    """

    family: str
    presets: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> set[str]:
        return {*self.fixed, *self.defaults, *(name for preset in self.presets.values() for name in preset)}


def _alchemy(rounds: int, material: str, base: tuple[int, int], **most: float) -> dict[str, Any]:
    return {
        "max_rounds": rounds,
        "material_mode": material,
        "min_base_elements": base[0],
        "max_base_elements": base[1],
        "tier_shrink_max": most["shrink"],
        "max_recipes_per_element": most["recipes"],
        "max_cross_tier_prob": most["cross"],
        "max_noise_node_ratio": most["noise"],
    }


def _grid(
    sides: tuple[int, int], hills: int, scales: tuple[float, float], rounds: tuple[int, int], radius: int
) -> dict[str, Any]:
    return {
        "grid_min_size": sides[0],
        "grid_max_size": sides[1],
        "landscape_num_components": hills,
        "landscape_min_scale": scales[0],
        "landscape_max_scale": scales[1],
        "min_rounds": rounds[0],
        "max_rounds": rounds[1],
        "reveal_radius": radius,
    }


_HUGE = _grid((12, 16), 6, (0.10, 0.35), (6, 10), 1)
KINDS = {
    "cod_frozenlake_obscure_workflow": Kind(
        "frozen_lake",
        {"easy": {"env_max_steps": 6, "agent_max_steps": 8}, "hard": {"env_max_steps": 8, "agent_max_steps": 10}},
        {"env_max_steps": 8, "agent_max_steps": 10, "mapping_mode": "global", "is_slippery": False},
        {"mapping_mode": "per_pack", "is_slippery": False},
    ),
    "cod_random_alchemy_workflow": Kind(
        "alchemy",
        {
            "easy": _alchemy(8, "unlimited", (3, 4), shrink=0.6, recipes=1, cross=0.1, noise=0.0),
            "hard": _alchemy(15, "limited", (4, 6), shrink=0.8, recipes=2, cross=0.05, noise=0.3),
        },
        {
            **_alchemy(15, "unlimited", (10, 15), shrink=0.6, recipes=3, cross=0.35, noise=0.25),
            "scope": "per_task",
            "show_recipes": False,
            "show_elements": False,
            "show_tiers": True,
            "show_structure": False,
            "min_num_tiers": 3,
            "max_num_tiers": 4,
            "tier_shrink_min": 0.4,
            "min_recipes_per_element": 2,
            "max_tier_gap": 2,
            "min_cross_tier_prob": 0.2,
            "min_noise_node_ratio": 0.15,
            "noise_chain_depth": 3,
        },
        {
            "scope": "per_pack",
            "show_recipes": False,
            "show_elements": False,
            "show_tiers": True,
            "show_structure": False,
            "min_num_tiers": 3,
            "max_num_tiers": 4,
            "tier_shrink_min": 0.4,
            "min_recipes_per_element": 1,
            "max_tier_gap": 1,
            "min_cross_tier_prob": 0.0,
            "min_noise_node_ratio": 0.0,
            "noise_chain_depth": 2,
        },
    ),
    "cod_terminal_workflow": Kind(
        "terminal",
        {"easy": {"agent_max_steps": 12, "composite_ratio": 0.5}},
        {"agent_max_steps": 12, "composite_ratio": 0.5},
    ),
    "cod_grid_navigation_workflow": Kind(
        "grid_navigation",
        {
            "train": _grid((8, 12), 4, (0.15, 0.45), (3, 5), 1),
            "train-8b": _grid((8, 12), 4, (0.10, 0.35), (4, 6), 2),
            "hard": _grid((10, 14), 5, (0.15, 0.45), (3, 5), 1),
            "huge": _HUGE,
        },
        _HUGE,
    ),
    "cod_optimalcontrol_workflow": Kind(
        "optimal_control",
        {"hard": {}, "medium": {}, "easy": {}},  # by the rows of the data set
        {
            "a_env_range": [0.55, 1.2],
            "b_env_range": [-1.5, 1.5],
            "min_abs_b_env": 0.35,
            "enable_process_noise": False,
        },
        {
            "a_env_range": [0.55, 1.2],
            "b_env_range": [-1.5, 1.5],
            "min_abs_b_env": 0.35,
            "enable_process_noise": False,
        },
    ),
    _PDE: Kind(
        "pde_discovery",
        {
            "train": {"ground_truth_family": "physical_full_train.json", "max_reaction_terms": 2},
            "hard": {"ground_truth_family": "physical_full_eval_4000.json", "max_reaction_terms": 3},
            "eval-18": {"ground_truth_family": "physical_full_eval_hard.json", "max_reaction_terms": 3},
            "medium": {"ground_truth_family": "physical_full_eval.json", "max_reaction_terms": 2},
            "easy": {"ground_truth_family": "physical_simplified.json", "max_reaction_terms": 2},
        },
        {"ground_truth_family": "physical_general.json"},
        {
            "max_steps": 6,
            "point_budget": 6,
            "min_reaction_terms": 1,
            "pde_state_abs_limit": 3.0,
            "initial_condition_shape.mode_count_range": [1, 2],
            "noise_level": 0.002,
            "kappa_threshold": 100.0,
        },
    ),
    "cod_learn2ask_workflow": Kind("learn2ask", {}, {"train_mode": "Ra+Rs", "fusion_mode": "default"}),  # dialogues.py
}
# Their variant `paper` has the distribution of the workflow, `trinity` its very worlds.
_WITH_PAPER = ("frozen_lake", "alchemy", "terminal")
_OFF = "length penalties that these bounds switch off"
RULES = {
    "context_compression_mode": [
        Rule("used", "every reply stays in the conversation", lambda value: value == "keep_all"),
        Rule("no counterpart", "here every reply stays in the conversation as it was"),
    ],
    "update_context_impl": [
        Rule("used", "the family says what an update is shown", lambda value: value != "update_context_agent"),
        Rule("no counterpart", "updates are one reply of the model, not an agent of its own"),
    ],
    "len_full_penalty": [Rule("used", _OFF, lambda value: _is_far(value))],
    "len_zero_penalty": [Rule("used", _OFF, lambda value: _is_far(value))],
    "dump_trajectories": [Rule("cluster only", "codctl view shows trajectories")],
    "include_previous_control_policy": [Rule("used", "the variant with the environment's memory", is_on)],
}
for _name in ("len_full_penalty", "len_zero_penalty"):
    RULES[_name].append(Rule("no counterpart", "replies cost nothing here for their length"))


@dataclass(frozen=True)
class World:
    """A task set as worlds.

    Attributes:
        family: The family.
        preset: Its preset.
        variant: Its variant.
        rows: Tasks of the data set.
        name: Of the task set.
        options: Of the variant.
    """

    family: str
    preset: str
    variant: str
    rows: int
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, Any]:
        """As keys of a recipe's world or a suite's."""
        options = {"options": dict(self.options)} if self.options else {}
        return {"family": self.family, "preset": self.preset, "variant": self.variant, **options}


def find_world(ledger: Ledger, at: str, *, stable: bool, rows: int, data_preset: str = "") -> World | None:
    """The worlds of a task set, or nothing, with the problems in the ledger.

    Args:
        ledger: Of the configuration.
        at: Key of the task set.
        stable: Whether packs have the same seeds in every process.
        rows: Tasks of its data set.
        data_preset: Preset that its data tell.
    """
    key = f"{at}.default_workflow_type"
    workflow = str(ledger.get(key, ""))
    kind = KINDS.get(workflow)
    if kind is None:
        ledger.refuse(key, f"there is no world for the workflow {workflow!r}{did_you_mean(workflow, KINDS)}")
        return None
    if kind.family not in FAMILIES.names():
        ledger.refuse(key, f"this codctl has no family {kind.family}")
        return None
    ledger.decide(key, "used", f"the family {kind.family}")
    preset = _preset(ledger, f"{at}.workflow_args", kind, data_preset)
    if preset is None:
        return None
    variant = _variant(ledger, at, kind.family, stable=stable)
    return World(kind.family, preset, variant, rows, str(ledger.use(f"{at}.name", "the family's name", kind.family)))


def _preset(ledger: Ledger, at: str, kind: Kind, data_preset: str) -> str | None:
    given = {name: ledger.get(f"{at}.{name}", kind.defaults.get(name)) for name in kind.arguments}
    sound = True
    for name, wanted in kind.fixed.items():
        if given[name] is None or _same(given[name], wanted):
            ledger.decide(f"{at}.{name}", "used", "as in the family")
        else:
            ledger.refuse(f"{at}.{name}", f"{kind.family} has {wanted!r} here, not {given[name]!r}")
            sound = False
    off = {
        preset: [name for name, value in wanted.items() if not _same(given[name], value)]
        for preset, wanted in kind.presets.items()
    }
    nearest = data_preset or min(off, key=lambda preset: len(off[preset]))
    for name in off[nearest]:
        wanted = kind.presets[nearest][name]
        ledger.refuse(
            f"{at}.{name}",
            f"no preset of {kind.family} has {given[name]!r} together with the other values; {nearest}, which is "
            f"nearest, has {wanted!r}",
        )
    for name in kind.presets[nearest]:
        ledger.decide(f"{at}.{name}", "used", f"the preset {nearest}")
    return nearest if sound and not off[nearest] else None


def _variant(ledger: Ledger, at: str, family: str, *, stable: bool) -> str:
    key = f"{at}.workflow_args.include_previous_control_policy"
    if family == "optimal_control" and not is_on(ledger.get(key, True)):
        ledger.decide(key, "used", "the variant hints_only, whose worlds are codctl's own")
        return "hints_only"
    if family in _WITH_PAPER and (not stable or "trinity" not in get_family(family).variants):
        return "paper"
    return "trinity"


def _same(given: Any, wanted: Any) -> bool:
    """Equal values; the environment gives numbers as texts."""
    if isinstance(wanted, list):
        is_list = isinstance(given, list) and len(given) == len(wanted)
        return is_list and all(_same(one, other) for one, other in zip(given, wanted, strict=True))
    if isinstance(wanted, bool):
        return is_on(given) == wanted
    if isinstance(wanted, int | float):
        try:
            return float(given) == float(wanted)
        except (TypeError, ValueError):
            return False
    return bool(given == wanted)


def _is_far(value: Any) -> bool:
    """Whether no reply is ever so long."""
    try:
        return float(value) >= 1_000_000
    except (TypeError, ValueError):
        return False
